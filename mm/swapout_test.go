package mm

import (
	"fmt"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestPageOutAtOnce: MADV_PAGEOUT of many pages at once leaves every page, slot, entry and frame as page by page, and tells
// whoever watches the same.
func TestPageOutAtOnce(t *testing.T) {
	for _, p := range Profiles() {
		for _, cfg := range []Config{{Profile: p, Slots: 20, Frames: 1024}, {Profile: p, Slots: 512, Frames: 2048, Orders: 1 << 2}} {
			for seed := range uint64(4) {
				t.Run(fmt.Sprintf("%s/%d slots/%d", p.Kernel.Release, cfg.Slots, seed), func(t *testing.T) {
					var events [2][]string
					var worlds [2]*swapWorld
					for i := range worlds {
						w, _ := newSwapWorld(t, cfg, seed)
						w.stepwise = i == 1
						if seed == 3 { // no release does both: what is young is asked about
							w.m.Policy.PageOutAsks, w.m.Policy.PageOutKeepsYoung = true, true
						}
						if seed%2 == 0 {
							w.m.Watch(func(e Event) {
								e.Tree = nil
								events[i] = append(events[i], fmt.Sprint(e))
							})
						}
						worlds[i] = w
					}
					for range 150 {
						what := worlds[0].outStep()
						if other := worlds[1].outStep(); other != what {
							t.Fatalf("%q at once, %q page by page", what, other)
						}
						worlds[0].log = append(worlds[0].log, what)
						if d := differ(worlds[0].m, worlds[1].m); d != "" {
							worlds[0].fail("%s", d)
						}
						if !slices.Equal(events[0], events[1]) {
							worlds[0].fail("at once\n%q\npage by page\n%q", events[0], events[1])
						}
						events[0], events[1] = nil, nil
					}
				})
			}
		}
	}
}

// outStep is a step, or one that pages out much: fresh pages, some of them not used since, one that a device may hold.
func (w *swapWorld) outStep() string {
	if w.r.IntN(4) > 0 {
		return w.step()
	}
	p := w.procs[w.r.IntN(len(w.procs))]
	w.must(p.c.Madvise(w.va, swapPages*x86.PageSize, AdviseDontNeed))
	for i := range swapPages {
		p.want[i], p.lazy[i] = 0, false
		if w.r.IntN(10) > 0 {
			w.store(p, i)
		}
	}
	cold := w.r.IntN(swapPages)
	w.must(p.c.Madvise(w.at(cold), uint64(swapPages-cold)*x86.PageSize, AdviseCold))
	held, err := p.c.GetPages(w.at(w.r.IntN(swapPages)), 1, GUPFlags(0))
	w.must(err)
	w.pageOut(p, w.va, swapPages*x86.PageSize)
	held.Put()
	return fmt.Sprintf("space %d: all out, cold from page %d on", p.s.id, cold)
}

// TestPageOutStopped: where MADV_PAGEOUT is stopped with a page unmapped and not written, the pages behind it are as they
// were, and whoever touches the page waits for it.
func TestPageOutStopped(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		const pages = 4
		va := mapAnon(t, c, pages)
		fill(t, c, va, pages)
		o := m.CPU(1)
		must(t, o.Run(s))
		out := m.Go(c, func() { must(t, c.Madvise(va, pages*x86.PageSize, AdvisePageOut)) })
		for i := range x86.Virt(pages) {
			if !out.RunTo(PointUnmapped) {
				t.Fatalf("page %d: no point", i)
			}
			for j := range x86.Virt(pages) {
				if present := s.pte(va + j*x86.PageSize).Present(); present != (j > i) {
					t.Errorf("page %d is unmapped, page %d is there: %v", i, j, present)
				}
			}
		}
		holds(t, o, va+(pages-1)*x86.PageSize, "page 003")
		if !out.Done() {
			t.Error("the access did not wait")
		}
		filled(t, o, va, pages)
		drained(t, c, used)
	})
}

