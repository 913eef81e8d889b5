package proc

import (
	"errors"
	"fmt"

	"ptemu/linux/ktype"
)

// member is where a member of a structure lies; size 0 for one that this kernel does not have.
type member struct{ off, size uint64 }

func (m member) has() bool { return m.size != 0 }

// shapes are the offsets that the search needs.
type shapes struct {
	task struct {
		tasks, prev, pid, tgid, comm, flags, mm, parent, leader, signal, threadNode, threadGroup, fs member
	}
	threadHead member // signal_struct
	mm         struct{ pgd, tree, list, brk, startBrk, startStack member }
	vma        struct {
		start, end, mm, prot, flags, pgoff, file, anonVMA, ops, private, anonName, shared, next member
	}
	opsName, specialName, anonNameText member
	maple                              mapleShape
	file                               fileShape
	kthread                            kthreadShape
}

// want is a member to look up: the first of names that the kernel has.
type want struct {
	to       *member
	typ      string
	names    []string
	optional bool
}

// findShapes looks up all members. The error names the first that is missing and needed.
func findShapes(t *ktype.Types) (*shapes, error) {
	s := &shapes{}
	for _, w := range s.wants() {
		m, err := firstOf(t, w.typ, w.names)
		switch {
		case err == nil:
			*w.to = m
		case !w.optional:
			return nil, err
		}
	}
	if !s.mm.tree.has() && !s.mm.list.has() {
		return nil, errors.New("mm_struct has neither mm_mt nor mmap")
	}
	if s.mm.tree.has() {
		if err := s.maple.find(t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func firstOf(t *ktype.Types, typ string, names []string) (member, error) {
	var first error
	for _, name := range names {
		m, err := t.Member(typ, name)
		if err == nil && m.Bits == 0 {
			return member{m.Offset, max(m.Size, 1)}, nil
		}
		if err == nil {
			err = fmt.Errorf("%s.%s is a bit field", typ, name)
		}
		if first == nil {
			first = err
		}
	}
	return member{}, first
}

func (s *shapes) wants() []want {
	task := func(to *member, names ...string) want { return want{to, "task_struct", names, false} }
	mm := func(to *member, names ...string) want { return want{to, "mm_struct", names, true} }
	vma := func(to *member, names ...string) want { return want{to, "vm_area_struct", names, false} }
	maybe := func(w want) want {
		w.optional = true
		return w
	}
	return append([]want{
		task(&s.task.tasks, "tasks.next"),
		task(&s.task.prev, "tasks.prev"),
		task(&s.task.pid, "pid"),
		task(&s.task.tgid, "tgid"),
		task(&s.task.comm, "comm"),
		task(&s.task.flags, "flags"),
		task(&s.task.mm, "mm"),
		task(&s.task.parent, "real_parent"),
		maybe(task(&s.task.leader, "group_leader")),
		maybe(task(&s.task.signal, "signal")),
		maybe(task(&s.task.threadNode, "thread_node.next")),
		maybe(task(&s.task.threadGroup, "thread_group.next")),
		maybe(task(&s.task.fs, "fs")),
		{&s.threadHead, "signal_struct", []string{"thread_head.next"}, true},
		{&s.mm.pgd, "mm_struct", []string{"pgd"}, false},
		mm(&s.mm.tree, "mm_mt.ma_root"),
		mm(&s.mm.list, "mmap"),
		mm(&s.mm.brk, "brk"),
		mm(&s.mm.startBrk, "start_brk"),
		mm(&s.mm.startStack, "start_stack"),
		vma(&s.vma.start, "vm_start"),
		vma(&s.vma.end, "vm_end"),
		vma(&s.vma.flags, "vm_flags", "flags", "__vm_flags"),
		vma(&s.vma.prot, "vm_page_prot"),
		vma(&s.vma.pgoff, "vm_pgoff"),
		vma(&s.vma.file, "vm_file"),
		vma(&s.vma.anonVMA, "anon_vma"),
		maybe(vma(&s.vma.mm, "vm_mm")),
		maybe(vma(&s.vma.ops, "vm_ops")),
		maybe(vma(&s.vma.private, "vm_private_data")),
		maybe(vma(&s.vma.anonName, "anon_name")),
		maybe(vma(&s.vma.shared, "shared")),
		maybe(vma(&s.vma.next, "vm_next")),
		{&s.opsName, "vm_operations_struct", []string{"name"}, true},
		{&s.specialName, "vm_special_mapping", []string{"name"}, true},
		{&s.anonNameText, "anon_vma_name", []string{"name"}, true},
	}, append(s.file.wants(), s.kthread.wants()...)...)
}
