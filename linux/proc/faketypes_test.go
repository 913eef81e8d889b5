package proc

import "github.com/cilium/ebpf/btf"

// field is a member: a name, where, and what. Members without a name are those of the structure that contains it.
type field struct {
	name string
	off  uint64
	typ  btf.Type
}

var (
	u8    = &btf.Int{Name: "unsigned char", Size: 1}
	u32   = &btf.Int{Name: "unsigned int", Size: 4}
	u64   = &btf.Int{Name: "unsigned long", Size: 8}
	ptr   = &btf.Pointer{Target: &btf.Void{}}
	list  = record("list_head", 16, field{"next", 0, ptr}, field{"prev", 8, ptr})
	where = record("path", 16, field{"mnt", 0, ptr}, field{"dentry", 8, ptr})
)

func record(name string, size uint32, fields ...field) *btf.Struct {
	s := &btf.Struct{Name: name, Size: size}
	for _, f := range fields {
		s.Members = append(s.Members, btf.Member{Name: f.name, Offset: btf.Bits(8 * f.off), Type: f.typ})
	}
	return s
}

func union(size uint32, fields ...field) *btf.Union {
	s := record("", size, fields...)
	return &btf.Union{Size: size, Members: s.Members}
}

func array(n uint32, t btf.Type) *btf.Array { return &btf.Array{Index: u32, Type: t, Nelems: n} }

// fakeTypes are the structures of the fake kernel.
func (f *fake) fakeTypes() []btf.Type {
	meta := record("maple_metadata", 2, field{"end", 0, u8}, field{"gap", 1, u8})
	tree := record("maple_tree", 16, field{"ma_lock", 0, u32}, field{"ma_flags", 4, u32}, field{"ma_root", 8, ptr})
	prot := &btf.Typedef{Name: "pgprot_t", Type: record("pgprot", 8, field{"pgprot", 0, u64})}
	flags := &btf.Const{Type: &btf.Typedef{Name: "vm_flags_t", Type: u64}}
	file := record("file", 64, field{"f_inode", 8, ptr}, field{"f_path", 16, where}, field{"f_mode", 32, u32})
	name := record("qstr", 16, field{"", 0, union(8, field{"", 0, record("", 8, field{"hash", 0, u32}, field{"len", 4, u32})})}, field{"name", 8, ptr})
	structs := []*btf.Struct{
		record("task_struct", 512, field{"flags", 8, u32}, field{"tasks", 16, list}, field{"mm", 40, ptr}, field{"pid", 48, u32},
			field{"tgid", 52, u32}, field{"real_parent", 56, ptr}, field{"group_leader", 64, ptr}, field{"comm", 72, array(16, u8)},
			field{"signal", 88, ptr}, field{"fs", 96, ptr}, field{"thread_node", 104, list}),
		record("signal_struct", 64, field{"thread_head", 24, list}),
		record("mm_struct", 128, field{"", 8, record("", 120, field{"mm_mt", 16, tree}, field{"pgd", 40, ptr}, field{"start_brk", 48, u64},
			field{"brk", 56, u64}, field{"start_stack", 64, u64})}),
		record("vm_area_struct", 160, field{"", 0, union(16, field{"", 0, record("", 16, field{"vm_start", 0, u64}, field{"vm_end", 8, u64})})},
			field{"vm_mm", 16, ptr}, field{"vm_page_prot", 24, prot}, field{"", 32, union(8, field{"vm_flags", 0, flags}, field{"flags", 0, array(1, u64)})},
			field{"anon_vma", 40, ptr}, field{"vm_ops", 48, ptr}, field{"vm_pgoff", 56, u64}, field{"vm_file", 64, ptr}, field{"vm_private_data", 72, ptr},
			field{"shared", 80, array(32, u8)}, field{"anon_name", 112, ptr}),
		record("vm_operations_struct", 32, field{"name", 8, ptr}),
		record("vm_special_mapping", 16, field{"name", 0, ptr}),
		record("anon_vma_name", 4, field{"kref", 0, u32}, field{"name", 4, array(0, u8)}),
		file,
		record("backing_file", 80, field{"file", 0, file}, field{"user_path", 64, where}),
		record("inode", 32, field{"i_sb", 0, ptr}, field{"i_ino", 8, u64}),
		record("super_block", 32, field{"s_dev", 0, u32}, field{"s_magic", 8, u64}, field{"s_type", 16, ptr}),
		record("file_system_type", 16, field{"name", 0, ptr}),
		record("dentry", 64, field{"d_hash", 0, record("hlist_bl_node", 16, field{"next", 0, ptr}, field{"pprev", 8, ptr})}, field{"d_parent", 16, ptr},
			field{"", 24, union(16, field{"d_name", 0, name})}, field{"d_inode", 40, ptr}, field{"d_op", 48, ptr}, field{"d_sb", 56, ptr}),
		record("dentry_operations", 32, field{"d_dname", 16, ptr}),
		record("vfsmount", 16, field{"mnt_root", 0, ptr}),
		record("mount", 64, field{"mnt_parent", 0, ptr}, field{"mnt_mountpoint", 8, ptr}, field{"mnt", 16, record("vfsmount", 16, field{"mnt_root", 0, ptr})}),
		record("fs_struct", 32, field{"root", 8, where}),
		record("maple_range_64", 256, field{"parent", 0, ptr}, field{"pivot", 8, array(15, u64)}, field{"", 128, union(128, field{"slot", 0, array(16, ptr)},
			field{"", 0, record("", 128, field{"pad", 0, array(15, ptr)}, field{"meta", 120, meta})})}),
		record("maple_arange_64", 248, field{"parent", 0, ptr}, field{"pivot", 8, array(9, u64)}, field{"slot", 80, array(10, ptr)},
			field{"gap", 160, array(10, u64)}, field{"meta", 240, meta}),
		record("maple_node", 256, field{"", 0, union(256, field{"", 0, record("", 256, field{"parent", 0, ptr}, field{"slot", 8, array(31, ptr)})})}),
	}
	if f.old {
		structs = oldTypes(structs)
	}
	var out []btf.Type
	for _, s := range structs {
		f.noteMembers(s.Name, s, 0)
		out = append(out, s)
	}
	current := &btf.Var{Name: "current_task", Type: ptr, Linkage: btf.GlobalVar}
	return append(out, current,
		&btf.Datasec{Name: ".data..percpu", Size: 64, Vars: []btf.VarSecinfo{{Type: current, Offset: 40, Size: 8}}},
		&btf.Enum{Size: 4, Values: []btf.EnumValue{{Name: "maple_dense", Value: fakeDense}, {Name: "maple_leaf_64", Value: fakeLeaf},
			{Name: "maple_range_64", Value: fakeRange}, {Name: "maple_arange_64", Value: fakeArange}}},
		&btf.Enum{Size: 4, Values: []btf.EnumValue{{Name: "VMA_READ_BIT", Value: 33}, {Name: "VMA_WRITE_BIT", Value: 34}, {Name: "VMA_EXEC_BIT", Value: 0},
			{Name: "VMA_SEALED_BIT", Value: 1}, {Name: "VMA_PKEY_BIT0_BIT", Value: 2}, {Name: "VMA_PKEY_BIT1_BIT", Value: 40}}})
}

