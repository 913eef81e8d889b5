package ptdump

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/physmem"
	"ptemu/swapentry"

	"ptemu/internal/truth"
)

// eachDump opens every dump of every capture folder, once for each processor that there is a truth of, with the root
// that its CR3 points to.
func eachDump(t *testing.T, test func(t *testing.T, f truth.Folder, s *Session)) {
	folders, err := truth.Folders("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) < 3 {
		t.Fatalf("%d capture folders, want the committed ones", len(folders))
	}
	for _, folder := range folders {
		for _, dump := range folder.Dumps() {
			for _, f := range folder.PerCPU() {
				t.Run(fmt.Sprintf("%s/%s/cpu%d", f.Name(), filepath.Base(dump), f.CPU), func(t *testing.T) {
					s, err := Open(dump, SessionOptions{CPU: f.CPU})
					if errors.Is(err, physmem.ErrAbsent) && strings.Contains(dump, "paging") {
						t.Skipf("QEMU dumped what the processor's tables map, and they do not map themselves: %v", err)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					test(t, f, s)
				})
			}
		}
	}
}

// leaves is a sink that keeps all.
type leaves struct {
	all      []Leaf
	problems []Problem
}

func (l *leaves) Leaf(p *Leaf) error       { l.all = append(l.all, *p); return nil }
func (l *leaves) Problem(p *Problem) error { l.problems = append(l.problems, *p); return nil }

// at returns the leaf that covers va.
func (l *leaves) at(va x86.Virt) *Leaf {
	i, found := slices.BinarySearchFunc(l.all, va, func(e Leaf, va x86.Virt) int {
		switch {
		case e.VA+x86.Virt(e.Level.Size()-1) < va:
			return -1
		case e.VA > va:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &l.all[i]
}

// TestPagemap: every word of /proc/self/pagemap that the guest printed is what the entry makes it, bit for bit. What no
// entry can tell comes from the guest: of the area VM_SOFTDIRTY, hugetlbfs and VM_PFNMAP, from its smaps; of the page
// bits 56 (mapped once) and 61 (file), from the word itself, so these two are not checked.
func TestPagemap(t *testing.T) {
	eachDump(t, func(t *testing.T, f truth.Folder, s *Session) {
		g, err := f.Guest()
		if err != nil {
			t.Fatal(err)
		}
		var l leaves
		if err := s.Walk(Filter{Last: s.ABI.Paging().KernelHalf() - 1}, &l); err != nil {
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
			if e := l.at(x86.Virt(va)); e != nil {
				raw, level, page = e.Raw, e.Level, uint64(x86.Virt(va)-e.VA)/x86.PageSize
				if e.Kind == KindMarker {
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

// rightsRuns joins ranges as QEMU's info mem does: by effective user and write permission alone.
type rightsRuns struct{ all []truth.MemRange }

func (r *rightsRuns) Marker(linux.Marker) error { return nil }
func (r *rightsRuns) Problem(*Problem) error    { return nil }

func (r *rightsRuns) Run(run *Run) error {
	if !run.First.Rights.R {
		return nil
	}
	next := truth.MemRange{Start: uint64(run.First.VA), End: uint64(run.End()), User: run.First.Rights.U, W: run.First.Rights.W}
	if n := len(r.all); n > 0 {
		if last := &r.all[n-1]; last.End == next.Start && last.User == next.User && last.W == next.W {
			last.End = next.End
			return nil
		}
	}
	r.all = append(r.all, next)
	return nil
}

// TestInfoMem: the ranges of dump, joined by user and write permission, are those of QEMU's info mem. Where QEMU joins
// the last user page to the first kernel page across the hole, its range is split before it is compared.
func TestInfoMem(t *testing.T) {
	eachDump(t, func(t *testing.T, f truth.Folder, s *Session) {
		if !f.HasMem() || s.ABI.Paging().Levels == 5 {
			t.Skip("QEMU's info mem does not know five levels: no truth")
		}
		var got rightsRuns
		if err := s.Runs(Filter{}, s.System.Markers(), &got); err != nil {
			t.Fatal(err)
		}
		i := 0
		err := f.Mem(func(want truth.MemRange) error {
			if i < len(got.all) && got.all[i] == want {
				i++
				return nil
			}
			if i < len(got.all) {
				t.Errorf("range %d: got %#x-%#x user %v write %v, QEMU says %#x-%#x user %v write %v", i, got.all[i].Start,
					got.all[i].End, got.all[i].User, got.all[i].W, want.Start, want.End, want.User, want.W)
			} else {
				t.Errorf("range %d is missing: QEMU says %#x-%#x", i, want.Start, want.End)
			}
			i++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i != len(got.all) || i == 0 {
			t.Errorf("%d ranges, QEMU has %d", len(got.all), i)
		}
		t.Logf("%d ranges agree", i)
	})
}
