package mmu_test

import (
	"encoding/binary"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// ram is a synthetic memory of whole frames. A nil frame is known but excluded.
type ram map[x86.PFN]*physmem.Frame

func (m ram) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	f, ok := m[pfn]
	switch {
	case !ok:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	case f == nil:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrExcluded}
	}
	*dst = *f
	return nil
}

func (m ram) Ranges() []physmem.Range { return nil }

func (m ram) set(place, entry uint64) {
	pfn := x86.PFN(place >> 12)
	if m[pfn] == nil {
		m[pfn] = new(physmem.Frame)
	}
	binary.LittleEndian.PutUint64(m[pfn][place&0xfff:], entry)
}

func (m ram) get(place uint64) uint64 {
	return binary.LittleEndian.Uint64(m[x86.PFN(place>>12)][place&0xfff:])
}

// The synthetic tables of most tests: the table of level n stands in frame n, and va picks slot slots[n] there.
const (
	rootCR3 = 0x5000 // for both depths: see table
	testVA5 = 0x00ab_cdef_1234_5678
	testVA4 = 0x0000_5def_1234_5678
)

func testVA(levels int) uint64 {
	if levels == 5 {
		return testVA5
	}
	return testVA4
}

// place returns where the entry of level (1 to 5) for va stands, in tables built by build.
func place(levels, level int, va uint64) uint64 {
	table := uint64(level) << 12
	if level == levels {
		table = rootCR3
	}
	return table + va>>(12+9*(level-1))&511*8
}

// build makes tables down to leaf level leaf (1 to 3): flags[level] are ORed into the entry of that level, whose
// frame is that of the next table, or frame for the leaf.
func build(levels, leaf int, va, frame uint64, flags [6]uint64) ram {
	m := ram{}
	for level := levels; level > leaf; level-- {
		m.set(place(levels, level, va), uint64(level-1)<<12|flags[level])
	}
	m.set(place(levels, leaf, va), frame|flags[leaf])
	return m
}

// linux returns the registers of an ordinary machine: WP, NXE, nothing else.
func linux(levels int) mmu.Regs { return mmu.LinuxRegs(rootCR3, levels) }

func newMMU(t testing.TB, r mmu.Regs, physBits uint8, enc uint64) *mmu.MMU {
	t.Helper()
	m, err := mmu.New(r, r.Paging(physBits, enc))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func virt(va uint64) x86.Virt { return x86.Virt(va) }