// oldTypes makes them those of a kernel before maple trees and signal_struct.thread_head: lists of areas and of threads.
func oldTypes(structs []*btf.Struct) []*btf.Struct {
	var out []*btf.Struct
	for _, s := range structs {
		switch s.Name {
		case "maple_node", "maple_range_64", "maple_arange_64", "signal_struct", "backing_file":
			continue
		case "mm_struct":
			s = record("mm_struct", 128, field{"mmap", 16, ptr}, field{"pgd", 40, ptr}, field{"start_brk", 48, u64}, field{"brk", 56, u64},
				field{"start_stack", 64, u64})
		case "vm_area_struct":
			s.Members = append(s.Members, btf.Member{Name: "vm_next", Offset: 8 * 120, Type: ptr})
		case "task_struct":
			s.Members[len(s.Members)-1].Name = "thread_group"
		}
		out = append(out, s)
	}
	return out
}

// noteMembers enters the members of a type, and those of anonymous members, in off.
func (f *fake) noteMembers(prefix string, t btf.Type, at uint64) {
	var members []btf.Member
	switch s := t.(type) {
	case *btf.Struct:
		members = s.Members
	case *btf.Union:
		members = s.Members
	}
	for _, m := range members {
		off := at + uint64(m.Offset/8)
		if m.Name != "" {
			size, err := btf.Sizeof(m.Type)
			if err != nil {
				f.t.Fatal(err)
			}
			f.off[prefix+"."+m.Name] = off | uint64(size)<<32
			f.noteMembers(prefix+"."+m.Name, m.Type, off)
		}
		if m.Name == "" || m.Name == "mm_mt" || m.Name == "meta" {
			f.noteMembers(prefix, m.Type, off)
		}
	}
}
