package mmu_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

const warm = 7 | a // an entry that needs no mark for a read

// oneCore is a processor on one mapped page.
func oneCore(t testing.TB, leaf uint64) (*mmu.Core, ram) {
	return mmu.NewCore(newMMU(t, linux(4), 46, 0), mmu.TLBSize{}), build(4, 1, testVA4, 0x42000, [6]uint64{1: leaf, 2: 7, 3: 7, 4: 7})
}

// reach makes an access and returns its outcome in short: the frame, or the error code.
func reach(c *mmu.Core, m ram, va uint64, a mmu.Access) string {
	p, err := c.Access(m, m, virt(va), a)
	var fault *mmu.Fault
	if errors.As(err, &fault) {
		return fmt.Sprintf("#PF(%v)", fault.Code)
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%#x", uint64(p.PFN()))
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// TestStaleUntilFlush: what the tables said stays true until a flush that covers it.
func TestStaleUntilFlush(t *testing.T) {
	page := virt(testVA4 &^ 0xfff)
	covers := map[string]func(c *mmu.Core){
		"page":            func(c *mmu.Core) { c.TLB.FlushPage(c.Tag, page+5) },
		"range":           func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, page, page+0xfff, 1<<x86.LevelPTE, false) },
		"one byte":        func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, page+0xfff, page+0xfff, 1<<x86.LevelPTE, false) },
		"everything":      func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, 0, ^virt(0), 1<<x86.LevelPTE, false) },
		"tag":             func(c *mmu.Core) { c.TLB.FlushTag(c.Tag, false) },
		"tag and globals": func(c *mmu.Core) { c.TLB.FlushTag(c.Tag, true) },
		"all":             func(c *mmu.Core) { c.TLB.FlushAll() },
		"load":            func(c *mmu.Core) { c.Load(c.MMU, c.Tag, false) },
	}
	misses := map[string]func(c *mmu.Core){
		"no flush":      func(*mmu.Core) {},
		"page below":    func(c *mmu.Core) { c.TLB.FlushPage(c.Tag, page-1) },
		"page above":    func(c *mmu.Core) { c.TLB.FlushPage(c.Tag, page+0x1000) },
		"range around":  func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, page+0x1000, page-1, 1<<x86.LevelPTE, false) },
		"range below":   func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, 0, page-1, 1<<x86.LevelPTE, true) },
		"range above":   func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, page+0x1000, ^virt(0), 1<<x86.LevelPTE, true) },
		"larger pages":  func(c *mmu.Core) { c.TLB.FlushRange(c.Tag, 0, ^virt(0), 1<<x86.LevelPMD, true) },
		"another tag":   func(c *mmu.Core) { c.TLB.FlushTag(c.Tag+1, true) },
		"another's all": func(c *mmu.Core) { c.TLB.FlushRange(c.Tag+1, 0, ^virt(0), 1<<x86.LevelPTE, true) },
		"load, keep":    func(c *mmu.Core) { c.Load(c.MMU, c.Tag, true) },
	}
	try := func(what string, flush func(c *mmu.Core), want string) {
		c, m := oneCore(t, 7)
		expect(t, what, reach(c, m, testVA4, uWrite), "0x42")
		m.set(place(4, 1, testVA4), 0x43005)
		flush(c)
		expect(t, what, reach(c, m, testVA4, uWrite), want)
	}
	for what, flush := range covers {
		try(what, flush, "#PF(P|W|U)")
	}
	for what, flush := range misses {
		try(what, flush, "0x42")
	}
}

