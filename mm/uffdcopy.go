package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// filler is a call that fills the slots of an area under userfaultfd.
//
// Linux: mm/userfaultfd.c:mfill_atomic()
type filler struct {
	c  *CPU
	m  *Machine
	s  *Space
	v  *VMA
	wp bool // what is installed is write-protected
}

// Copy fills pages from va on with data, which consists of whole pages; with wp they are write-protected through
// userfaultfd at once. It returns how many bytes were filled: fewer than len(data) with the error that ended it.
//
// Linux: mm/userfaultfd.c:mfill_atomic_copy()
func (u *Uffd) Copy(c *CPU, va x86.Virt, data []byte, wp bool) (int, error) {
	return u.fill(c, "UFFDIO_COPY", va, uint64(len(data)), wp, func(f *filler, at x86.Virt) error {
		var page physmem.Frame
		copy(page[:], data[at-va:])
		return f.page(at, &page)
	})
}

// ZeroPage fills length bytes from va on with zeros: private areas with the zero page.
//
// Linux: mm/userfaultfd.c:mfill_atomic_zeropage()
func (u *Uffd) ZeroPage(c *CPU, va x86.Virt, length uint64) (int, error) {
	return u.fill(c, "UFFDIO_ZEROPAGE", va, length, false, func(f *filler, at x86.Virt) error {
		if f.v.shared() {
			return f.page(at, new(physmem.Frame))
		}
		return f.installEmpty(at, x86.MkPTE(f.m.abi, f.m.zero, f.v.prot).MkSpecial())
	})
}

// Poison makes accesses to length bytes from va on raise SIGBUS, as if the memory had failed (6.12 on).
//
// Linux: mm/userfaultfd.c:mfill_atomic_poison()
func (u *Uffd) Poison(c *CPU, va x86.Virt, length uint64) (int, error) {
	const call = "UFFDIO_POISON"
	if !c.m.Policy.UffdPoison {
		return 0, &CallError{call, va, ErrInval}
	}
	return u.fill(c, call, va, length, false, func(f *filler, at x86.Virt) error {
		return f.installEmpty(at, f.m.layout.MakePTEMarker(swapentry.MarkerPoisoned))
	})
}

// Continue maps pages of shared memory that are in its page cache already. With wp (6.12 on) they are write-protected.
//
// Linux: mm/userfaultfd.c:mfill_atomic_continue()
func (u *Uffd) Continue(c *CPU, va x86.Virt, length uint64, wp bool) (int, error) {
	const call = "UFFDIO_CONTINUE"
	if wp && !c.m.Policy.UffdWPUnpopulated {
		return 0, &CallError{call, va, ErrInval}
	}
	return u.fill(c, call, va, length, wp, func(f *filler, at x86.Virt) error {
		if f.v.Anonymous() {
			return ErrInval
		}
		i := f.v.index(at)
		if f.v.file.vacant(i, i+1) {
			return ErrFault
		}
		pfn, err := f.v.file.page(i)
		if err != nil {
			return err
		}
		defer f.m.put(pfn)
		return f.install(at, pfn, true)
	})
}

// fill calls one for every page of the range, which must lie in one registered area.
func (u *Uffd) fill(c *CPU, call string, va x86.Virt, length uint64, wp bool, one func(f *filler, at x86.Virt) error) (int, error) {
	r, err := u.checkRange(call, va, length)
	if err != nil {
		return 0, err
	}
	s := u.space
	s.readLock()
	defer s.readUnlock()
	v := s.VMA(va)
	if v != nil && !v.shared() && s.m.Policy.UffdPreparesFirst {
		v.prepareAnon()
	}
	switch {
	case v == nil || r.Last >= v.End || v.uffd == nil:
		return 0, &CallError{call, va, ErrNoEnt}
	case wp && v.flags&VMUffdWP == 0, !v.Anonymous() && !v.file.shmem:
		return 0, &CallError{call, va, ErrInval}
	}
	if !v.shared() {
		v.prepareAnon()
	}
	f := &filler{c, c.m, s, v, wp}
	for at := va; at <= r.Last; at += x86.PageSize {
		if err := one(f, at); err != nil {
			if at > va {
				err = ErrAgain // what was filled is filled
			}
			return int(at - va), &CallError{call, at, err}
		}
	}
	return int(length), nil
}

