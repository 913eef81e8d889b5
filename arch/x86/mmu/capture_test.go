package mmu_test

import (
	"path/filepath"
	"sort"
	"strconv"
	"testing"

	"ptemu/arch/x86/mmu"
	"ptemu/capture"
	"ptemu/internal/truth"
)

// TestCaptures holds walks over real kernels' tables against QEMU's: each leaf of "info tlb" with its address and
// flags, the rights of "info mem" where QEMU has them, and nothing between the leaves.
func TestCaptures(t *testing.T) {
	folders, err := truth.Folders("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		for _, f := range folder.PerCPU() {
			t.Run(filepath.Join(f.Name(), strconv.Itoa(f.CPU)), func(t *testing.T) { testCapture(t, f) })
		}
	}
}

func testCapture(t *testing.T, f truth.Folder) {
	c, err := capture.Open(f.Dumps()[0], capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := c.Mem
	registers, err := f.Registers()
	if err != nil {
		t.Fatal(err)
	}
	guest, err := f.Guest()
	if err != nil {
		t.Fatal(err)
	}
	r := registers[f.CPU]
	unit := newMMU(t, mmu.Regs{CR0: r.CR0, CR3: r.CR3, CR4: r.CR4, EFER: r.EFER}, guest.PhysBits, 0)
	var leaves []truth.TLBLeaf
	if err := f.TLB(func(l truth.TLBLeaf) error { leaves = append(leaves, l); return nil }); err != nil {
		t.Fatal(err)
	}
	var ranges []truth.MemRange // QEMU has none of five levels
	if f.HasMem() {
		if err := f.Mem(func(r truth.MemRange) error { ranges = append(ranges, r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(leaves) == 0 {
		t.Fatal("empty info tlb")
	}
	sizes, gaps, rightsChecked, differ := map[uint64]int{}, 0, 0, 0
	for i, l := range leaves {
		w := unit.Walk(m, virt(l.VA))
		if w.Outcome != mmu.Mapped {
			t.Fatalf("%#x: %v: %v", l.VA, w.Outcome, w.Err())
		}
		if uint64(w.Page()) != l.PA || l.VA%w.Size() != 0 {
			t.Fatalf("%#x: page %v of %#x bytes, QEMU has %#x", l.VA, w.Page(), w.Size(), l.PA)
		}
		e, large := w.Last().Entry, w.Size() > 4096
		flags := []byte("---------")
		for at, bit := range []int{63, 8, 7, 6, 5, 4, 3, 2, 1} {
			if e>>bit&1 == 1 && (bit != 7 || large) { // bit 7 of a 4 KiB leaf is PAT; QEMU drops it
				flags[at] = "XGPDACTUW"[at]
			}
		}
		if string(flags) != l.Flags {
			t.Fatalf("%#x: %s, QEMU has %s", l.VA, flags, l.Flags)
		}
		sizes[w.Size()]++

		// Rights can only shrink on the way down; where QEMU printed its own, they agree.
		r := w.Rights()
		if !r.R || r.W && e&2 == 0 || r.U && e&4 == 0 || r.X && e>>63 == 1 {
			t.Fatalf("%#x: rights %+v beyond leaf %#x", l.VA, r, e)
		}
		if r.W != (e&2 != 0) || r.U != (e&4 != 0) || r.X != (e>>63 == 0) {
			differ++
		}
		if n := sort.Search(len(ranges), func(i int) bool { return ranges[i].End > l.VA }); ranges != nil {
			if n == len(ranges) || ranges[n].Start > l.VA {
				t.Fatalf("%#x: not in info mem", l.VA)
			}
			if have := ranges[n]; r.U != have.User || r.W != have.W {
				t.Fatalf("%#x: rights %+v, QEMU has %+v", l.VA, r, have)
			}
			rightsChecked++
		}
		// A user-mode read works exactly on user addresses, and finds the last byte of the page.
		w = unit.Walk(m, virt(l.VA+w.Size()-1))
		if p, err := w.Translate(uRead); (err == nil) != r.U || err == nil && uint64(p) != l.PA+w.Size()-1 {
			t.Fatalf("%#x: %v, %v", l.VA, p, err)
		}

		if end := l.VA + w.Size(); end != 0 && (i+1 == len(leaves) || leaves[i+1].VA != end) {
			if w := unit.Walk(m, virt(end)); w.Outcome != mmu.NotPresent && w.Outcome != mmu.NonCanonical {
				t.Fatalf("%#x: %v, but QEMU has no leaf there", end, w.Outcome)
			}
			gaps++
		}
	}
	t.Logf("%d leaves (by size: %v), %d gaps, %d rights held against info mem, %d leaves with less than their own rights",
		len(leaves), sizes, gaps, rightsChecked, differ)
}