// TestCachedDirty: a write through an entry filled with D clear walks, and so sets D or finds that it may not.
func TestCachedDirty(t *testing.T) {
	c, m := oneCore(t, warm)
	leaf := place(4, 1, testVA4)
	expect(t, "read", reach(c, m, testVA4, uRead), "0x42")
	if _, f := c.TLB.Lookup(c.MMU, c.Tag, testVA4, uWrite); f != mmu.Clean {
		t.Errorf("a write finds %v", f)
	}
	expect(t, "write", reach(c, m, testVA4, uWrite), "0x42")
	if m.get(leaf) != 0x42000|warm|d {
		t.Errorf("leaf %#x", m.get(leaf))
	}
	m.set(leaf, 0x42000|warm)
	expect(t, "write again", reach(c, m, testVA4, uWrite), "0x42")
	if m.get(leaf) != 0x42000|warm {
		t.Errorf("leaf %#x: D is set although the TLB knows it as set", m.get(leaf))
	}

	c, m = oneCore(t, warm)
	reach(c, m, testVA4, uRead)
	m.set(leaf, 0x42000|warm&^2)
	expect(t, "write after a forgotten flush of a clean entry", reach(c, m, testVA4, uWrite), "#PF(P|W|U)")
}

// TestRefusedByCache: rights that were added need no flush, unless the processor is one that faults spuriously, and
// then once.
func TestRefusedByCache(t *testing.T) {
	leaf := place(4, 1, testVA4)
	c, m := oneCore(t, 5)
	reach(c, m, testVA4, uRead)
	m.set(leaf, 0x42007)
	expect(t, "write", reach(c, m, testVA4, uWrite), "0x42")

	c, m = oneCore(t, 5)
	c.Spurious = true
	reach(c, m, testVA4, uRead)
	m.set(leaf, 0x42007)
	expect(t, "spurious", reach(c, m, testVA4, uWrite), "#PF(P|W|U)")
	expect(t, "after it", reach(c, m, testVA4, uWrite), "0x42")
}

// TestGlobalAndTags: a translation is its tag's own, unless it is global; a global one outlives a load of CR3.
func TestGlobalAndTags(t *testing.T) {
	for _, global := range []uint64{0, 0x100} {
		c, m := oneCore(t, warm|global)
		unit := c.MMU
		regs := linux(4)
		regs.CR3 = 0x7000
		other := newMMU(t, regs, 46, 0)
		m.set(0x7000, 0)
		reach(c, m, testVA4, uRead)
		c.Load(other, 99, true)
		want := map[uint64]string{0: "#PF(U)", 0x100: "0x42"}[global]
		expect(t, "other tag", reach(c, m, testVA4, uRead), want)
		m.set(place(4, 1, testVA4), 0)
		c.Load(unit, unit.Tag(), true)
		expect(t, "back", reach(c, m, testVA4, uRead), "0x42")
		c.Load(unit, unit.Tag(), false)
		expect(t, "flushed", reach(c, m, testVA4, uRead), want)
		c.TLB.FlushTag(unit.Tag(), true)
		expect(t, "flushed with globals", reach(c, m, testVA4, uRead), "#PF(U)")
	}
}

// TestFreedTable: without a flush of tables, a processor walks the table that was freed.
func TestFreedTable(t *testing.T) {
	neighbour := uint64(testVA4 + 0x1000)
	for _, tables := range []bool{false, true} {
		c, m := oneCore(t, warm)
		m.set(place(4, 1, neighbour), 0x77000|warm) // in the table that will be freed
		reach(c, m, testVA4, uRead)
		m.set(0x6000+neighbour>>12%512*8, 0x66000|warm)
		m.set(place(4, 2, testVA4), 0x6000|warm)
		first := virt(testVA4 &^ 0x1fffff)
		c.TLB.FlushRange(c.Tag, first, first+0xfff, 1<<x86.LevelPMD, tables)
		want := map[bool]string{false: "0x77", true: "0x66"}[tables]
		expect(t, "neighbour", reach(c, m, neighbour, uRead), want)
		if u := c.TLB.Start(c.Tag, virt(neighbour)); u.Level != x86.LevelPMD {
			t.Errorf("the next walk begins below a %v entry", u.Level)
		}
	}
}

