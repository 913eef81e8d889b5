package mmu_test

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// regsOf returns the n-th of the 128 settings of WP, SMEP, SMAP, AC, NXE, PKE, PKS.
func regsOf(n, levels int) mmu.Regs {
	r := linux(levels)
	for i, flip := range []struct {
		reg *uint64
		bit int
	}{{&r.CR0, 16}, {&r.CR4, 20}, {&r.CR4, 21}, {&r.RFLAGS, 18}, {&r.EFER, 11}, {&r.CR4, 22}, {&r.CR4, 24}} {
		*flip.reg &^= 1 << flip.bit
		*flip.reg |= uint64(n) >> i & 1 << flip.bit
	}
	return r
}

// entryFlags returns the n-th of the 16 settings of P, RW, US, NX.
func entryFlags(n int) uint64 { return uint64(n&7) | uint64(n>>3)<<63 }

// TestCrossEntries takes every combination of P, RW, US and NX at each of four levels, for each page size, with
// each NXE, and holds every access against the oracle. The other registers change from one combination to the next.
func TestCrossEntries(t *testing.T) {
	const levels, key = 4, 5
	var units []*mmu.MMU
	var states []state
	for n := range 128 {
		r := regsOf(n, levels)
		r.PKRU, r.PKRS = uint32(n/3%4)<<(2*key), uint32(n/5%4)<<(2*key)
		units, states = append(units, newMMU(t, r, 46, 0)), append(states, spell(r, 46, 0))
	}
	walks := 0
	for leaf := 1; leaf <= 3; leaf++ {
		va := uint64(testVA4)
		m := build(levels, leaf, va, 0x40000000, [6]uint64{})
		depth := levels - leaf + 1
		for combo := range 1 << (4 * depth) {
			for i := range depth {
				level, flags := leaf+i, entryFlags(combo>>(4*i)&15)
				frame := uint64(level-1) << 12
				if level == leaf {
					frame = 0x40000000 | key<<59 | uint64(combo>>3&1)<<6
					if leaf > 1 {
						frame |= 0x80
					}
				}
				m.set(place(levels, level, va), frame|flags)
			}
			for nxe := range 2 {
				n := (combo*37+leaf*11)&^16&127 | nxe<<4
				states[n].agreeAll(t, m, units[n], va)
				walks++
			}
		}
	}
	t.Logf("%d walks, %d accesses", walks, walks*len(accesses))
}

// TestCrossRegisters takes every combination of RW, US, NX of a table entry and of a leaf, D of the leaf, every
// setting of WP, SMEP, SMAP, AC, NXE, PKE and PKS, and both bits of the key in PKRU and PKRS.
func TestCrossRegisters(t *testing.T) {
	const levels, key = 4, 11
	va := uint64(testVA4)
	m := build(levels, 1, va, 0, [6]uint64{3: 7, 4: 7})
	checks := 0
	for regs := range 128 {
		for rights := range 16 {
			r := regsOf(regs, levels)
			// All other keys say the contrary: a wrong key shows.
			r.PKRU = ^uint32(0)&^(3<<(2*key)) | uint32(rights&3)<<(2*key)
			r.PKRS = ^uint32(0)&^(3<<(2*key)) | uint32(rights>>2)<<(2*key)
			unit, s := newMMU(t, r, 46, 0), spell(r, 46, 0)
			for combo := range 128 {
				upper := entryFlags(combo>>3&7<<1 | 1)
				leaf := entryFlags(combo&7<<1|1) | uint64(combo>>6)<<6 | key<<59
				m.set(place(levels, 1, va), 0x123456000|leaf)
				m.set(place(levels, 2, va), 0x1000|upper)
				s.agreeAll(t, m, unit, va)
				checks += len(accesses)
			}
		}
	}
	t.Logf("%d accesses", checks)
}

// TestCrossFiveLevels samples the 16^5 combinations of five levels.
func TestCrossFiveLevels(t *testing.T) {
	const levels = 5
	va := uint64(testVA5)
	for n := range 20000 {
		combo := n * 7919 % (1 << 20)
		r := regsOf(n%128, levels)
		m := build(levels, 1, va, 0x7654321000, [6]uint64{
			1: entryFlags(combo & 15), 2: entryFlags(combo >> 4 & 15), 3: entryFlags(combo >> 8 & 15),
			4: entryFlags(combo >> 12 & 15), 5: entryFlags(combo>>16&15) | uint64(n&1)})
		spell(r, 52, 0).agreeAll(t, m, newMMU(t, r, 52, 0), va)
	}
}

