package mm

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// GUPFlags say how pages are taken hold of.
//
// Linux: include/linux/mm_types.h:FOLL_WRITE, FOLL_PIN, FOLL_LONGTERM, FOLL_FORCE
type GUPFlags uint8

// The flags of [CPU.GetPages].
const (
	GUPWrite    GUPFlags = 1 << iota
	GUPPin               // for access by a device, until unpinned; else a reference
	GUPLongterm          // with GUPPin: for as long as user space likes
	GUPForce             // what the area's protection says does not matter (ptrace)
)

// Pages are pages that somebody outside the page tables holds: a device, another process, a pipe.
type Pages struct {
	m     *Machine
	pfns  []x86.PFN
	flags GUPFlags
}

// GetPages takes hold of n pages from va on, faulting them in as an access would. On failure none is held.
//
// Linux: mm/gup.c:get_user_pages(), pin_user_pages()
func (c *CPU) GetPages(va x86.Virt, n int, flags GUPFlags) (*Pages, error) {
	if n <= 0 || flags&GUPLongterm != 0 && flags&GUPPin == 0 {
		return nil, &CallError{"get_user_pages", va, ErrInval}
	}
	s := c.space
	if flags&GUPPin != 0 {
		s.hasPinned = true
	}
	p := &Pages{m: c.m, flags: flags}
	for i := range n {
		pfn, err := c.getPage(pageOf(va)+x86.Virt(i)*x86.PageSize, flags)
		if err != nil {
			p.Put()
			return nil, err
		}
		p.pfns = append(p.pfns, pfn)
	}
	return p, nil
}

// getPage takes hold of one page. Linux: mm/gup.c:__get_user_pages(), gup_fast_pte_range()
func (c *CPU) getPage(va x86.Virt, flags GUPFlags) (x86.PFN, error) {
	for range maxFaults {
		e, ok := c.space.readable(va)
		want := faultRemote
		if ok {
			pfn := e.PFN(c.m.abi)
			var follow bool
			if want, follow = c.follow(va, e, flags); follow {
				c.point(PointGUP)
				if again, _ := c.space.readable(va); again != e {
					continue
				}
				c.m.hold(pfn, flags)
				return pfn, nil
			}
		} else if flags&GUPWrite != 0 {
			want |= faultWrite
		}
		if flags&GUPForce != 0 {
			if v := c.space.VMA(va); v == nil || v.flags&VMMayWrite == 0 || v.shared() && !v.writable() && flags&GUPWrite != 0 {
				return 0, &CallError{"get_user_pages", va, ErrFault}
			}
			want |= faultForce
		}
		if err := c.fault(va, want); err != nil {
			return 0, &CallError{"get_user_pages", va, err}
		}
	}
	return 0, &CallError{"get_user_pages", va, ErrFault}
}

// readable returns the PTE at va, or what a huge page's would be, if it maps something that may be read.
func (s *Space) readable(va x86.Virt) (x86.PTE, bool) {
	if d, huge := s.hugePMD(va); huge {
		if !d.Present() || d.Protnone() {
			return 0, false
		}
		e := x86.MkPTE(s.m.abi, d.PFN(s.m.abi)+x86.PFN(va.Index(x86.LevelPTE)), 0)
		return e | x86.PTE(d.Flags(s.m.abi)&^x86.PagePSE), true
	}
	e := s.pte(va)
	return e, e.Present() && !e.Protnone()
}

// follow reports that the page of e may be held; else which fault is needed first.
//
// Linux: mm/gup.c:can_follow_write_pte(), gup_must_unshare()
func (c *CPU) follow(va x86.Virt, e x86.PTE, flags GUPFlags) (want faultFlags, ok bool) {
	v := c.space.VMA(va)
	switch {
	case v == nil:
		return faultRemote, false
	case flags&GUPWrite != 0:
		if e.Write(c.m.abi) || flags&GUPForce != 0 && c.m.mayForce(v, va, e) {
			return 0, true
		}
		return faultRemote | faultWrite, false
	case flags&GUPPin != 0 && !e.Write(c.m.abi) && c.m.mustUnshare(v, va, e, flags):
		return faultRemote | faultUnshare, false
	}
	return 0, true
}

// mayForce is can_follow_write_common(): a write that the area forbids goes to a page of its own all the same.
func (m *Machine) mayForce(v *VMA, va x86.Virt, e x86.PTE) bool {
	pfn, ok := m.normal(e)
	return ok && !v.shared() && v.flags&VMMayWrite != 0 && !v.writable() && m.anonPage(pfn) && v.exclusiveAt(va, pfn) &&
		!(v.softDirtyTracked() && !e.SoftDirty()) && !v.uffdWPs(e)
}

// mustUnshare is gup_must_unshare().
func (m *Machine) mustUnshare(v *VMA, va x86.Virt, e x86.PTE, flags GUPFlags) bool {
	pfn, ok := m.normal(e)
	if ok && m.anonPage(pfn) {
		return !v.exclusiveAt(va, pfn)
	}
	return m.Policy.UnshareCopiesFile && flags&GUPLongterm != 0 && v.cow()
}

// exclusiveAt reports that page pfn, which is mapped at va, is exclusive: of a huge page, its head says so.
func (v *VMA) exclusiveAt(va x86.Virt, pfn x86.PFN) bool {
	m := v.space.m
	if _, huge := v.space.hugePMD(va); huge {
		pfn = m.head(pfn)
	}
	return m.exclusive(pfn)
}

// hold takes a reference, or a pin. Linux: mm/gup.c:try_grab_folio()
func (m *Machine) hold(pfn x86.PFN, flags GUPFlags) {
	f := m.folio(pfn)
	switch {
	case f.flags&pgReserved != 0:
	case flags&GUPPin == 0:
		f.ref++
		f.held++
	case f.order > 0:
		f.ref++
		f.held++
		f.pins++
	default:
		f.ref += pinBias
		f.held += pinBias
	}
}

// Put lets go of the pages.
//
// Linux: mm/gup.c:unpin_user_pages(); put_page()
func (p *Pages) Put() {
	for _, pfn := range p.pfns {
		f := p.m.folio(pfn)
		switch {
		case f.flags&pgReserved != 0:
		case p.flags&GUPPin == 0:
			f.held--
			p.m.put(pfn)
		case f.order > 0:
			f.held--
			f.pins--
			p.m.put(pfn)
		default:
			f.held -= pinBias
			p.m.putN(pfn, pinBias)
		}
	}
	p.pfns = nil
}

// Frames returns the frames held.
func (p *Pages) Frames() []x86.PFN { return append([]x86.PFN(nil), p.pfns...) }

// Content returns the bytes of page i, as a device sees them.
func (p *Pages) Content(i int) *physmem.Frame { return p.m.content(p.pfns[i]) }
