package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// WriteProtect write-protects the pages of length bytes from va on, or, with protect false, ends that. A failure may
// leave areas before it changed.
//
// Linux: mm/userfaultfd.c:mwriteprotect_range()
func (u *Uffd) WriteProtect(c *CPU, va x86.Virt, length uint64, protect bool) error {
	const call = "UFFDIO_WRITEPROTECT"
	r, err := u.checkRange(call, va, length)
	if err != nil {
		return err
	}
	s := u.space
	s.readLock()
	defer s.readUnlock()
	if s.m.Policy.UffdWPOneArea {
		v := s.VMA(r.First)
		if v == nil || r.Last >= v.End || v.flags&VMUffdWP == 0 {
			return &CallError{call, va, ErrNoEnt}
		}
		return s.uffdWPRange(c, v, r, protect)
	}
	found := false
	err = s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		found = true
		if v.flags&VMUffdWP == 0 {
			return &CallError{call, part.First, ErrNoEnt}
		}
		return s.uffdWPRange(c, v, part, protect)
	})
	if err == nil && !found {
		err = &CallError{call, va, ErrNoEnt}
	}
	return err
}

// uffdWPRange begins or ends the write protection of r, part of v. Processors have been told when it returns; the mmap
// lock is held for reading at least.
//
// Linux: mm/userfaultfd.c:uffd_wp_range()
func (s *Space) uffdWPRange(c *CPU, v *VMA, r pgtable.Range, protect bool) error {
	g := c.gather(s)
	defer g.finish()
	m := s.m
	if !protect && m.Policy.Resolve != ResolveClears {
		return s.resolveDraft(g, v, r)
	}
	flags := x86.ChangeUffdWP
	if !protect {
		flags = x86.ChangeUffdWPResolve
		if m.Policy.ResolveUpgrades && v.wantsUpgrade() {
			flags |= x86.ChangeTryWritable
		}
	}
	_, err := s.changeProtection(g, v, r, v.uffdProt(protect), flags)
	var e *CallError
	if errors.As(err, &e) {
		return &CallError{"UFFDIO_WRITEPROTECT", e.VA, e.Err}
	}
	return err
}

// uffdProt returns the protection that entries get. Taken from the area's flags, that of a shared area has RW again
// when the write protection ends, whatever else should notice writes.
func (v *VMA) uffdProt(protect bool) x86.Prot {
	switch {
	case v.space.m.Policy.ResolveUpgrades:
		return v.prot
	case protect:
		return (v.flags &^ x86.VMWrite).PageProt(v.space.m.abi)
	}
	return v.flags.PageProt(v.space.m.abi)
}