// TestLimits: a TLB that may forget still answers as the tables do while these stay; it keeps its limits, and
// equal seeds forget the same.
func TestLimits(t *testing.T) {
	m := build(4, 1, 0, 0x42000, [6]uint64{1: 7, 2: 7, 3: 7, 4: 7})
	for i := range uint64(512) {
		m.set(0x1000+8*i, (0x100+i)<<12|7)
		m.set(0x2000+8*i, 0x1007)
	}
	history := func(size mmu.TLBSize) (kept []x86.Virt) {
		unit := newMMU(t, linux(4), 46, 0)
		c := mmu.NewCore(unit, size)
		for i := range uint64(4000) {
			va := i * 0x9e3779b9 % (1 << 30)
			c.Load(unit, mmu.Tag(i%3), true)
			expect(t, fmt.Sprintf("%#x", va), reach(c, m, va, uWrite), fmt.Sprintf("%#x", 0x100+va>>12%512))
			n, tables := c.TLB.Len()
			if size.Translations > 0 && n > size.Translations || size.Tables > 0 && tables > size.Tables ||
				size.Translations < 0 && n > 0 || size.Tables < 0 && tables > 0 {
				t.Fatalf("%+v: %d translations, %d tables", size, n, tables)
			}
		}
		for x := range c.TLB.Each {
			kept = append(kept, x.VA)
		}
		return kept
	}
	one := history(mmu.TLBSize{Translations: 64, Tables: 8, Seed: 1})
	if len(one) != 64 || !slices.Equal(one, history(mmu.TLBSize{Translations: 64, Tables: 8, Seed: 1})) {
		t.Errorf("equal seeds differ, or %d are kept", len(one))
	}
	if slices.Equal(one, history(mmu.TLBSize{Translations: 64, Tables: 8, Seed: 2})) {
		t.Error("the seed does not matter")
	}
	history(mmu.TLBSize{Translations: -1, Tables: -1})
	if all := history(mmu.TLBSize{Tables: 1}); len(all) != 4000 {
		t.Errorf("without a limit %d of 4000 are kept", len(all))
	}
}

// TestFill: what an access is not permitted is not cached for it; what is cached already takes no new place.
func TestFill(t *testing.T) {
	c, m := oneCore(t, 5)
	walk := c.MMU.Walk(m, testVA4)
	if c.TLB.Fill(1, &walk, uWrite) {
		t.Error("a refused write is cached")
	}
	m.set(place(4, 1, testVA4), 6)
	if absent := c.MMU.Walk(m, testVA4); c.TLB.Fill(1, &absent, uRead) {
		t.Error("an entry that is not present is cached")
	}
	if n, tables := c.TLB.Len(); n != 0 || tables != 0 {
		t.Errorf("%d translations, %d tables", n, tables)
	}
	full := mmu.NewTLB(mmu.TLBSize{Translations: 2, Tables: 6})
	for range 10 {
		full.Fill(1, &walk, uRead)
		full.Fill(2, &walk, uRead)
		if n, tables := full.Len(); n != 2 || tables != 6 {
			t.Fatalf("%d translations, %d tables", n, tables)
		}
	}
}

