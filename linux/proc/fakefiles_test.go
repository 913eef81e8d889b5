package proc

import "ptemu/arch/x86"

// fakeFS is a mounted file system.
type fakeFS struct {
	sb, root, vfsmount x86.Virt
}

// fs makes a file system, and its mount in the directory dentry of another (nil for the root of all).
func (f *fake) fs(name string, dev, magic uint64, in *fakeFS, dentry x86.Virt) *fakeFS {
	typ, sb, mount := f.alloc(16), f.alloc(32), f.alloc(64)
	f.set(typ, "file_system_type.name", uint64(f.text(name)))
	f.set(sb, "super_block.s_dev", dev)
	f.set(sb, "super_block.s_magic", magic)
	f.set(sb, "super_block.s_type", uint64(typ))
	fs := &fakeFS{sb: sb, vfsmount: f.at(mount, "mount.mnt")}
	fs.root = f.dentry(fs, 0, "/", 1)
	f.set(fs.root, "dentry.d_parent", uint64(fs.root))
	f.set(fs.vfsmount, "vfsmount.mnt_root", uint64(fs.root))
	f.set(mount, "mount.mnt_parent", uint64(mount))
	if in != nil {
		f.set(mount, "mount.mnt_parent", uint64(in.vfsmount)-uint64(uint32(f.off["mount.mnt"])))
		f.set(mount, "mount.mnt_mountpoint", uint64(dentry))
	}
	return fs
}

// dentry makes a name in a directory, with an inode.
func (f *fake) dentry(fs *fakeFS, parent x86.Virt, name string, inode uint64) x86.Virt {
	d, i := f.alloc(64), f.alloc(32)
	f.set(i, "inode.i_sb", uint64(fs.sb))
	f.set(i, "inode.i_ino", inode)
	f.set(d, "dentry.d_parent", uint64(parent))
	f.set(d, "dentry.d_hash.pprev", 1)
	f.set(d, "dentry.d_name.name", uint64(f.text(name)))
	f.set(d, "dentry.d_name.len", uint64(len(name)))
	f.set(d, "dentry.d_inode", uint64(i))
	f.set(d, "dentry.d_sb", uint64(fs.sb))
	return d
}

// file opens a name.
func (f *fake) file(fs *fakeFS, dentry x86.Virt) x86.Virt {
	file := f.alloc(80)
	f.set(file, "file.f_path.dentry", uint64(dentry))
	f.set(file, "file.f_path.mnt", uint64(fs.vfsmount))
	d := f.phys(f.at(dentry, "dentry.d_inode"))
	for i := range x86.Phys(8) {
		f.writePhys(f.phys(f.at(file, "file.f_inode"))+i, []byte{f.frame((d + i).PFN())[(d + i).Offset()]})
	}
	return file
}

// madeUp makes a file that is in no directory, of a file system that is not mounted.
func (f *fake) madeUp(fsName, name string, dev, magic, inode uint64) x86.Virt {
	fs := f.fs(fsName, dev, magic, nil, 0)
	d := f.dentry(fs, 0, name, inode)
	ops := f.alloc(32)
	f.set(ops, "dentry_operations.d_dname", uint64(fakeImage)+0x1234)
	f.set(d, "dentry.d_op", uint64(ops))
	f.set(d, "dentry.d_parent", uint64(d))
	f.set(d, "dentry.d_hash.pprev", 0)
	return f.file(fs, d)
}

// mapped makes an area of a file.
func (f *fake) mapped(start, end x86.Virt, file x86.Virt, page uint64) x86.Virt {
	v := f.vma(start, end, 0)
	f.set(v, "vm_area_struct.vm_file", uint64(file))
	f.set(v, "vm_area_struct.vm_pgoff", page)
	return v
}

// root makes process 1's root directory that of a file system.
func (f *fake) root(task x86.Virt, fs *fakeFS) {
	s := f.alloc(32)
	f.set(s, "fs_struct.root.dentry", uint64(fs.root))
	f.set(s, "fs_struct.root.mnt", uint64(fs.vfsmount))
	f.set(task, "task_struct.fs", uint64(s))
}

// special makes an area as the kernel makes that of the vDSO.
func (f *fake) special(start, end x86.Virt, name string) x86.Virt {
	v, ops, special := f.vma(start, end, 0), f.alloc(32), f.alloc(16)
	f.set(ops, "vm_operations_struct.name", uint64(fakeImage)+0x4321)
	f.set(special, "vm_special_mapping.name", uint64(f.text(name)))
	f.set(v, "vm_area_struct.vm_ops", uint64(ops))
	f.set(v, "vm_area_struct.vm_private_data", uint64(special))
	return v
}

// named gives an area a name of the program's.
func (f *fake) named(v x86.Virt, name string) x86.Virt {
	n := f.alloc(4 + len(name) + 1)
	f.write(n+4, []byte(name))
	f.set(v, "vm_area_struct.anon_name", uint64(n))
	return v
}
