package pgtable_test

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
	"ptemu/thp"
)

const (
	perTable  = x86.EntriesPerTable
	ramBase   = 0x10000
	ramFrames = 2048
	pageBase  = 0x40000 // frames of pages; none of them exists
	pageCount = 0x4000
	hugeZero  = pageBase + pageCount
	zeroPage  = 0x333
)

// world is an area, the pages behind it, and the kernel that looks after it. Whatever a page knows follows from its
// number, so that the model and the code under test need not share state.
type world struct {
	layout  *swapentry.Layout
	a       *x86.ABI
	facts   x86.ChangeFlags // of the area
	backing swapentry.Backing
	anon    bool // vma_is_anonymous
	markers bool // missing pages can be protected
	folios  bool // the area has large folios
	salt    uint64
	bits    pgtable.Exclusive
}

func (w *world) String() string {
	return fmt.Sprintf("%s facts %#x backing %d anon %v markers %v folios %v shstk %v bits %d", w.a.Kernel().Release, w.facts,
		w.backing, w.anon, w.markers, w.folios, w.a.Paging().ShadowStack, len(w.bits.Bits))
}

func (w *world) hash(x uint64) uint64 {
	x = (x ^ w.salt) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// Folio makes folios of 1 to 512 pages, all of one 2 MiB block of the same size.
func (w *world) Folio(pfn x86.PFN) (x86.PFN, uint64) {
	size := uint64(1) << (w.hash(uint64(pfn)>>9) % 10)
	return pfn &^ x86.PFN(size-1), size
}

func (w *world) Exclusive(pfn x86.PFN) bool {
	if n := uint64(pfn - w.bits.Base); n < uint64(len(w.bits.Bits))*64 {
		return w.bits.Bits[n/64]>>(n%64)&1 != 0
	}
	return w.hash(uint64(pfn)>>3)>>7&1 != 0
}

func (w *world) anonPage(pfn x86.PFN) bool {
	switch w.backing {
	case swapentry.BackingAnon:
		return true
	case swapentry.BackingFile:
		return false
	}
	return w.hash(uint64(pfn)>>2)>>9&1 != 0
}

func (w *world) skips(pfn x86.PFN) bool { return w.hash(uint64(pfn)>>4)>>11&3 == 0 }

// modelPages answers the code under test.
type modelPages struct {
	*world
	flags x86.ChangeFlags
}

func (p modelPages) Other(e x86.PTE) x86.PTE {
	return p.layout.ChangeMigration(e, p.flags, p.anonPage(p.layout.FromPTE(e).PFN(p.layout)))
}

func (p modelPages) Skip(c pgtable.PTECursor, first, last int) (skip pgtable.Bitmap) {
	for i := first; i <= last; i++ {
		if e := c.Get(i); e.Present() && p.skips(e.PFN(p.a)) {
			skip.Set(i)
		}
	}
	return skip
}

// model is the address space as a flat array of slots of 2 MiB.
type model struct {
	*world
	base  x86.Virt
	slots []slot

	prot    x86.Prot
	flags   x86.ChangeFlags
	counted int64
	first   x86.Virt // of what must be flushed
	last    x86.Virt
	levels  uint8
}

type slot struct {
	huge  x86.PMD // or
	table bool
	ptes  [perTable]x86.PTE
}

// change is change_protection() on pages first to last.
func (m *model) change(first, last int) {
	m.counted, m.first, m.last, m.levels = 0, ^x86.Virt(0), 0, 0
	for first <= last {
		i := first / perTable
		end := min(last, i*perTable+perTable-1)
		m.changeSlot(i, first%perTable, end%perTable)
		first = end + 1
	}
}

func (m *model) installs() bool { return m.flags&x86.ChangeUffdWP != 0 && m.markers }

func (m *model) changeSlot(i, first, last int) {
	s := &m.slots[i]
	whole := first == 0 && last == perTable-1
	if s.huge != 0 {
		if whole && !(m.flags&x86.ChangeUffdWP != 0 && !m.anon) {
			m.changeHuge(i)
			return
		}
		m.split(s)
	}
	if !s.table {
		if !m.installs() {
			return
		}
		s.table = true
	}
	m.changePTEs(i, first, last)
}

// flush notes what has changed for processors.
func (m *model) flush(at, size x86.Virt, level x86.Level) {
	m.first, m.last = min(m.first, at), max(m.last, at+size-1)
	m.levels |= 1 << level
}

func (m *model) at(i, j int) x86.Virt {
	return m.base + x86.Virt(i)<<21 + x86.Virt(j)<<12
}

func (m *model) changePTEs(i, first, last int) {
	s := &m.slots[i]
	v72 := m.a.Kernel().Release == "7.2"
	numa := m.flags&x86.ChangeNUMA != 0
	for j := first; j <= last; {
		old := s.ptes[j]
		n := 1
		switch {
		case old.Present() && numa && old.Protnone():
		case old.Present():
			skipped := numa && m.skips(old.PFN(m.a))
			if v72 && m.folios {
				n = m.batch(s, j, last, skipped)
			}
			if !skipped {
				m.changePages(i, j, n)
			}
		case old.None():
			if m.installs() {
				s.ptes[j] = m.layout.MakePTEMarker(swapentry.MarkerUffdWP)
				m.counted++
			}
		default:
			v := m.changeOther(old)
			if v != old {
				m.counted++
			}
			s.ptes[j] = v
		}
		j += n
	}
}

// batch returns how many entries from j on are one to the kernel.
func (m *model) batch(s *slot, j, last int, loose bool) int {
	clean := func(e x86.PTE) x86.PTE {
		e = e.MkClean(m.a)
		if loose {
			e = e.ClearSoftDirty().WrProtect(m.a)
		}
		return e.MkOld()
	}
	first := s.ptes[j]
	if first.Special() {
		return 1
	}
	head, size := m.Folio(first.PFN(m.a))
	n := 1
	for j+n <= last {
		if first.PFN(m.a)+x86.PFN(n) >= head+x86.PFN(size) || clean(s.ptes[j+n]) != clean(first).AdvancePFN(uint64(n)) {
			break
		}
		n++
	}
	return n
}

// changePages changes n entries from j on, which are one to the kernel.
func (m *model) changePages(i, j, n int) {
	s := &m.slots[i]
	v61 := m.a.Kernel().Release == "6.1"
	old := s.ptes[j]
	for _, e := range s.ptes[j+1 : j+n] {
		if e.Dirty(m.a) {
			old = old.MkDirty(m.a)
		}
		if e.Young() {
			old = old.MkYoung()
		}
	}
	v := old.Modify(m.a, m.prot)
	switch {
	case m.flags&x86.ChangeNUMA != 0:
		if v61 && old.Write(m.a) {
			v = v.MkWriteNoVMA()
		}
	case m.flags&x86.ChangeUffdWP != 0:
		v = v.WrProtect(m.a).MkUffdWP(m.a)
	case m.flags&x86.ChangeUffdWPResolve != 0:
		v = v.ClearUffdWP()
	}
	for k := range n {
		o, e := old.AdvancePFN(uint64(k)), v.AdvancePFN(uint64(k))
		if m.flags&x86.ChangeTryWritable != 0 && !e.Write(m.a) && m.mayWrite(e) {
			if m.flags&x86.ChangeShadowStack != 0 && !v61 {
				e = e.MkWriteShstk()
			} else {
				e = e.MkWrite(m.a)
			}
		}
		s.ptes[j+k] = e
		m.counted++
		if x86.PTENeedsFlush(m.a, o, e) {
			m.flush(m.at(i, j+k), x86.PageSize, x86.LevelPTE)
		}
	}
}

// mayWrite is can_change_pte_writable().
func (m *model) mayWrite(e x86.PTE) bool {
	v61 := m.a.Kernel().Release == "6.1"
	switch {
	case e.Protnone(), v61 && !e.Dirty(m.a),
		m.flags&x86.ChangeSoftDirtyTracked != 0 && !e.SoftDirty(),
		m.flags&x86.ChangeAreaUffdWP != 0 && e.UffdWP():
		return false
	case m.flags&x86.ChangeShared != 0:
		return e.Dirty(m.a)
	}
	return !e.Special() && m.Exclusive(e.PFN(m.a))
}

// changeOther is the table of spec section 7.
func (m *model) changeOther(old x86.PTE) x86.PTE {
	l := m.layout
	s, t := l.FromPTE(old), l.Types()
	wp, resolve := m.flags&x86.ChangeUffdWP != 0, m.flags&x86.ChangeUffdWPResolve != 0
	carry := func(typ uint8, sd, wp bool) x86.PTE {
		e := swapentry.MkSwp(typ, s.Offset()).PTE()
		if sd && swapentry.SwpSoftDirty(old) {
			e = swapentry.SwpMkSoftDirty(e)
		}
		if wp && swapentry.SwpUffdWP(old) {
			e = swapentry.SwpMkUffdWP(e)
		}
		return e
	}
	v := old
	switch {
	case s.PTEMarker(l):
		if resolve && !s.PoisonMarker(l) && !s.GuardMarker(l) {
			return 0
		}
		return old
	case s.WritableMigration(l):
		to := t.MigrationRead
		if m.anonPage(s.PFN(l)) {
			to = t.MigrationReadExclusive
		}
		v = carry(to, true, m.a.Kernel().Release == "6.1")
	case s.WritableDevicePrivate(l):
		v = carry(t.DevicePrivateRead, false, true)
	case s.WritableDeviceExclusive(l) && m.a.Kernel().Release != "7.2":
		v = carry(t.DeviceExclusiveRead, true, true)
	}
	if wp {
		v = swapentry.SwpMkUffdWP(v)
	} else if resolve {
		v = swapentry.SwpClearUffdWP(v)
	}
	return v
}

// changeHuge is the table of spec section 8.
func (m *model) changeHuge(i int) {
	s := &m.slots[i]
	l, a, old := m.layout, m.a, s.huge
	wp, resolve := m.flags&x86.ChangeUffdWP != 0, m.flags&x86.ChangeUffdWPResolve != 0
	v61 := a.Kernel().Release == "6.1"
	if !old.Present() {
		e := l.FromPMD(old)
		v := old
		if e.WritableMigration(l) {
			typ := l.Types().MigrationRead
			if m.anonPage(e.PFN(l)) {
				typ = l.Types().MigrationReadExclusive
			}
			v = swapentry.MkSwp(typ, e.Offset()).PMD() | old&x86.PageSwpSoftDirty
			if v61 {
				v |= old & x86.PageSwpUffdWP
			}
		} else if e.WritableDevicePrivate(l) {
			v = swapentry.MkSwp(l.Types().DevicePrivateRead, e.Offset()).PMD() | old&x86.PageSwpUffdWP
		}
		if wp {
			v |= x86.PageSwpUffdWP
		} else if resolve {
			v &^= x86.PageSwpUffdWP
		}
		s.huge = v
		return
	}
	zero := old.PFN(a) == hugeZero
	if m.flags&x86.ChangeNUMA != 0 && (zero || old.Protnone() || m.skips(old.PFN(a))) {
		return
	}
	v := old.Modify(a, m.prot)
	switch {
	case m.flags&x86.ChangeNUMA != 0:
		if v61 && old.Write(a) {
			v |= x86.PageRW
		}
	case wp:
		v = v.WrProtect(a).MkUffdWP(a)
	case resolve:
		v = v.ClearUffdWP()
	}
	if m.flags&x86.ChangeTryWritable != 0 && !v61 && !v.Write(a) && !v.Protnone() &&
		(m.flags&x86.ChangeSoftDirtyTracked == 0 || v.SoftDirty()) && (m.flags&x86.ChangeAreaUffdWP == 0 || !v.UffdWP()) {
		ok := v.Dirty(a)
		if m.flags&x86.ChangeShared == 0 {
			ok = !zero && m.anonPage(v.PFN(a)) && m.Exclusive(v.PFN(a))
		}
		if ok && m.flags&x86.ChangeShadowStack != 0 {
			v = v.MkWriteShstk()
		} else if ok {
			v = v.MkWrite(a)
		}
	}
	s.huge = v
	m.counted += perTable
	if x86.HugePMDNeedsFlush(a, old, v) {
		m.flush(m.at(i, 0), 1<<21, x86.LevelPMD)
	}
}

// split is spec rmapops section 8, without freeze. The area's vm_page_prot is read-only.
func (m *model) split(s *slot) {
	l, a, old := m.layout, m.a, s.huge
	s.huge = 0
	if !m.anon {
		return
	}
	s.table = true
	v61 := a.Kernel().Release == "6.1"
	for j := range s.ptes {
		switch {
		case !old.Present():
			e := l.FromPMD(old)
			s.ptes[j] = swapentry.MkSwp(e.Type(), e.Offset()+uint64(j)).PTE() | x86.PTE(old)&(x86.PageSwpSoftDirty|x86.PageSwpUffdWP)
		case old.PFN(a) == hugeZero:
			s.ptes[j] = x86.MkPTE(a, zeroPage, x86.ProtReadonly).MkSpecial()
			if old.UffdWP() {
				s.ptes[j] = s.ptes[j].MkUffdWP(a)
			}
		default:
			e := x86.MkPTE(a, old.PFN(a)+x86.PFN(j), x86.ProtReadonly)
			if old.Write(a) {
				if m.facts&x86.ChangeShadowStack != 0 && !v61 {
					e = e.MkWriteShstk()
				} else {
					e = e.MkWrite(a)
				}
			}
			if !old.Young() {
				e = e.MkOld()
			}
			if old.Dirty(a) && !v61 {
				e = e.MkDirty(a)
			}
			if old.SoftDirty() {
				e = e.MkSoftDirty()
			}
			if old.UffdWP() {
				e = e.MkUffdWP(a)
			}
			s.ptes[j] = e
		}
	}
}

// zoo is a tree and the model of it.
type zoo struct {
	*world
	model
	ram  *physmem.RAM
	tree *pgtable.Tree
	thp  *thp.Huge
	g    pgtable.Gather
}

func newZoo(t testing.TB, w *world, base x86.Virt, slots int) *zoo {
	ram, err := physmem.NewRAM(ramBase, ramFrames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	tree, err := pgtable.New(ram, w.a)
	if err != nil {
		t.Fatal(err)
	}
	z := &zoo{world: w, model: model{world: w, base: base, slots: make([]slot, slots)}, ram: ram, tree: tree}
	area := &thp.Area{
		Layout: w.layout, Prot: x86.ProtReadonly, Anon: w.anon, Write: true, Zero: zeroPage, HugeZero: hugeZero,
		ShadowStack: w.facts&x86.ChangeShadowStack != 0,
	}
	z.thp = &thp.Huge{Area: area, Page: func(pfn x86.PFN) thp.Page {
		return thp.Page{Anon: w.anonPage(pfn), Exclusive: w.Exclusive(pfn)}
	}, Skip: func(_ x86.Virt, e x86.PMD) bool { return w.skips(e.PFN(w.a)) }}
	return z
}

// check compares the tree with the model.
func (z *zoo) check(t *testing.T) {
	t.Helper()
	for i := range z.slots {
		s, va := &z.slots[i], z.at(i, 0)
		c, err := z.tree.LockPTEs(va, false)
		if (err == nil) != s.table {
			t.Fatalf("%v: table %v, want %v (%v)", va, err == nil, s.table, err)
		}
		if err == nil {
			for j, want := range s.ptes {
				if got := c.Get(j); got != want {
					t.Errorf("%v: %#016x, want %#016x", z.at(i, j), uint64(got), uint64(want))
				}
			}
			c.Unlock()
			continue
		}
		var got x86.PMD
		if c, err := z.tree.LockPMDs(va, false); err == nil {
			got = c.Get(va.Index(x86.LevelPMD))
			c.Unlock()
		}
		if got != s.huge {
			t.Errorf("%v: pmd %#016x, want %#016x", va, uint64(got), uint64(s.huge))
		}
	}
	if err := z.tree.Check(); err != nil {
		t.Error(err)
	}
}
