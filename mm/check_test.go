package mm

import (
	"errors"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// rig is a machine in which everything that Check looks at occurs, and one thing is to be broken by hand.
type rig struct {
	t *testing.T
	m *Machine
	c *CPU
	s *Space
	// Addresses of two written pages, of a zero page, of a huge page, of a page of a file mapped shared (and private behind
	// it), of a page that is swapped out, and one where nothing is.
	a, b, zero, huge, shared, private, swapped, hole x86.Virt
	file                                             *File
}

func newRig(t *testing.T, p Profile) *rig {
	t.Helper()
	p.Kernel.DevicePrivate = true
	m, err := New(Config{Profile: p, CPUs: 2, Frames: 4096})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	s, err := m.NewSpace()
	must(t, err)
	c := m.CPU(0)
	must(t, c.Run(s))
	r := &rig{t: t, m: m, c: c, s: s}
	r.file, err = m.NewFile(FileArgs{Name: "file", Size: 4 * x86.PageSize})
	must(t, err)
	const rw = ProtRead | ProtWrite
	base := x86.Virt(0x10000000)
	mapped := func(at x86.Virt, pages uint64, a MmapArgs) x86.Virt {
		a.Addr, a.Length, a.Prot = at, pages*x86.PageSize, rw
		a.Flags |= MapFixed
		va, err := c.Mmap(a)
		must(t, err)
		return va
	}
	r.a = mapped(base, 4, MmapArgs{})
	r.b, r.zero, r.hole = r.a+x86.PageSize, r.a+2*x86.PageSize, r.a+3*x86.PageSize
	r.huge = mapped(base<<1, 512, MmapArgs{})
	must(t, c.Madvise(r.huge, 512*x86.PageSize, AdviseHugePage))
	r.shared = mapped(base<<2, 2, MmapArgs{File: r.file, Flags: MapShared})
	r.private = mapped(base<<3, 2, MmapArgs{File: r.file, Offset: 2 * x86.PageSize})
	r.swapped = mapped(base<<4, 2, MmapArgs{})
	for _, va := range []x86.Virt{r.a, r.b, r.huge, r.shared, r.swapped} {
		must(t, c.Store(va, []byte{1}))
	}
	var one [1]byte
	must(t, c.Load(r.zero, one[:]))
	must(t, c.Load(r.private, one[:]))
	must(t, c.Madvise(r.swapped, x86.PageSize, AdvisePageOut))
	for _, va := range []x86.Virt{r.a, r.b, r.swapped + x86.PageSize} {
		must(t, c.Load(va, one[:])) // cached again
	}
	if err := m.Check(); err != nil {
		t.Fatalf("before anything is broken: %v", err)
	}
	return r
}

// poke changes the entry at va behind everybody's back, and tells the processors.
func (r *rig) poke(va x86.Virt, f func(e x86.PTE) x86.PTE) {
	r.t.Helper()
	r.quietly(va, f)
	r.s.flushPage(va)
}

// quietly does not tell them.
func (r *rig) quietly(va x86.Virt, f func(e x86.PTE) x86.PTE) {
	r.t.Helper()
	c, err := r.s.tree.LockPTEs(va, true)
	must(r.t, err)
	defer c.Unlock()
	c.Set(va.Index(x86.LevelPTE), f(c.Get(va.Index(x86.LevelPTE))))
}

// put stores e in the hole.
func (r *rig) put(e x86.PTE) { r.poke(r.hole, func(x86.PTE) x86.PTE { return e }) }

func (r *rig) pfn(va x86.Virt) x86.PFN { return r.s.pte(va).PFN(r.m.abi) }
func (r *rig) page(va x86.Virt) *page  { return &r.m.pages[r.pfn(va)] }
func (r *rig) vma(va x86.Virt) *VMA    { return r.s.VMA(va) }
func (r *rig) hugePFN() x86.PFN        { e, _ := r.s.hugePMD(r.huge); return e.PFN(r.m.abi) }

func (r *rig) slot() uint64 { return r.m.layout.FromPTE(r.s.pte(r.swapped)).Offset() }

func (r *rig) marker(bits swapentry.Marker) { r.put(r.m.layout.MakePTEMarker(bits)) }

func (r *rig) write(e x86.PTE) x86.PTE { return e.MkWrite(r.m.abi) }

// broken are the rules of Check: what breaks each, where that is, and what is said of it.
var broken = []struct {
	name  string
	do    func(r *rig)
	at    func(r *rig) x86.Virt // nil: the finding has no address
	says  string
	since string // the release that has the thing; "": all
}{
	{"area of another space", func(r *rig) { r.vma(r.a).space = &Space{m: r.m} }, atA, "belongs to another space", ""},
	{"area not of pages", func(r *rig) { r.vma(r.a).End++ }, atA, "does not consist of pages", ""},
	{"areas overlap", func(r *rig) { r.vma(r.a).End = r.huge + x86.PageSize }, atHuge, "before the end of its predecessor", ""},
	{"vm_page_prot", func(r *rig) { r.vma(r.shared).prot |= x86.PageRW; r.vma(r.shared).flags &^= VMSoftDirty }, atShared, "vm_page_prot is", ""},
	{"uffd flags", func(r *rig) { r.vma(r.a).flags |= VMUffdMissing }, atA, "and userfaultfd false", ""},
	{"mmap lock", func(r *rig) { r.s.mmap.readers++ }, nil, "mmap lock is held", ""},
	{"flush announced", func(r *rig) { r.s.pendingFlush++ }, nil, "1 flushes are announced", ""},
	{"table's count", func(r *rig) {
		c, _ := r.s.tree.LockPTEs(r.hole, false)
		c.Table()[r.hole.Index(x86.LevelPTE)] = uint64(x86.MkPTE(r.m.abi, r.m.zero, r.vma(r.a).prot).MkSpecial())
		c.Unlock()
	}, nil, "entries in use", ""},
	{"no area", func(r *rig) { r.poke(r.a-x86.PageSize, func(x86.PTE) x86.PTE { return r.s.pte(r.a) }) }, before, "lies in no area", ""},
	{"no memory", func(r *rig) { r.put(x86.MkPTE(r.m.abi, 1<<30, r.vma(r.a).prot)) }, atHole, "is beyond memory", ""},
	{"free frame", func(r *rig) { r.put(x86.MkPTE(r.m.abi, 4000, r.vma(r.a).prot)) }, atHole, "is not allocated as a page", ""},
	{"table as a page", func(r *rig) { r.put(x86.MkPTE(r.m.abi, r.s.tree.Root(), r.vma(r.a).prot)) }, atHole, "is not allocated as a page", ""},
	{"no references", func(r *rig) { r.page(r.a).ref = 0 }, atA, "is mapped, and has 0 references", ""},
	{"huge page of a tail", func(r *rig) {
		r.m.pages[r.hugePFN()].order = 8
	}, atHuge, "not the first of a huge page", ""},
	{"special", func(r *rig) { r.poke(r.a, x86.PTE.MkSpecial) }, atA, "is marked special", ""},
	{"zero page not special", func(r *rig) { r.put(x86.MkPTE(r.m.abi, r.m.zero, r.vma(r.a).prot)) }, atHole, "is not marked special", ""},
	{"zero page writable", func(r *rig) { r.poke(r.zero, r.write) }, atZero, "the zero page is writable", ""},
	{"zero page shared", func(r *rig) {
		e := r.s.pte(r.zero)
		r.poke(r.shared, func(x86.PTE) x86.PTE { return e })
	}, atShared, "the zero page is mapped in a shared area", ""},
	{"accessible", func(r *rig) { v := r.vma(r.a); v.flags &^= vmAccess; v.setPageProt() }, atA, "is accessible in an area that is not", ""},
	{"executable", func(r *rig) { r.poke(r.a, func(e x86.PTE) x86.PTE { return e &^ x86.PageNX }) }, atA, "rights differ from vm_page_prot", ""},
	{"protection key", func(r *rig) { r.poke(r.a, func(e x86.PTE) x86.PTE { return e | x86.PagePkeyMask }) }, atA, "rights differ from vm_page_prot", ""},
	{"RW without VM_WRITE", func(r *rig) { v := r.vma(r.a); v.flags &^= x86.VMWrite; v.setPageProt() }, atA, "RW in an area that may not be written", ""},
	{"RW and uffd-wp", func(r *rig) {
		u, _ := r.c.Userfaultfd(0)
		must(r.t, u.Register(r.c, r.a, x86.PageSize, UffdWP))
		r.poke(r.a, func(e x86.PTE) x86.PTE { return e | x86.PageUffdWP })
	}, atA, "RW and write-protected by userfaultfd", ""},
	{"RW without soft-dirty", func(r *rig) {
		must(r.t, r.s.ClearRefs(r.c, ClearRefsSoftDirty))
		r.poke(r.a, r.write)
	}, atA, "RW without SOFT_DIRTY", "7.2"},
	{"anonymous and shared", func(r *rig) { v := r.vma(r.a); v.flags |= x86.VMShared; v.setPageProt() }, atA, "a shared area maps anonymous page", ""},
	{"RW on a file's page", func(r *rig) { r.poke(r.private, r.write) }, atPrivate, "which is not anonymous", ""},
	{"RW and not exclusive", func(r *rig) { r.m.setExclusive(r.pfn(r.a), false) }, atA, "which is not exclusive", ""},
	{"RW huge and not exclusive", func(r *rig) { r.m.setExclusive(r.hugePFN(), false) }, atHuge, "which is not exclusive", ""},
	{"wrong index", func(r *rig) { r.page(r.a).index++ }, atA, "cannot be found here", ""},
	{"wrong mapping", func(r *rig) { r.page(r.a).anon = &anonVMA{} }, atA, "cannot be found here", ""},
	{"stray bits", func(r *rig) { r.put(r.m.layout.MakePTEMarker(swapentry.MarkerUffdWP) | x86.PagePCD) }, atHole, "reserved bits set", ""},
	{"hwpoison of a free frame", func(r *rig) { r.put(r.m.layout.MakeHWPoisonEntry(4000).PTE()) }, atHole, "not allocated as a page", ""},
	{"hwpoison of a good frame", func(r *rig) { r.put(r.m.layout.MakeHWPoisonEntry(r.pfn(r.a)).PTE()) }, atHole, "which has not failed", ""},
	{"migration", func(r *rig) { r.put(r.m.layout.MakeReadableMigrationEntry(r.pfn(r.a)).PTE()) }, atHole, "nothing migrates", ""},
	{"marker without uffd", func(r *rig) { r.marker(swapentry.MarkerUffdWP) }, atHole, "not registered with userfaultfd", ""},
	{"marker in anonymous memory", func(r *rig) {
		u, _ := r.c.Userfaultfd(0)
		must(r.t, u.Register(r.c, r.hole, x86.PageSize, UffdWP))
		r.marker(swapentry.MarkerUffdWP)
	}, atHole, "uffd-wp marker in an anonymous area", ""},
	{"guard without VM_MAYBE_GUARD", func(r *rig) { r.marker(swapentry.MarkerGuard) }, atHole, "without VM_MAYBE_GUARD", "7.2"},
	{"device writes a shared page", func(r *rig) {
		e := r.m.layout.MakeWritableDeviceExclusiveEntry(r.pfn(r.a)).PTE()
		r.m.setExclusive(r.pfn(r.a), false)
		r.put(e)
	}, atHole, "a writable device entry for page", ""},
	{"no such slot", func(r *rig) { r.put(swapentry.MkSwp(0, 1<<20).PTE()) }, atHole, "there is no swap slot", ""},
	{"swap entry in a shared area", func(r *rig) {
		e := r.s.pte(r.swapped)
		r.m.swap.take(r.slot())
		r.poke(r.shared+x86.PageSize, func(x86.PTE) x86.PTE { return e })
	}, func(r *rig) x86.Virt { return r.shared + x86.PageSize }, "a swap entry in a shared area", ""},
	{"mapcount", func(r *rig) { r.page(r.a).mapped++ }, atA, "1 PTEs map the page, 2 are counted", ""},
	{"mapcount of a huge page", func(r *rig) { r.m.pages[r.hugePFN()].whole++ }, atHuge, "1 PMDs map the folio, 2 are counted", ""},
	{"exclusive file page", func(r *rig) { r.m.setExclusive(r.pfn(r.shared), true) }, atShared, "exclusive, and not anonymous", ""},
	{"exclusive, mapped twice", func(r *rig) {
		e := r.s.pte(r.a)
		r.put(e)
	}, nil, "exclusive, and mapped 2 times", ""},
	{"references", func(r *rig) { r.page(r.a).ref++ }, atA, "the folio has 2 references, 1 are accounted for", ""},
	{"references of a cached page", func(r *rig) { r.page(r.shared).ref-- }, atShared, "the folio has 1 references, 2 are accounted for", ""},
	{"lost page", func(r *rig) {
		r.poke(r.a, func(x86.PTE) x86.PTE { return 0 })
		p := r.lastPage()
		p.ref, p.mapped = 0, 0
	}, nil, "the page is lost", ""},
	{"lost frame", func(r *rig) { _, err := r.m.ram.Alloc(physmem.UsePage); must(r.t, err) }, nil, "the page is lost", ""},
	{"pins", func(r *rig) { r.m.pages[r.hugePFN()].pins++ }, atHuge, "1 pins and 0 holders", ""},
	{"cache of a free frame", func(r *rig) { r.file.cache[3] = 4000 }, nil, "has a frame that is free, at page 3", ""},
	{"cache at another index", func(r *rig) { r.file.cache[3] = r.file.cache[0] }, atShared, "has it at page 3, it says that it is page 0", ""},
	{"slot's count", func(r *rig) { r.m.swap.slots[r.slot()].count++ }, atSwapped, "1 entries and 0 files name the slot, 2 are counted", ""},
	{"exclusive entry, slot named twice", func(r *rig) {
		r.poke(r.swapped, swapentry.PTESwpMkExclusive)
		r.m.swap.take(r.slot())
	}, atSwapped, "1 entries and 0 files name the slot, 2 are counted", ""},
	{"two exclusive entries", func(r *rig) {
		r.poke(r.swapped, swapentry.PTESwpMkExclusive)
		r.m.swap.take(r.slot())
		r.put(r.s.pte(r.swapped))
	}, nil, "an entry is exclusive, and the slot is named 2 times", ""},
	{"slots in use", func(r *rig) { r.m.swap.used++ }, nil, "swap slots are in use", ""},
	{"swap cache of another page", func(r *rig) { r.m.swap.slots[r.slot()].page = r.pfn(r.a) }, atSwapped, "which says that it is elsewhere", ""},
	{"swap cache that lost a page", func(r *rig) { r.page(r.a).flags |= pgSwapCache; r.page(r.a).slot = 7 }, atA, "in the swap cache for slot 7, which does not have it", ""},
	{"TLB: gone", func(r *rig) { r.quietly(r.a, func(x86.PTE) x86.PTE { return 0 }) }, atA, "CPU 0 has cached a translation that the tables do not give any more (gone)", ""},
	{"TLB: rights", func(r *rig) { r.quietly(r.a, func(e x86.PTE) x86.PTE { return e.WrProtect(r.m.abi) }) }, atA, "(rights", ""},
	{"TLB: page", func(r *rig) { e := r.s.pte(r.b); r.quietly(r.a, func(x86.PTE) x86.PTE { return e }) }, atA, "(page", ""},
	{"TLB: a freed table", func(r *rig) {
		c, _ := r.s.tree.LockPMDs(r.swapped, false)
		c.TakeTable(r.swapped.Index(x86.LevelPMD))
		c.Unlock()
	}, nil, "CPU 0 has cached a table that the tables do not lead to any more", ""},
}

func atA(r *rig) x86.Virt       { return r.a }
func before(r *rig) x86.Virt    { return r.a - x86.PageSize }
func atHole(r *rig) x86.Virt    { return r.hole }
func atZero(r *rig) x86.Virt    { return r.zero }
func atHuge(r *rig) x86.Virt    { return r.huge }
func atShared(r *rig) x86.Virt  { return r.shared }
func atPrivate(r *rig) x86.Virt { return r.private }
func atSwapped(r *rig) x86.Virt { return r.swapped }

// lastPage returns the page that was at a, which is the only one that is mapped once by nobody.
func (r *rig) lastPage() *page {
	for i := range r.m.pages {
		p := &r.m.pages[i]
		if p.flags&pgAnon != 0 && p.index == uint64(r.a)/x86.PageSize && p.mapped == 1 {
			return p
		}
	}
	r.t.Fatal("no such page")
	return nil
}

// TestCheckFinds breaks each rule by hand, once, and sees it reported, with its place.
func TestCheckFinds(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			for _, b := range broken {
				if b.since > p.Kernel.Release {
					continue
				}
				t.Run(b.name, func(t *testing.T) {
					r := newRig(t, p)
					b.do(r)
					if found := r.finding(b.says); found == nil {
						t.Errorf("nothing says %q: %v", b.says, r.m.Check())
					} else if b.at != nil && (found.VA != b.at(r) || found.Space != r.s.id) {
						t.Errorf("%v: it is at %v of space %d", found, b.at(r), r.s.id)
					}
				})
			}
		})
	}
}

// finding returns what Check says that contains the words.
func (r *rig) finding(words string) *CheckError {
	err := r.m.Check()
	if err == nil {
		return nil
	}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var e *CheckError
		if errors.As(err, &e) && strings.Contains(e.Error(), words) {
			return e
		}
	}
	return nil
}
