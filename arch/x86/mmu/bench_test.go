package mmu_test

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// flat is memory that costs what a copy of a frame costs, and no more.
type flat []physmem.Frame

func (m flat) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if uint64(pfn) >= uint64(len(m)) {
		return physmem.ErrAbsent
	}
	*dst = m[pfn]
	return nil
}

func (m flat) Ranges() []physmem.Range { return nil }

func flatten(m ram) flat {
	f := make(flat, 8)
	for pfn, frame := range m {
		f[pfn] = *frame
	}
	return f
}

func BenchmarkWalk(b *testing.B) {
	for _, c := range []struct {
		name         string
		levels, leaf int
	}{{"4levels/4K", 4, 1}, {"4levels/2M", 4, 2}, {"5levels/4K", 5, 1}} {
		b.Run(c.name, func(b *testing.B) {
			leaf := uint64(7)
			if c.leaf > 1 {
				leaf |= 0x80
			}
			flags := [6]uint64{7, 7, 7, 7, 7, 7}
			flags[c.leaf] = leaf
			va := testVA(c.levels)
			var mem physmem.Reader = flatten(build(c.levels, c.leaf, va, 0x40000000, flags))
			unit := newMMU(b, linux(c.levels), 46, 0)
			b.ReportAllocs()
			for b.Loop() {
				w := unit.Walk(mem, virt(va))
				if w.Outcome != mmu.Mapped {
					b.Fatal(w.Outcome)
				}
			}
		})
	}
}

func BenchmarkTranslate(b *testing.B) {
	unit := newMMU(b, linux(4), 46, 0)
	w := unit.Walk(build(4, 1, testVA4, 0x42000, [6]uint64{7, 7, 7, 7, 7, 7}), testVA4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Translate(uWrite); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWalkAllocates keeps the walk, a permitted translation, and the marks off the heap.
func TestWalkAllocates(t *testing.T) {
	var mem physmem.Reader = flatten(build(4, 1, testVA4, 0x42000, [6]uint64{7, 7, 7, 7, 7, 7}))
	unit := newMMU(t, linux(4), 46, 0)
	if n := testing.AllocsPerRun(1000, func() {
		w := unit.Walk(mem, testVA4)
		var buf [5]mmu.Mark
		if _, err := w.Translate(uWrite); err != nil || len(w.Marks(uWrite, buf[:0])) != 4 {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a walk", n)
	}
}