// TestCompare: each way to be stale.
func TestCompare(t *testing.T) {
	for _, x := range []struct {
		entry uint64
		want  mmu.Stale
	}{
		{0x42000 | warm | d, 0},
		{0x42000 | warm, mmu.StaleDirty},
		{0x42000 | warm | d | 0x100, 0},
		{0x42000 | 7 | d, 0},
		{0x42006, mmu.StaleGone},
		{0x43000 | warm | d, mmu.StalePage},
		{0x42000 | warm&^2 | d, mmu.StaleRights},
		{0x42000 | warm&^4 | d, mmu.StaleRights},
		{0x42000 | warm | d | 1<<63, mmu.StaleRights},
		{0x42000 | warm | d | 3<<59, mmu.StaleKey},
		{0x42000 | warm | d | 0x98, mmu.StaleType},
		{0x43000 | warm | 1<<63, mmu.StalePage | mmu.StaleRights | mmu.StaleDirty},
	} {
		c, m := oneCore(t, warm)
		reach(c, m, testVA4, uWrite)
		m.set(place(4, 1, testVA4), x.entry)
		for cached := range c.TLB.Of(c.Tag) {
			if got := c.MMU.Compare(m, cached); got != x.want {
				t.Errorf("%#x: stale in %v, want %v", x.entry, got, x.want)
			}
		}
		if n, _ := c.TLB.Len(); n != 1 {
			t.Errorf("%d cached", n)
		}
	}
	// A large translation, of which the tables now map one small page elsewhere.
	c, m := oneCore(t, warm)
	m.set(place(4, 2, testVA4), 0x40000000|0x80|warm)
	reach(c, m, testVA4, uRead)
	m.set(place(4, 2, testVA4), 0x1000|warm)
	for i := range uint64(512) {
		m.set(0x1000+8*i, 0x40000000+i<<12|warm)
	}
	for _, want := range []mmu.Stale{0, mmu.StalePage} {
		for cached := range c.TLB.Each {
			if got := c.MMU.Compare(m, cached); got != want || cached.Size() != 1<<21 {
				t.Errorf("split: stale in %v, want %v", got, want)
			}
		}
		m.set(0x1000+8*300, 0x42000|warm)
	}
}

// TestManyPages fills and flushes thousands of pages, and holds what is left against a plain set.
func TestManyPages(t *testing.T) {
	m := ram{}
	for i := range uint64(512) {
		m.set(rootCR3+8*i, 0x3000|warm)
		m.set(0x3000+8*i, 0x2000|warm)
		m.set(0x2000+8*i, 0x1000|warm)
		m.set(0x1000+8*i, (0x100+i)<<12|warm)
	}
	unit := newMMU(t, linux(4), 46, 0)
	c := mmu.NewCore(unit, mmu.TLBSize{})
	model := map[cell]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		tag := mmu.Tag(1 + rng.IntN(2))
		c.Load(unit, tag, true)
		base := rng.Uint64() % (1 << 30) &^ 0xfff
		for n := rng.Uint64N(400); n > 0; n-- {
			va := base + n*uint64(0x1000<<rng.IntN(3))
			expect(t, "frame", reach(c, m, va, uRead), fmt.Sprintf("%#x", 0x100+va>>12%512))
			model[cellOf(tag, 1, va)] = true
		}
		first := base + rng.Uint64N(1<<20)
		last := first + rng.Uint64()>>(34+rng.IntN(20))
		c.TLB.FlushRange(tag, virt(first), virt(last), 2, false)
		maps.DeleteFunc(model, func(k cell, _ bool) bool {
			return k.tag == tag && k.page >= first>>12 && k.page <= last>>12
		})
		if rng.IntN(40) == 0 {
			c.TLB.FlushTag(tag, true)
			maps.DeleteFunc(model, func(k cell, _ bool) bool { return k.tag == tag })
		}
		n := 0
		for x := range c.TLB.Each {
			if n++; !model[cellOf(x.Tag, 1, uint64(x.VA))] {
				t.Fatalf("%v of tag %d is cached", x.VA, x.Tag)
			}
		}
		if n != len(model) {
			t.Fatalf("%d cached, want %d", n, len(model))
		}
		for k := range model {
			if _, f := c.TLB.Lookup(unit, k.tag, virt(k.page<<12), uRead); f != mmu.Hit {
				t.Fatalf("%#x of tag %d: %v", k.page<<12, k.tag, f)
			}
		}
	}
	if len(model) < 1000 {
		t.Errorf("only %d pages are left", len(model))
	}
}

// TestTag: the PCID where there is one, else the root.
func TestTag(t *testing.T) {
	r := linux(4)
	r.CR3 |= 0x123
	if tag := newMMU(t, r, 46, 0).Tag(); tag != rootCR3>>12 {
		t.Errorf("tag %#x without PCIDs", tag)
	}
	r.CR4 |= mmu.CR4PCIDE
	if tag := newMMU(t, r, 46, 0).Tag(); tag != 0x123 {
		t.Errorf("tag %#x with PCID 0x123", tag)
	}
}