// page fills one slot with a new page: an anonymous one, or, in a shared area, one of the page cache.
//
// Linux: mm/userfaultfd.c:mfill_atomic_pte_copy()
func (f *filler) page(va x86.Virt, content *physmem.Frame) error {
	pfn, err := f.m.alloc(0)
	if err != nil {
		return err
	}
	*f.m.content(pfn) = *content
	f.c.point(PointUffdCopied)
	if f.v.shared() {
		defer f.m.put(pfn)
		return f.shared(va, pfn)
	}
	f.v.prepareAnon()
	if err = f.install(va, pfn, false); err != nil {
		f.m.put(pfn)
	}
	return err
}

// shared makes page pfn that of the file, and maps it at va.
//
// Linux: mm/shmem.c:shmem_mfill_atomic_pte()
func (f *filler) shared(va x86.Virt, pfn x86.PFN) error {
	i := f.v.index(va)
	switch {
	case f.beyond(va) && f.m.Policy.UffdCopyEndNoMem:
		return ErrNoMem
	case f.beyond(va):
		return ErrFault
	case !f.v.file.vacant(i, i+1):
		return ErrExist
	}
	f.v.file.insert(i, pfn)
	err := f.install(va, pfn, true)
	if err != nil {
		f.v.file.uncache(pfn)
		f.v.file.left(pfn)
	}
	return err
}

// beyond reports that va lies behind the end of the area's file.
func (f *filler) beyond(va x86.Virt) bool {
	return f.v.file != nil && f.v.index(va) >= f.v.file.pages()
}

// install maps page pfn at va: cached, if it is in the page cache, with a reference more; else with the caller's.
//
// Linux: mm/userfaultfd.c:mfill_atomic_install_pte()
func (f *filler) install(va x86.Virt, pfn x86.PFN, cached bool) error {
	if f.beyond(va) {
		return ErrFault
	}
	c, err := f.lock(va)
	if err != nil {
		return err
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPTE)
	if !f.replaceable(c.Get(i)) {
		return ErrExist
	}
	if cached {
		f.m.dupMapping(pfn)
	} else {
		f.m.addNewAnon(pfn, f.v, va)
	}
	c.Set(i, f.filled(va, pfn, cached))
	return nil
}

// filled is the entry for page pfn: always dirty, and writable but for write protection, or where a page of the cache is
// in a private area.
func (f *filler) filled(va x86.Virt, pfn x86.PFN, cached bool) x86.PTE {
	e := x86.MkPTE(f.m.abi, pfn, f.v.prot).MkDirty(f.m.abi)
	switch {
	case f.wp:
		return e.WrProtect(f.m.abi).MkUffdWP(f.m.abi)
	case cached && !f.v.shared():
		return e.WrProtect(f.m.abi)
	}
	return f.m.mkWrite(f.v, va, e, GainUffdCopy)
}

// replaceable reports that a new page may take the place of e.
func (f *filler) replaceable(e x86.PTE) bool {
	if f.m.Policy.UffdCopyStrict {
		return e.None() || f.m.layout.PTEUffdMarker(e)
	}
	return f.m.layout.PTENoneMostly(e)
}

// installEmpty stores e, which counts nothing, in a slot that holds nothing at all.
//
// Linux: mm/userfaultfd.c:mfill_atomic_pte_zeropage(), mfill_atomic_pte_poison()
func (f *filler) installEmpty(va x86.Virt, e x86.PTE) error {
	c, err := f.lock(va)
	if err != nil {
		return err
	}
	defer c.Unlock()
	switch i := va.Index(x86.LevelPTE); {
	case f.beyond(va):
		return ErrFault
	case !c.Get(i).None():
		return ErrExist
	default:
		c.Set(i, e)
	}
	return nil
}

// lock locks the PTE table for va, making it if need be. A huge page is in the way.
func (f *filler) lock(va x86.Virt) (pgtable.PTECursor, error) {
	c, err := f.s.tree.LockPTEs(va, true)
	switch {
	case errors.Is(err, pgtable.ErrHuge):
		return c, ErrExist
	case err != nil:
		return c, ErrNoMem
	}
	return c, nil
}
