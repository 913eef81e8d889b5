package mm

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Advice is what madvise is asked for.
//
// Linux: include/uapi/asm-generic/mman-common.h:MADV_NORMAL and the following
type Advice uint8

// The advice that does something here.
const (
	AdviseDontNeed Advice = iota + 1
	AdviseFree
	AdvisePageOut
	AdviseCold
	AdviseHugePage
	AdviseNoHugePage
	AdviseCollapse
	AdviseHWPoison
	AdviseGuardInstall
	AdviseGuardRemove
	AdviseMergeable
	AdviseUnmergeable
	AdviseDontFork
	AdviseDoFork
	AdviseWipeOnFork
	AdviseKeepOnFork
	AdvisePopulateRead
	AdvisePopulateWrite
	AdviseRemove
	adviceEnd
)

var adviceNames = [adviceEnd]string{
	AdviseDontNeed: "dontneed", AdviseFree: "free", AdvisePageOut: "pageout", AdviseCold: "cold", AdviseHugePage: "hugepage",
	AdviseNoHugePage: "nohugepage", AdviseCollapse: "collapse", AdviseHWPoison: "hwpoison", AdviseGuardInstall: "guard-install",
	AdviseGuardRemove: "guard-remove", AdviseMergeable: "mergeable", AdviseUnmergeable: "unmergeable", AdviseDontFork: "dontfork",
	AdviseDoFork: "dofork", AdviseWipeOnFork: "wipeonfork", AdviseKeepOnFork: "keeponfork", AdvisePopulateRead: "populate-read",
	AdvisePopulateWrite: "populate-write", AdviseRemove: "remove",
}

func (a Advice) String() string {
	if a > 0 && a < adviceEnd {
		return adviceNames[a]
	}
	return fmt.Sprintf("advice %d", uint8(a))
}

// AdviceNamed returns the advice called name: its constant's name in lower case, "-" for "_".
func AdviceNamed(name string) (Advice, error) {
	for a := AdviseDontNeed; a < adviceEnd; a++ {
		if adviceNames[a] == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("mm: no advice %q", name)
}

// Madvise gives advice about length bytes from va on. Holes in the range are ErrNoMem, when all else is done.
//
// Linux: mm/madvise.c:do_madvise()
func (c *CPU) Madvise(va x86.Virt, length uint64, a Advice) error {
	s := c.space
	if va%x86.PageSize != 0 || a == 0 || a >= adviceEnd {
		return &CallError{"madvise", va, ErrInval}
	}
	if length == 0 {
		return nil
	}
	r, err := s.checkPages("madvise", va, length)
	if err != nil {
		return err
	}
	switch a {
	case AdviseHWPoison:
		return c.poisonRange(r)
	case AdvisePopulateRead, AdvisePopulateWrite:
		return c.populateAs(r, a == AdvisePopulateWrite)
	case AdviseGuardInstall, AdviseGuardRemove:
		if !s.m.Policy.GuardMarkers {
			return &CallError{"madvise", va, ErrInval}
		}
	}
	if a.shares() {
		s.readLock()
		defer s.readUnlock()
	} else {
		s.writeLock()
		defer s.writeUnlock()
	}
	return s.advise(c, r, a)
}

// shares reports advice that only unmaps or ages pages: the mmap lock is held for reading.
//
// Linux: mm/madvise.c:madvise_need_mmap_write()
func (a Advice) shares() bool {
	return a == AdviseDontNeed || a == AdviseFree || a == AdvisePageOut || a == AdviseCold
}

func (s *Space) advise(c *CPU, r pgtable.Range, a Advice) error {
	next, hole := r.First, false
	err := s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		hole = hole || part.First != next
		next = part.Last + 1
		return s.adviseArea(c, v, part, a)
	})
	if err == nil && (hole || next <= r.Last) {
		err = &CallError{"madvise", next, ErrNoMem}
	}
	return err
}

