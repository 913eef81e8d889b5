package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Register has the userfaultfd hear of accesses to length bytes from va on. A mode that the areas had before is
// replaced.
//
// Linux: fs/userfaultfd.c:userfaultfd_register()
func (u *Uffd) Register(c *CPU, va x86.Virt, length uint64, mode UffdMode) error {
	const call = "UFFDIO_REGISTER"
	if mode == 0 || mode&^(UffdMissing|UffdWP) != 0 {
		return &CallError{call, va, ErrInval}
	}
	r, err := u.checkRange(call, va, length)
	if err != nil {
		return err
	}
	flags := mode.vmFlags()
	u.space.writeLock()
	defer u.space.writeUnlock()
	if err := u.space.checkAreas(call, r, func(v *VMA) error { return u.mayRegister(v, flags) }); err != nil {
		return err
	}
	return u.space.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		if v.uffd != u || v.flags&flags != flags {
			u.space.setUffd(v, part, flags, u)
		}
		return nil
	})
}

func (m UffdMode) vmFlags() (f VMFlags) {
	if m&UffdMissing != 0 {
		f |= VMUffdMissing
	}
	if m&UffdWP != 0 {
		f |= VMUffdWP
	}
	return f
}

// mayRegister returns the errno for an area that cannot be registered. Linux: mm/userfaultfd.c:vma_can_userfault()
func (u *Uffd) mayRegister(v *VMA, flags VMFlags) error {
	async := u.wpAsync() && flags == VMUffdWP
	switch {
	case !async && !v.Anonymous() && !v.file.shmem:
		return ErrInval
	case v.flags&VMMayWrite == 0:
		return ErrPerm
	case v.uffd != nil && v.uffd != u:
		return ErrBusy
	}
	return nil
}

// checkAreas asks ok about all areas of r before anything is changed. Linux: the first loops of
// fs/userfaultfd.c:userfaultfd_register(), userfaultfd_unregister()
func (s *Space) checkAreas(call string, r pgtable.Range, ok func(v *VMA) error) error {
	switch v := s.find(r.First); {
	case v == nil && s.m.Policy.UffdSeesBeyond:
		return &CallError{call, r.First, ErrNoMem}
	case v == nil || v.Start > r.Last:
		return &CallError{call, r.First, ErrInval}
	}
	return s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		if err := ok(v); err != nil {
			return &CallError{call, part.First, err}
		}
		return nil
	})
}

// setUffd gives part of v to u (nil: to nobody), with the flags of its mode.
//
// Linux: mm/userfaultfd.c:userfaultfd_register_range(), userfaultfd_set_vm_flags()
func (s *Space) setUffd(v *VMA, part pgtable.Range, flags VMFlags, u *Uffd) {
	cut := part.First > v.Start
	v = s.isolate(v, part.First, part.Last+1)
	v.setUffdFlags(flags, u)
	if cut && s.m.Policy.UffdCutStays {
		return
	}
	s.mergeAround(v)
}

// setUffdFlags is userfaultfd_set_vm_flags(). What write protection changes in vm_page_prot comes with it.
func (v *VMA) setUffdFlags(flags VMFlags, u *Uffd) {
	old := v.flags
	v.flags, v.uffd = v.flags&^vmUffd|flags, u
	if (old^v.flags)&VMUffdWP != 0 && v.shared() && v.space.m.Policy.UffdWritenotify {
		v.setPageProt()
	}
}

// Unregister ends what Register began. Pages that are write-protected through userfaultfd are so no more.
//
// Linux: fs/userfaultfd.c:userfaultfd_unregister()
func (u *Uffd) Unregister(c *CPU, va x86.Virt, length uint64) error {
	const call = "UFFDIO_UNREGISTER"
	r, err := u.checkRange(call, va, length)
	if err != nil {
		return err
	}
	u.space.writeLock()
	defer u.space.writeUnlock()
	err = u.space.checkAreas(call, r, func(v *VMA) error {
		if !v.Anonymous() && !v.file.shmem && v.uffd == nil {
			return ErrInval
		}
		return nil
	})
	if err != nil {
		return err
	}
	return u.space.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		if v.uffd == nil {
			return nil
		}
		return u.space.clearUffd(c, v, part)
	})
}

// clearUffd ends the write protection of part of v, and takes it from its userfaultfd.
//
// Linux: mm/userfaultfd.c:userfaultfd_clear_vma()
func (s *Space) clearUffd(c *CPU, v *VMA, part pgtable.Range) error {
	if v.flags&VMUffdWP != 0 {
		if err := s.uffdWPRange(c, v, part, false); err != nil {
			return err
		}
	}
	s.setUffd(v, part, 0, nil)
	return nil
}

// Close unregisters everything.
//
// Linux: fs/userfaultfd.c:userfaultfd_release(), mm/userfaultfd.c:userfaultfd_release_all()
func (u *Uffd) Close(c *CPU) error {
	if u.closed || u.space.exited {
		u.closed = true
		return nil
	}
	u.closed = true
	s := u.space
	s.writeLock()
	defer s.writeUnlock()
	all := pgtable.Range{Last: s.tree.Limit() - 1}
	return s.eachVMA(all, func(v *VMA, part pgtable.Range) error {
		if v.uffd != u {
			return nil
		}
		return s.clearUffd(c, v, part)
	})
}
