package mmu_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86/mmu"
)

// rig runs a Core and the model side by side on the same random tables.
type rig struct {
	t     *testing.T
	rng   *rand.Rand
	mem   ram
	core  *mmu.Core
	model *cpuModel
	units [2][8]*mmu.MMU // by root, by registers
	specs [8]state
	tag   mmu.Tag
	regs  int
	log   []string
}

// Frames 1 and 2 are roots, 3 to 7 other tables, 8 is excluded, 9 is absent.
func newRig(t *testing.T, seed uint64, levels int, seen map[string]int) *rig {
	r := &rig{t: t, rng: rand.New(rand.NewPCG(seed, 1)), mem: ram{8: nil}, tag: 1}
	nxe := r.rng.IntN(4) > 0
	for i := range r.specs {
		regs := regsOf(r.rng.IntN(128)|16, levels)
		if !nxe {
			regs.EFER &^= 1 << 11
		}
		regs.PKRU, regs.PKRS = r.rng.Uint32()&r.rng.Uint32(), r.rng.Uint32()&r.rng.Uint32()
		r.specs[i] = spell(regs, 40, 0)
		for root := range r.units {
			regs.CR3 = uint64(root+1) << 12
			r.units[root][i] = newMMU(t, regs, 40, 0)
		}
	}
	for pfn := range uint64(7) {
		r.mem.set((pfn+1)<<12, 0)
	}
	r.core = mmu.NewCore(r.units[0][0], mmu.TLBSize{})
	r.core.Tag = 1
	twin := ram{8: nil}
	for pfn := range uint64(7) {
		twin.set((pfn+1)<<12, 0)
	}
	r.model = &cpuModel{s: r.specs[0], mem: twin, tlb: map[cell]translation{}, psc: map[cell]translation{}, seen: seen}
	r.core.Spurious = seed%4 == 0
	r.model.spurious = r.core.Spurious
	return r
}

func (r *rig) note(format string, args ...any) { r.log = append(r.log, fmt.Sprintf(format, args...)) }

func (r *rig) pick(of ...uint64) uint64 { return of[r.rng.IntN(len(of))] }

// va returns one of a few addresses, so that walks meet.
func (r *rig) va() uint64 {
	va := r.pick(0, 0, 1)<<39 | r.pick(0, 0, 1)<<30 | r.pick(0, 1)<<21 | r.pick(0, 1, 2)<<12
	if r.rng.IntN(4) == 0 {
		va |= 0xffff_ff80_0000_0000 // slot 511 of each root
	}
	return va + uint64(r.rng.IntN(4096))
}

func (r *rig) poke() {
	at := (1+uint64(r.rng.IntN(7)))<<12 + 8*r.pick(0, 0, 1, 1, 2, 511)
	e := r.pick(3, 4, 5, 6, 7)<<12 | 7
	switch r.rng.IntN(8) {
	case 0:
		e = r.rng.Uint64() & r.pick(0xffff, 1<<63|0xfff, 0xf<<59|0xf_ffff)
	case 1:
		e = r.pick(0x4000_0000, 0x8000_0000, 0x4020_0000) | 0x87 | r.rng.Uint64()&(1<<63|0xf<<59|0x178)
	case 2:
		e = 0x8007 | r.pick(0, 1<<12)
	case 3:
		e &^= r.pick(1, 2, 4, 7)
	}
	if r.rng.IntN(8) > 0 {
		e |= r.rng.Uint64() & r.pick(0, 0x60, 0x160, 1<<63)
	}
	r.note("poke %#x = %#x", at, e)
	r.mem.set(at, e)
	r.model.mem.set(at, e)
}

func (r *rig) access() {
	va, a := r.va(), accesses[r.rng.IntN(len(accesses))]
	if r.rng.IntN(2) == 0 {
		a = []mmu.Access{uRead, uWrite, kWrite}[r.rng.IntN(3)]
	}
	want := r.model.access(r.tag, uint64(r.tag)<<12, va, a)
	p, err := r.core.Access(r.mem, r.mem, virt(va), a)
	var fault *mmu.Fault
	var table *mmu.TableError
	got := p.String()
	switch {
	case errors.As(err, &fault):
		got = fmt.Sprintf("#PF %#x", uint32(fault.Code))
	case errors.As(err, &table):
		got = "unreadable"
	case err != nil:
		got = err.Error()
	}
	r.note("tag %d %v %#x: %s, want %s (%v)", r.tag, a, va, got, want, err)
	if got != want {
		r.fail("an access went wrong")
	}
}

