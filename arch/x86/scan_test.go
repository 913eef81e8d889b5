package x86

import "testing"

// TestCopy: what mm/memory.c:copy_present_pte() does to both sides.
func TestCopy(t *testing.T) {
	for name, a := range variants(t) {
		for f := range CopyCOW | CopyShared | CopyKeepUffdWP + 1 {
			c := a.Copy(f)
			pages(func(old PTE) {
				parent := old
				if f&CopyCOW != 0 && old.Write(a) {
					parent = old.WrProtect(a)
				}
				child := parent
				if f&CopyShared != 0 {
					child = child.MkClean(a)
				}
				if child = child.MkOld(); f&CopyKeepUffdWP == 0 {
					child = child.ClearUffdWP()
				}
				got := PTE(c.Apply(uint64(old)))
				if got != parent || got&PTE(c.ChildKeep) != child {
					t.Fatalf("%s, flags %d: %#016x: parent %#016x, child %#016x; want %#016x, %#016x", name, f, uint64(old),
						uint64(got), uint64(got)&c.ChildKeep, uint64(parent), uint64(child))
				}
			})
		}
	}
}

// TestScans: harvests, removal and kinds agree with the helpers over every entry, pages or not.
func TestScans(t *testing.T) {
	const marker PTE = 0xfffffffffffffc00
	for name, a := range variants(t) {
		young, dirty, kinds := a.HarvestYoung(), a.HarvestDirty(), a.Kinds()
		zap, zapFile := a.Zap(0), a.Zap(marker)
		subsets(deciding, func(v uint64) {
			p := PTE(v)
			for what, exists := range map[string]uint64{
				"young": young.Exists, "dirty": dirty.Exists, "kinds": kinds.Exists, "zap": zap.Exists,
			} {
				if (v&exists != 0) != p.Present() {
					t.Fatalf("%s: %s: %#016x exists or not", name, what, v)
				}
			}
			if (v&kinds.Filled == 0) != p.None() || (v&zap.Filled == 0) != p.None() {
				t.Fatalf("%s: %#016x is empty or not", name, v)
			}
			if (v&young.Report != 0) != p.Young() || PTE(v&^young.Clear) != p.MkOld() {
				t.Fatalf("%s: harvest of A from %#016x", name, v)
			}
			if (v&dirty.Report != 0) != p.Dirty(a) || PTE(v&^dirty.Clear) != p.WrProtect(a).MkClean(a) {
				t.Fatalf("%s: harvest of D from %#016x", name, v)
			}
			if v&zap.Protected != 0 || (v&zapFile.Protected != 0) != p.UffdWP() || zapFile.Marker != uint64(marker) {
				t.Fatalf("%s: removal of %#016x", name, v)
			}
		})
	}
}

// TestRuns: a run goes on while attributes stay and, if asked, frames follow each other, inverted or not.
func TestRuns(t *testing.T) {
	flags := []PTE{0, 0x25, 0x27, 0x67, 0x120, 0x160, 0x8000000000000025, 0x0400000000000025}
	for name, a := range variants(t) {
		for _, frames := range []bool{false, true} {
			r := a.Runs(PageAccessed|PageDirty, frames)
			breaks := func(prev, e PTE) bool {
				if uint64(prev^e)&r.Attributes != 0 {
					return true
				}
				step := r.Step
				if uint64(e)&r.Valid == 0 {
					step = -step
				}
				return uint64(e)&r.Follow != 0 && (uint64(e)&r.Frame-uint64(prev)&r.Frame)&r.Frame != step&r.Frame
			}
			for _, x := range flags {
				for _, y := range flags {
					for _, pfn := range []PFN{0x12344, 0x12345, 0x12346, 0x12347} {
						prev, e := MkPTE(a, 0x12345, Prot(x)), MkPTE(a, pfn, Prot(y))
						want := (prev.Flags(a)^e.Flags(a))&^(PageAccessed|PageDirty) != 0 ||
							frames && e.Present() && e.PFN(a) != prev.PFN(a)+1
						if got := breaks(prev, e); got != want {
							t.Fatalf("%s, frames %v: %#016x, %#016x: break %v", name, frames, uint64(prev), uint64(e), got)
						}
					}
				}
			}
		}
	}
}