// TestSwapKeepsEveryByte: one byte that is not zero, wherever it is in its page, comes back, and so do zeros, from slots and
// in frames that held something else before.
func TestSwapKeepsEveryByte(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		at := []x86.Virt{0, 1, 7, 8, 63, 64, 2047, 2048, 4088, 4095}
		va := mapAnon(t, c, uint64(2*len(at)))
		size := uint64(2*len(at)) * x86.PageSize
		want := make([]byte, x86.PageSize)
		for round := range x86.Virt(4) {
			byteOf := func(i int) (x86.Virt, byte) {
				return va + (x86.Virt(2*i)+round%2)*x86.PageSize + at[i], byte(round) + 1 // the pages between are zeros
			}
			must(t, c.Madvise(va, size, AdviseDontNeed))
			must(t, c.Madvise(va, size, AdvisePopulateWrite))
			for i := range at {
				to, b := byteOf(i)
				must(t, c.Store(to, []byte{b}))
			}
			if round < 2 {
				must(t, c.Madvise(va, size, AdvisePageOut))
			}
			for i := range 2 * len(at) {
				page := va + x86.Virt(i)*x86.PageSize
				if e := s.pte(page); e.Present() {
					if ok, err := m.Reclaim(c, e.PFN(m.abi)); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				clear(want)
				if to, b := byteOf(i / 2); pageOf(to) == page {
					want[to-page] = b
				}
				got := make([]byte, x86.PageSize)
				if must(t, c.Load(page, got)); !slices.Equal(got, want) {
					t.Errorf("round %d: page %d is not what it was", round, i)
				}
			}
		}
		drained(t, c, used)
	})
}

// differ returns the first difference between two machines, "" if there is none.
func differ(a, b *Machine) string {
	for i := range a.pages {
		x, y := a.pages[i], b.pages[i]
		owned := (x.anon == nil) == (y.anon == nil) && (x.file == nil) == (y.file == nil) && (x.ksm == nil) == (y.ksm == nil)
		x.anon, x.file, x.ksm = y.anon, y.file, y.ksm
		if pfn := x86.PFN(i); x != y || !owned || a.exclusive(pfn) != b.exclusive(pfn) {
			return fmt.Sprintf("frame %#x: %+v and %+v, exclusive %v and %v", i, x, y, a.exclusive(pfn), b.exclusive(pfn))
		}
		u, used := a.ram.UseOf(x86.PFN(i))
		if v, is := b.ram.UseOf(x86.PFN(i)); u != v || used != is || used && *a.ram.Frame(x86.PFN(i)) != *b.ram.Frame(x86.PFN(i)) {
			return fmt.Sprintf("frame %#x: use %d, %v and %d, %v, or contents differ", i, u, used, v, is)
		}
	}
	for i := range a.swap.slots {
		x, y := a.swap.slots[i], b.swap.slots[i]
		if x != y || x.filled && *a.swap.content(uint64(i)) != *b.swap.content(uint64(i)) {
			return fmt.Sprintf("slot %d: %+v and %+v, or contents differ", i, x, y)
		}
	}
	for i, s := range a.spaces {
		if o := b.spaces[i]; s.batched != o.batched || s.id != o.id {
			return fmt.Sprintf("space %d: flush owed %v and %v", s.id, s.batched, o.batched)
		}
	}
	if a.swap.used != b.swap.used || a.ram.Used() != b.ram.Used() {
		return fmt.Sprintf("slots used: %d and %d; frames: %d and %d", a.swap.used, b.swap.used, a.ram.Used(), b.ram.Used())
	}
	return nextFrames(a.ram, b.ram)
}

// nextFrames compares which frames the memories would hand out.
func nextFrames(a, b *physmem.RAM) string {
	var got [2][]x86.PFN
	for i, r := range []*physmem.RAM{a, b} {
		for range 40 {
			if pfn, err := r.AllocStale(); err == nil {
				got[i] = append(got[i], pfn)
			}
		}
		for _, pfn := range slices.Backward(got[i]) {
			if err := r.Free(pfn); err != nil {
				return err.Error()
			}
		}
	}
	if !slices.Equal(got[0], got[1]) {
		return fmt.Sprintf("next frames: %#x and %#x", got[0], got[1])
	}
	return ""
}
