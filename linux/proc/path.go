package proc

import (
	"errors"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// path is a place in the tree of mounted file systems.
type path struct{ dentry, mnt x86.Virt }

// fsType returns the name of the file system that a dentry belongs to.
func (f *finder) fsType(dentry x86.Virt) string {
	s := &f.shapes.file
	d := f.at(dentry)
	sb := f.at(d.ptr(s.sd))
	typ := f.at(sb.ptr(s.typ))
	name := typ.ptr(s.typeName)
	if d.err != nil || sb.err != nil || typ.err != nil || name == 0 {
		return ""
	}
	text, _ := f.mem.CString(name, maxName)
	return text
}

// pathOf returns a path as the kernel prints it to a process whose root is that of process 1.
//
// Linux: fs/d_path.c:d_path(), fs/seq_file.c:seq_path()
func (f *finder) pathOf(p path) (string, error) {
	s := &f.shapes.file
	d := f.at(p.dentry)
	parent, ops, hashed := d.ptr(s.parent), d.ptr(s.ops), d.ptr(s.hashed)
	if d.err != nil {
		return "", d.err
	}
	root := parent == p.dentry
	if ops != 0 && s.dname.has() && f.at(ops).ptr(s.dname) != 0 && !(root && f.at(p.mnt).ptr(s.mntRoot) == p.dentry) {
		return f.madeUpPath(d)
	}
	text, err := f.climb(p)
	if err != nil {
		return "", err
	}
	if s.hashed.has() && hashed == 0 && !root {
		text += deleted
	}
	return escape(text), nil
}

const deleted = " (deleted)"

// escape writes what would end the line as the kernel does.
func escape(s string) string { return strings.ReplaceAll(s, "\n", `\012`) }

// madeUpPath returns the name of a file that is in no directory.
//
// Linux: the functions d_dname of fs/d_path.c, fs/anon_inodes.c, fs/pipe.c, fs/nsfs.c, net/socket.c,
// drivers/dma-buf/dma-buf.c
func (f *finder) madeUpPath(d *object) (string, error) {
	s := &f.shapes.file
	name, err := f.dentryName(d)
	if err != nil {
		return "", err
	}
	inode := f.at(d.ptr(s.dentryInode))
	number := func(kind string) string {
		return kind + ":[" + strconv.FormatUint(inode.num(s.ino), 10) + "]"
	}
	switch f.fsType(d.addr) {
	case "anon_inodefs":
		name = "anon_inode:" + name
	case "sockfs":
		name = number("socket")
	case "pipefs":
		name = number("pipe")
	case "dmabuf":
		name = "/" + name + ":"
	default:
		name = "/" + name + deleted
	}
	return escape(name), inode.err
}

// dentryName reads the name of a dentry.
func (f *finder) dentryName(d *object) (string, error) {
	s := &f.shapes.file
	name, n := d.ptr(s.name), d.num(s.nameLen)
	if d.err != nil {
		return "", d.err
	}
	b := make([]byte, min(n, maxDentryName))
	err := f.mem.ReadAt(b, name)
	return string(b), err
}

// climb goes up from p to the root of process 1, or as far up as it goes.
//
// Linux: fs/d_path.c:prepend_path()
func (f *finder) climb(p path) (string, error) {
	s := &f.shapes.file
	var names []string
	length := 0
	for range maxPathSteps {
		if f.stepsLeft--; f.stepsLeft < 0 {
			return "", errors.New("all paths together are longer than those of all machines")
		}
		if p == f.root || length > maxPath {
			break
		}
		mounted := p.mnt != 0 && s.mntRoot.has() && s.mntSelf.has()
		if mounted && f.at(p.mnt).ptr(s.mntRoot) == p.dentry {
			m := f.at(p.mnt - x86.Virt(s.mntSelf.off))
			parent := m.ptr(s.mntParent)
			if m.err != nil || parent == m.addr {
				break // the root of all mounts
			}
			p = path{m.ptr(s.mountpoint), parent + x86.Virt(s.mntSelf.off)}
			continue
		}
		d := f.at(p.dentry)
		parent := d.ptr(s.parent)
		if parent == p.dentry {
			names = nil // out of the mount
			break
		}
		name, err := f.dentryName(d)
		if err != nil {
			return "", err
		}
		names = append(names, name)
		length += len(name)
		p.dentry = parent
	}
	if len(names) == 0 {
		return "/", nil
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteString("/" + names[i])
	}
	return b.String(), nil
}
