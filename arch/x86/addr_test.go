package x86

import (
	"fmt"
	"testing"
)

// TestLevels: shift, size and span of each level, as the SDM's tables of paging-structure entries give them.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		l          Level
		name       string
		shift      uint
		size, span uint64
	}{
		{LevelPTE, "pte", 12, 4 << 10, 2 << 20},
		{LevelPMD, "pmd", 21, 2 << 20, 1 << 30},
		{LevelPUD, "pud", 30, 1 << 30, 512 << 30},
		{LevelP4D, "p4d", 39, 512 << 30, 256 << 40},
		{LevelPGD, "pgd", 48, 256 << 40, 128 << 50},
	} {
		if c.l.String() != c.name || c.l.Shift() != c.shift || c.l.Size() != c.size || c.l.Span() != c.span {
			t.Errorf("%v: %d, %#x, %#x", c.l, c.l.Shift(), c.l.Size(), c.l.Span())
		}
	}
	if s := fmt.Sprint(Level(0), Level(6)); s != "level(0) level(6)" {
		t.Error(s)
	}
}

// TestAddresses takes one address apart: every table's slot is another number.
func TestAddresses(t *testing.T) {
	const v Virt = 1<<48 | 2<<39 | 3<<30 | 4<<21 | 5<<12 | 0x678
	for _, c := range []struct {
		l               Level
		raw, five, four int // what the processor looks up, and the kernel's macros with 5 levels and 4
	}{{LevelPGD, 1, 1, 2}, {LevelP4D, 2, 2, 0}, {LevelPUD, 3, 3, 3}, {LevelPMD, 4, 4, 4}, {LevelPTE, 5, 5, 5}} {
		raw, five, four := v.Index(c.l), DefaultPaging(5).Index(v, c.l), DefaultPaging(4).Index(v, c.l)
		if raw != c.raw || five != c.five || four != c.four {
			t.Errorf("%v: slots %d, %d, %d", c.l, raw, five, four)
		}
	}
	for l := LevelPTE; l <= LevelPGD; l++ {
		if got := Virt(^uint64(0)).Index(l); got != 511 {
			t.Errorf("%v: last slot %d", l, got)
		}
	}
	const p Phys = 0x12345678
	if p.PFN() != 0x12345 || p.Offset() != 0x678 || p.PFN().Phys() != 0x12345000 || v.Offset() != 0x678 {
		t.Errorf("%v: frame %#x at %v, offset %#x, %#x", p, uint64(p.PFN()), p.PFN().Phys(), p.Offset(), v.Offset())
	}
	if s := fmt.Sprint(v, p); s != "0x00010100c0805678 0x12345678" {
		t.Error(s)
	}
}

// TestHalves: where the lower half ends, what of it a process may map, and where the kernel's begins.
func TestHalves(t *testing.T) {
	for levels, want := range map[int][2]Virt{
		4: {0x00007ffffffff000, 0xffff800000000000},
		5: {0x00fffffffffff000, 0xff00000000000000},
	} {
		p := DefaultPaging(levels)
		if p.TaskSizeMax() != want[0] || p.KernelHalf() != want[1] {
			t.Errorf("%d levels: %v, %v", levels, p.TaskSizeMax(), p.KernelHalf())
		}
		for l := LevelPTE; l <= LevelPGD; l++ {
			shift := l.Shift()
			if l == LevelPGD && levels == 4 {
				shift = 39
			}
			if p.Shift(l) != shift {
				t.Errorf("%d levels: shift %d of %v", levels, p.Shift(l), l)
			}
		}
	}
}
