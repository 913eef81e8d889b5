package proc

import (
	"ptemu/arch/x86"
)

// Magic numbers of file systems.
//
// Linux: include/uapi/linux/magic.h
const (
	magicTmpfs     = 0x01021994
	magicHugetlbfs = 0x958458f6
)

// Bounds of paths, and of what is read of files.
const (
	maxPath       = 1 << 16
	maxPathSteps  = 1 << 12 // names and mounts of one path
	maxSteps      = 1 << 23 // of all
	maxName       = 1 << 8
	maxFiles      = 1 << 18
	maxDentryName = 255
)

// fileShape is where members of files lie.
type fileShape struct {
	dentry, mnt, inode, mode                            member // file
	userDentry, userMnt                                 member // backing_file
	ino, sb                                             member // inode
	dev, magic, typ                                     member // super_block
	typeName                                            member // file_system_type
	name, nameLen, parent, hashed, ops, dentryInode, sd member // dentry
	dname                                               member // dentry_operations
	mntRoot                                             member // vfsmount
	mntSelf, mntParent, mountpoint                      member // mount
	rootDentry, rootMnt                                 member // fs_struct
}

func (s *fileShape) wants() []want {
	m := func(to *member, typ, name string) want { return want{to, typ, []string{name}, false} }
	maybe := func(to *member, typ, name string) want { return want{to, typ, []string{name}, true} }
	return []want{
		m(&s.dentry, "file", "f_path.dentry"),
		m(&s.mnt, "file", "f_path.mnt"),
		m(&s.inode, "file", "f_inode"),
		maybe(&s.mode, "file", "f_mode"),
		maybe(&s.userDentry, "backing_file", "user_path.dentry"),
		maybe(&s.userMnt, "backing_file", "user_path.mnt"),
		m(&s.ino, "inode", "i_ino"),
		m(&s.sb, "inode", "i_sb"),
		m(&s.dev, "super_block", "s_dev"),
		m(&s.magic, "super_block", "s_magic"),
		maybe(&s.typ, "super_block", "s_type"),
		maybe(&s.typeName, "file_system_type", "name"),
		m(&s.name, "dentry", "d_name.name"),
		m(&s.nameLen, "dentry", "d_name.len"),
		m(&s.parent, "dentry", "d_parent"),
		maybe(&s.hashed, "dentry", "d_hash.pprev"),
		maybe(&s.ops, "dentry", "d_op"),
		maybe(&s.dentryInode, "dentry", "d_inode"),
		maybe(&s.sd, "dentry", "d_sb"),
		maybe(&s.dname, "dentry_operations", "d_dname"),
		maybe(&s.mntRoot, "vfsmount", "mnt_root"),
		maybe(&s.mntSelf, "mount", "mnt"),
		maybe(&s.mntParent, "mount", "mnt_parent"),
		maybe(&s.mountpoint, "mount", "mnt_mountpoint"),
		maybe(&s.rootDentry, "fs_struct", "root.dentry"),
		maybe(&s.rootMnt, "fs_struct", "root.mnt"),
	}
}

// file returns what is known of the file at addr.
func (f *finder) file(addr x86.Virt) *File {
	if known, ok := f.files[addr]; ok {
		return known
	}
	if len(f.files) >= maxFiles {
		f.warn("more than %d files: of the others only that there is one", maxFiles)
		return &File{}
	}
	read := f.readFile(addr)
	same := f.sameFile[read]
	if same == nil {
		same = &read
		f.sameFile[read] = same
	}
	f.files[addr] = same
	return same
}

func (f *finder) readFile(addr x86.Virt) (out File) {
	s, o := &f.shapes.file, f.at(addr)
	at, inode := path{o.ptr(s.dentry), o.ptr(s.mnt)}, o.ptr(s.inode)
	if user := o.ptr(s.userDentry); f.backed(o) && user != 0 {
		at = path{user, o.ptr(s.userMnt)}
		inode = f.at(user).ptr(s.dentryInode)
	}
	if o.err != nil {
		f.warn("file at %v: %v", addr, o.err)
		return out
	}
	i := f.at(inode)
	out.Inode = i.num(s.ino)
	sb := f.at(i.ptr(s.sb))
	if sb.err = i.err; sb.err == nil {
		out.Dev = sb.num(s.dev)
		magic := sb.num(s.magic)
		out.Shmem, out.Huge = magic == magicTmpfs, magic == magicHugetlbfs
	}
	if sb.err != nil {
		f.warn("file at %v: %v", addr, sb.err)
	}
	var err error
	if out.Path, err = f.pathOf(at); err != nil {
		f.warn("the path of the file at %v: %v", addr, err)
	}
	return out
}

// backed reports whether a file stands behind one of a stacked file system (overlayfs), which is the one that programs
// know.
//
// Linux: fs/file_table.c:file_user_path()
func (f *finder) backed(file *object) bool {
	s := &f.shapes.file
	return s.userDentry.has() && f.backing != 0 && file.num(s.mode)&f.backing != 0
}
