package tree_test

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/swapentry"
)

// TestNoCaptureIsInvalid: whatever real kernels wrote is legal.
func TestNoCaptureIsInvalid(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, _ truth.Folder, s *tree.Tree) {
		var got capturetest.Leaves
		if err := s.Walk(tree.Filter{Match: func(l *tree.Leaf) bool { return l.Invalid }}, &got); err != nil {
			t.Fatal(err)
		}
		for _, l := range got.All[:min(3, len(got.All))] {
			t.Errorf("%v %v %#x: %v", l.VA, l.Level, l.Raw, s.Layout.Check(l.Level, l.Raw))
		}
	})
}

// TestPagemap: every word of /proc/self/pagemap that the guest printed is what the entry makes it, bit for bit. What no
// entry can tell comes from the guest: of the area VM_SOFTDIRTY, hugetlbfs and VM_PFNMAP, from its smaps; of the page
// bits 56 (mapped once) and 61 (file), from the word itself, so these two are not checked.
func TestPagemap(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		g, err := f.Guest()
		if err != nil {
			t.Fatal(err)
		}
		var l capturetest.Leaves
		if err := s.Walk(tree.Filter{Last: s.ABI.Paging().KernelHalf() - 1}, &l); err != nil {
			t.Fatal(err)
		}
		checked, swapped, marked := 0, 0, 0
		for va, word := range g.Pagemap {
			checked++
			parts := swapentry.Pagemap(word).Parts()
			vma := g.VMA(va)
			facts := swapentry.PageFacts{
				File: parts.File, Exclusive: parts.Exclusive, Hugetlb: vma.Has("ht"), VMASoftDirty: vma.Has("sd"),
			}
			var raw, page uint64
			level := x86.LevelPTE
			if e := l.At(x86.Virt(va)); e != nil {
				raw, level, page = e.Raw, e.Level, uint64(x86.Virt(va)-e.VA)/x86.PageSize
				if e.Kind == tree.KindMarker {
					marked++
				}
			}
			if vma == nil || vma.Has("pf") { // Linux does not look at these entries
				raw, level = 0, x86.LevelPTE
			}
			got := s.Layout.Pagemap(level, raw, page, facts)
			if parts.Swapped {
				swapped++
			}
			if uint64(got) != word {
				t.Errorf("%#x: entry %#016x means %v (%#x), the guest says %v (%#x)", va, raw, got, uint64(got),
					swapentry.Pagemap(word), word)
			}
		}
		if checked == 0 || marked == 0 && !f.HasProcesses() {
			t.Fatalf("checked %d words, %d of them swapped, %d markers", checked, swapped, marked)
		}
		t.Logf("%d pagemap words agree, %d not present, %d markers", checked, swapped, marked)
	})
}