// adviseArea does it for part r of v. Linux: mm/madvise.c:madvise_vma_behavior()
func (s *Space) adviseArea(c *CPU, v *VMA, r pgtable.Range, a Advice) error {
	bad := func(is bool) error {
		if is {
			return &CallError{"madvise", r.First, ErrInval}
		}
		return nil
	}
	switch a {
	case AdviseDontNeed:
		if err := bad(v.flags&(VMLocked|VMPFNMap) != 0); err != nil {
			return err
		}
		g := c.gather(s)
		defer g.finish()
		return s.zap(g, v, r, zapFreesTables)
	case AdviseFree:
		if err := bad(!v.Anonymous() || v.flags&VMLocked != 0); err != nil {
			return err
		}
		return s.lazyFree(c, v, r)
	case AdvisePageOut, AdviseCold:
		if err := bad(v.flags&(VMLocked|VMPFNMap) != 0); err != nil {
			return err
		}
		if a == AdviseCold {
			return s.cold(c, v, r)
		}
		return s.pageOut(c, v, r)
	case AdviseCollapse:
		return s.collapseRange(c, v, r)
	case AdviseGuardInstall:
		if err := bad(v.flags&(VMLocked|VMPFNMap) != 0); err != nil {
			return err
		}
		return s.installGuards(c, v, r)
	case AdviseGuardRemove:
		return s.removeGuards(c, r)
	case AdviseRemove:
		if err := bad(v.flags&VMLocked != 0 || v.file == nil || !v.file.shmem); err != nil {
			return err
		}
		if !v.shared() || v.flags&VMMayWrite == 0 {
			return &CallError{"madvise", r.First, ErrAccess}
		}
		return v.file.punch(c, v.index(r.First), v.index(r.Last)+1)
	}
	if a == AdviseWipeOnFork && (v.file != nil || v.shared()) {
		return bad(true)
	}
	if a == AdviseUnmergeable && v.flags&VMMergeable != 0 {
		if err := s.unmerge(c, v, r); err != nil {
			return err
		}
	}
	s.setFlags(v, r, a.flags(v.flags))
	return nil
}

// flags returns what the advice makes of an area's flags.
func (a Advice) flags(f VMFlags) VMFlags {
	switch a {
	case AdviseHugePage:
		return f&^VMNoHugePage | VMHugePage
	case AdviseNoHugePage:
		return f&^VMHugePage | VMNoHugePage
	case AdviseMergeable:
		return f | VMMergeable
	case AdviseUnmergeable:
		return f &^ VMMergeable
	case AdviseDontFork:
		return f | VMDontCopy
	case AdviseDoFork:
		return f &^ VMDontCopy
	case AdviseWipeOnFork:
		return f | VMWipeOnFork
	case AdviseKeepOnFork:
		return f &^ VMWipeOnFork
	}
	return f
}

// setFlags gives part r of v the flags f, which say nothing about its protection.
//
// Linux: mm/madvise.c:madvise_update_vma()
func (s *Space) setFlags(v *VMA, r pgtable.Range, f VMFlags) {
	if v.flags == f {
		return
	}
	v = s.isolate(v, r.First, r.Last+1)
	v.flags = f
	s.mergeAround(v)
}

// populateAs faults pages in as reads or writes. Linux: mm/madvise.c:madvise_populate()
func (c *CPU) populateAs(r pgtable.Range, write bool) error {
	var hole error
	for va := r.First; ; va += x86.PageSize {
		err := c.populatePage(va, write)
		switch {
		case err == ErrNoMem && c.m.Policy.PopulateSkipsHoles:
			hole = &CallError{"madvise", va, err}
		case err != nil:
			return &CallError{"madvise", va, err}
		}
		if va+x86.PageSize > r.Last {
			return hole
		}
	}
}

// populatePage is faultin_page_range() for one page.
func (c *CPU) populatePage(va x86.Virt, write bool) error {
	f := faultRemote
	if write {
		f |= faultWrite
	}
	v := c.space.VMA(va)
	switch {
	case v == nil:
		return ErrNoMem
	case write && !v.writable() || !write && v.flags&x86.VMRead == 0 || !v.keyAllows(f&faultWrite|faultUser, c.pkru):
		return ErrInval
	}
	for range maxFaults {
		if c.space.touchable(va, write) {
			break
		}
		err := c.fault(va, f)
		var refused *AccessError
		switch {
		case errors.As(err, &refused) && refused.Signal == BusHWPoison:
			return ErrHWPois
		case err != nil:
			return ErrFault
		}
	}
	return nil
}