// TestReservedBits sets each bit of each entry in turn, and holds the walk against a list of the reserved bits of
// that entry, for several processors.
func TestReservedBits(t *testing.T) {
	for _, cpu := range []struct {
		physBits uint8
		cbit     int
		nxe      bool
	}{{36, 0, true}, {40, 0, false}, {46, 0, true}, {52, 0, true}, {43, 47, true}, {52, 51, false}, {48, 51, true}} {
		for levels := 4; levels <= 5; levels++ {
			for leaf := 1; leaf <= 3; leaf++ {
				t.Run(fmt.Sprintf("%+v/%d levels/leaf %d", cpu, levels, leaf), func(t *testing.T) {
					testReserved(t, cpu.physBits, cpu.cbit, cpu.nxe, levels, leaf)
				})
			}
		}
	}
}

func testReserved(t *testing.T, physBits uint8, cbit int, nxe bool, levels, leaf int) {
	r := linux(levels)
	if !nxe {
		r.EFER &^= 1 << 11
	}
	var enc uint64
	if cbit != 0 {
		enc = 1 << cbit
	}
	unit := newMMU(t, r, physBits, enc)
	abi := x86.MustABI(x86.Linux7_2(), unit.Paging())
	va := testVA(levels)
	for level := leaf; level <= levels; level++ {
		for bit := 1; bit < 64; bit++ {
			reserved := bit >= int(physBits) && bit <= 51 && bit != cbit ||
				bit == 63 && !nxe ||
				bit == 7 && level >= 4 ||
				level == leaf && leaf == 2 && bit >= 13 && bit <= 20 ||
				level == leaf && leaf == 3 && bit >= 13 && bit <= 29
			flags := [6]uint64{1: 7, 2: 7, 3: 7, 4: 7, 5: 7}
			if leaf > 1 {
				flags[leaf] |= 0x80
			}
			flags[level] |= 1 << bit
			if bit == 7 && level > leaf && level < 4 {
				continue // that makes it a leaf
			}
			m := build(levels, leaf, va, 0, flags)
			w := unit.Walk(m, virt(va))
			last := w.Last()
			isReserved := w.Outcome == mmu.Reserved
			if isReserved != reserved {
				t.Fatalf("bit %d of level %d: %v, want reserved %t", bit, level, w.Outcome, reserved)
			}
			if reserved && (int(last.Level) != level || w.ReservedBits() != 1<<bit) {
				t.Fatalf("bit %d of level %d: stopped at %v for %#x", bit, level, last.Level, w.ReservedBits())
			}
			if !reserved && w.ReservedBits() != 0 {
				t.Fatalf("bit %d of level %d: reserved bits %#x", bit, level, w.ReservedBits())
			}
			// The kernel's side of the house says the same of the entry alone.
			e := m.get(place(levels, level, va))
			if got := abi.ReservedBits(x86.Level(level), e); (got != 0) != reserved || got&^(1<<bit) != 0 {
				t.Fatalf("bit %d of level %d: x86 says that %#x is reserved", bit, level, got)
			}
			// Without P nothing is reserved.
			m.set(place(levels, level, va), e&^1)
			if got := abi.ReservedBits(x86.Level(level), e&^1); got != 0 {
				t.Fatalf("bit %d of level %d without P: x86 says that %#x is reserved", bit, level, got)
			}
			if w := unit.Walk(m, virt(va)); w.Outcome != mmu.NotPresent || int(w.Last().Level) != level {
				t.Fatalf("bit %d of level %d without P: %v at %v", bit, level, w.Outcome, w.Last().Level)
			}
		}
	}
}

// TestCrossReserved holds random entries, reserved bits and all, against the oracle, encryption bit or not.
func TestCrossReserved(t *testing.T) {
	rnd := uint64(0x9e3779b97f4a7c15)
	next := func() uint64 {
		rnd ^= rnd << 13
		rnd ^= rnd >> 7
		rnd ^= rnd << 17
		return rnd
	}
	for n := range 40000 {
		levels := 4 + n&1
		cbit := []int{0, 0, 47, 51, 32}[n%5]
		physBits := uint8(33 + next()%20)
		r := regsOf(int(next()%128), levels)
		r.PKRU, r.PKRS = uint32(next()), uint32(next())
		var enc uint64
		if cbit != 0 {
			enc = 1 << cbit
		}
		m := build(levels, 1, testVA(levels), next()&next()&0xffffffffff000, [6]uint64{})
		for level := 1; level <= levels; level++ {
			at := place(levels, level, testVA(levels))
			// Sparse noise, PS now and then, P nearly always.
			noise := next() & next() & next() & next() & 0xfff00000000001fe
			if next()%4 == 0 {
				noise |= 1 << (next() % 64)
			}
			if level < 4 && level > 1 && next()%4 == 0 {
				noise |= 0x80
			}
			m.set(at, m.get(at)|noise|6|1)
		}
		s := spell(r, physBits, cbit)
		unit := newMMU(t, r, physBits, enc)
		if n%7 == 0 {
			s.no1G, unit = true, unit.Without1G()
		}
		s.agreeAll(t, m, unit, testVA(levels))
	}
}