func (r *rig) flush() {
	tag, va, t := mmu.Tag(1+r.rng.IntN(2)), r.va(), r.core.TLB
	switch r.rng.IntN(8) {
	case 0, 1:
		r.note("flush page %d %#x", tag, va)
		t.FlushPage(tag, virt(va))
		r.model.dropPage(tag, va)
		maps.DeleteFunc(r.model.psc, func(k cell, _ translation) bool { return k.tag == tag })
	case 2, 3, 4:
		levels, tables := uint8(r.rng.IntN(8))<<1, r.rng.IntN(2) == 0
		last := va + r.pick(0, 0x1000, 0x20_0000, 0x4000_0000, 1<<39)
		if last < va {
			last = ^uint64(0)
		}
		switch r.rng.IntN(4) { // the edges of tables
		case 0:
			last = last >> 21 << 21
			va = min(va, last)
		case 1:
			va |= 1<<21 - 1
			last = max(va, last)
		}
		r.note("flush range %d %#x-%#x levels %#x tables %t", tag, va, last, levels, tables)
		t.FlushRange(tag, virt(va), virt(last), levels, tables)
		number := 1
		for number < 4 && levels>>number&1 == 0 {
			number++
		}
		r.model.flushRange(tag, va, last, number, tables)
	case 5, 6:
		globals := r.rng.IntN(4) == 0
		r.note("flush tag %d, globals %t", tag, globals)
		t.FlushTag(tag, globals)
		r.model.flushTag(tag, globals)
	case 7:
		r.note("flush all")
		t.FlushAll()
		clear(r.model.tlb)
		clear(r.model.psc)
	}
}

// load loads CR3 and other registers.
func (r *rig) load() {
	keep := r.rng.IntN(4) > 0
	r.tag, r.regs = mmu.Tag(1+r.rng.IntN(2)), r.rng.IntN(8)
	r.note("load tag %d, keep %t, registers %+v", r.tag, keep, r.specs[r.regs])
	r.core.Load(r.units[r.tag-1][r.regs], r.tag, keep)
	r.model.s = r.specs[r.regs]
	if !keep {
		r.model.flushTag(r.tag, false)
	}
}

// compare holds everything cached, and all memory, against the model.
func (r *rig) compare() {
	n := 0
	r.core.TLB.Each(func(c mmu.Cached) bool {
		n++
		tr, ok := r.model.tlb[cellOf(c.Tag, int(c.Leaf.Level), uint64(c.VA))]
		rights := mmu.Rights{R: true, W: tr.rwEverywhere(), X: tr.xdNowhere(), U: tr.userModeAddress()}
		if ok {
			rights.Shadow = tr.shadowStackAddress()
		}
		if !ok || c.Leaf.Entry != tr.leaf().value || uint64(c.Leaf.Place) != tr.places[len(tr.places)-1] ||
			c.Rights != rights || c.Global != (c.Tag == 0) {
			r.fail("cached %+v, want %+v", c, tr)
		}
		return true
	})
	tables := 0
	r.core.TLB.EachTable(func(c mmu.CachedTable) bool {
		tables++
		tr, ok := r.model.psc[cellOf(c.Tag, int(c.Level), uint64(c.VA))]
		if !ok || uint64(c.Place) != tr.places[len(tr.places)-1] || (c.Entry^tr.leaf().value)&^(1<<5) != 0 {
			r.fail("cached %+v, want %+v", c, tr)
		}
		return true
	})
	if n != len(r.model.tlb) || tables != len(r.model.psc) {
		r.fail("%d translations and %d tables are cached, want %d and %d", n, tables, len(r.model.tlb), len(r.model.psc))
	}
	if gotN, gotTables := r.core.TLB.Len(); gotN != n || gotTables != tables {
		r.fail("Len says %d and %d", gotN, gotTables)
	}
	for pfn, f := range r.model.mem {
		if f != nil && *r.mem[pfn] != *f {
			r.fail("frame %#x differs", pfn)
		}
	}
}

func (r *rig) fail(format string, args ...any) {
	r.t.Helper()
	for _, l := range r.log[max(0, len(r.log)-25):] {
		r.t.Log(l)
	}
	r.t.Fatalf(format, args...)
}

// TestCoreModel runs random accesses, changes of tables and registers, and invalidations.
func TestCoreModel(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(150) {
		r := newRig(t, seed, 4+int(seed%3)/2, seen)
		for range 60 {
			r.poke()
		}
		for range 700 {
			switch n := r.rng.IntN(100); {
			case n < 70:
				r.access()
			case n < 90:
				r.poke()
			case n < 95:
				r.flush()
			default:
				r.load()
			}
			r.compare()
		}
	}
	// A run that never comes across something says nothing about it.
	for _, what := range []string{
		"cached, size 1, global false", "cached, size 2, global false", "cached, size 3, global false",
		"cached, size 1, global true", "cached, size 2, global true", "cached, size 3, global true",
		"spurious fault", "walk again, refused true", "walk again, refused false", "walk again from the root",
		"0 levels in advance", "1 levels in advance", "2 levels in advance", "3 levels in advance", "4 levels in advance",
	} {
		if seen[what] < 50 {
			t.Errorf("%q came up %d times", what, seen[what])
		}
	}
	t.Log(seen)
}
