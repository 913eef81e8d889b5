package mm

import (
	"runtime"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// benchPages are those of 1 GiB; fewer with -short.
func benchPages() uint64 {
	if testing.Short() {
		return 1 << 14
	}
	return 1 << 18
}

// benchmarks are operations on a populated private area, and beside each what a loop must do that takes one entry after
// the other, with nobody else there: no areas, no locks but the table's, no flushes.
var benchmarks = []struct {
	name    string
	prepare func(b *bench)
	op      func(b *bench)
	scalar  func(b *bench, e x86.PTE) x86.PTE
}{
	{"fork", nil, func(b *bench) { b.child, b.err = b.c.Fork() },
		func(b *bench, e x86.PTE) x86.PTE {
			pfn := e.PFN(b.m.abi)
			b.m.setExclusive(pfn, false)
			b.m.pages[pfn].mapped++
			b.m.pages[pfn].ref++
			e = e.WrProtect(b.m.abi)
			b.other[uint64(pfn)%x86.EntriesPerTable] = uint64(e.MkOld())
			return e
		}},
	{"cow", (*bench).forkAgain, func(b *bench) { b.err = b.advise(AdvisePopulateWrite) }, nil},
	{"clear_refs", nil, func(b *bench) { b.err = b.s.ClearRefs(b.c, ClearRefsSoftDirty) },
		func(b *bench, e x86.PTE) x86.PTE { return e.WrProtect(b.m.abi).ClearSoftDirty() }},
	{"uffd-wp", (*bench).register, func(b *bench) { b.err = b.u.WriteProtect(b.c, b.va, b.pages*x86.PageSize, true) },
		func(b *bench, e x86.PTE) x86.PTE { return e.WrProtect(b.m.abi).MkUffdWP(b.m.abi) }},
	{"mprotect", nil, func(b *bench) { b.err = b.c.Mprotect(b.va, b.pages*x86.PageSize, ProtRead) },
		func(b *bench, e x86.PTE) x86.PTE { return e.Modify(b.m.abi, x86.VMRead.PageProt(b.m.abi)) }},
	{"munmap", nil, func(b *bench) { b.err = b.c.Munmap(b.va, b.pages*x86.PageSize) }, nil},
	{"zap", nil, func(b *bench) { b.err = b.advise(AdviseDontNeed) },
		func(b *bench, e x86.PTE) x86.PTE {
			pfn := e.PFN(b.m.abi)
			b.m.removeMapping(pfn)
			b.m.put(pfn)
			return 0
		}},
	{"swap-out-filled", (*bench).cycle, func(b *bench) { b.err = b.advise(AdvisePageOut) }, nil},
	{"swap-in-filled", func(b *bench) { b.cycle(); b.pageOut() }, func(b *bench) { b.err = b.advise(AdvisePopulateRead) }, nil},
	{"swap-in", (*bench).pageOut, func(b *bench) { b.err = b.advise(AdvisePopulateRead) }, nil},
	{"swap-out", nil, func(b *bench) { b.err = b.advise(AdvisePageOut) },
		func(b *bench, e x86.PTE) x86.PTE {
			pfn := e.PFN(b.m.abi)
			b.slot++
			b.m.swap.take(b.slot)
			b.m.swap.write(b.slot, b.m.content(pfn))
			n := swapentry.MkSwp(0, b.slot).PTE()
			if b.m.exclusive(pfn) {
				n = swapentry.PTESwpMkExclusive(n)
			}
			b.m.removeMapping(pfn)
			b.m.put(pfn)
			return n
		}},
}

// bench is a machine with a populated area.
type bench struct {
	*testing.B
	m     *Machine
	c     *CPU
	s     *Space
	va    x86.Virt
	pages uint64
	u     *Uffd
	child *Space
	other physmem.Table
	slot  uint64
	err   error
}

func newBench(t *testing.B) *bench {
	n := benchPages()
	m, err := New(Config{Profile: Linux7_2(), Frames: 2*n + n/32 + 8192, Slots: n + 512})
	must(t, err)
	s, err := m.NewSpace()
	must(t, err)
	b := &bench{B: t, m: m, c: m.CPU(0), s: s, pages: n}
	must(t, b.c.Run(s))
	b.va, err = b.c.Mmap(MmapArgs{Length: n * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapPopulate})
	must(t, err)
	return b
}

func (b *bench) advise(a Advice) error { return b.c.Madvise(b.va, b.pages*x86.PageSize, a) }

func (b *bench) fork() {
	b.child, b.err = b.c.Fork()
	must(b, b.err)
}

// forkAgain forks after a first child, of which all pages were copied, has gone: the memory of the host is there.
func (b *bench) forkAgain() {
	b.fill()
	b.fork()
	must(b, b.advise(AdvisePopulateWrite))
	o := b.m.CPU(1)
	must(b, o.Run(b.child))
	b.child.Exit(o)
	b.fork()
}

// cycle brings filled pages to the swap area and back: the memory of the host is there.
func (b *bench) cycle() {
	b.fill()
	b.pageOut()
	must(b, b.advise(AdvisePopulateWrite))
}

// fill makes the content of every page other than zeros.
func (b *bench) fill() {
	must(b, b.each(func(b *bench, e x86.PTE) x86.PTE {
		b.m.content(e.PFN(b.m.abi))[0] = 1
		return e
	}))
}

func (b *bench) pageOut() { must(b, b.advise(AdvisePageOut)) }

func (b *bench) register() {
	b.u, b.err = b.c.Userfaultfd(0)
	must(b, b.err)
	must(b, b.u.Register(b.c, b.va, b.pages*x86.PageSize, UffdWP))
}

// BenchmarkOperations: whole operations on 1 GiB of small pages, in nanoseconds for a PTE.
func BenchmarkOperations(t *testing.B) {
	for _, o := range benchmarks {
		t.Run(o.name, func(t *testing.B) {
			measure(t, func(b *bench) {
				if o.prepare != nil {
					o.prepare(b)
				}
			}, o.op)
		})
		if o.scalar == nil {
			continue
		}
		t.Run(o.name+"/scalar", func(t *testing.B) {
			measure(t, func(b *bench) {}, func(b *bench) { b.err = b.each(o.scalar) })
		})
	}
}

// measure times op on a fresh machine each time.
func measure(t *testing.B, prepare, op func(b *bench)) {
	t.StopTimer()
	n := uint64(0)
	for range t.N {
		b := newBench(t)
		prepare(b)
		runtime.GC()
		t.StartTimer()
		op(b)
		t.StopTimer()
		must(t, b.err)
		n += b.pages
		must(t, b.m.Close())
	}
	t.ReportMetric(float64(t.Elapsed().Nanoseconds())/float64(n), "ns/pte")
	t.ReportMetric(0, "ns/op")
}

// each replaces every page's entry by what f makes of it.
func (b *bench) each(f func(b *bench, e x86.PTE) x86.PTE) error {
	r := pgtable.Range{First: b.va, Last: b.va + x86.Virt(b.pages)*x86.PageSize - 1}
	return b.s.tree.EachPMD(r, false, func(slot pgtable.PMDSlot) error {
		c, err := slot.LockPTEs()
		if err != nil {
			return err
		}
		defer c.Unlock()
		first, last := slot.Slots()
		for i := first; i <= last; i++ {
			if e := c.Get(i); e.Present() {
				c.Set(i, f(b, e))
			}
		}
		return nil
	})
}