// touchable reports that an access to va needs no fault.
func (s *Space) touchable(va x86.Virt, write bool) bool {
	if d, huge := s.hugePMD(va); huge {
		return d.Present() && !d.Protnone() && (!write || d.Write(s.m.abi))
	}
	e := s.pte(va)
	return e.Present() && !e.Protnone() && (!write || e.Write(s.m.abi))
}

// ErrRestart: the kernel begins the call anew, for ever, until the process is killed.
//
// Linux: include/linux/errno.h:ERESTARTNOINTR
var ErrRestart = errors.New("ERESTARTNOINTR")

// guardTries is how often the kernel zaps a range that is to become guards, before it begins the call anew.
//
// Linux: mm/madvise.c:MAX_MADVISE_GUARD_RETRIES
const guardTries = 3

// installGuards makes the slots of r guard markers; pages and other entries there are zapped first. What a zap leaves
// (markers of write protection, of a file or shared memory) is in the way for ever: the kernel begins the call anew, and
// here it is ErrRestart.
//
// Linux: mm/madvise.c:madvise_guard_install()
func (s *Space) installGuards(c *CPU, v *VMA, r pgtable.Range) error {
	v.flags |= VMMaybeGuard
	if v.Anonymous() {
		v.prepareAnon()
	}
	g := c.gather(s)
	defer g.finish()
	var at x86.Virt
	for range guardTries {
		var err error
		if at, err = s.fillGuards(r); err != nil || at > r.Last {
			return err
		}
		if err := s.zap(g, v, r, 0); err != nil {
			return err
		}
	}
	return &CallError{"madvise", at, ErrRestart}
}

// fillGuards makes guards of the empty slots from the beginning of r to the first that is neither empty nor a guard, whose
// address it returns; the one behind r if there is none.
//
// Linux: mm/madvise.c:guard_install_pte_entry(), guard_install_pmd_entry()
func (s *Space) fillGuards(r pgtable.Range) (x86.Virt, error) {
	guard := s.m.layout.MakePTEMarker(swapentry.MarkerGuard)
	for va := r.First; va <= r.Last; va += x86.PageSize {
		if _, huge := s.hugePMD(va); huge {
			return va, nil
		}
		p, err := s.tree.LockPTEs(va, true)
		if err != nil {
			return va, &CallError{"madvise", va, ErrNoMem}
		}
		i := va.Index(x86.LevelPTE)
		e := p.Get(i)
		if e.None() {
			p.Set(i, guard)
		}
		p.Unlock()
		if !e.None() && !s.isGuard(e) {
			return va, nil
		}
	}
	return r.Last + 1, nil
}

// isGuard reports that e is a guard marker. One that mremap moved is soft-dirty, too.
//
// Linux: mm/madvise.c:is_guard_pte_marker()
func (s *Space) isGuard(e x86.PTE) bool {
	d := s.m.layout.Decode(x86.LevelPTE, uint64(e))
	return d.Kind == swapentry.KindMarker && d.Marker&swapentry.MarkerGuard != 0
}

// removeGuards empties the slots of r that are guard markers. Linux: mm/madvise.c:madvise_guard_remove()
func (s *Space) removeGuards(c *CPU, r pgtable.Range) error {
	return s.tree.EachPMD(r, false, func(slot pgtable.PMDSlot) error {
		p, err := slot.LockPTEs()
		if err != nil {
			return nil // nothing there, or a huge page: no markers
		}
		defer p.Unlock()
		first, last := slot.Slots()
		for i := first; i <= last; i++ {
			if s.isGuard(p.Get(i)) {
				p.Clear(i)
			}
		}
		return nil
	})
}
