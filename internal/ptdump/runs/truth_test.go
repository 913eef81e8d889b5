package runs

import (
	"testing"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/pgtable"
)

// rightsRuns joins ranges as QEMU's info mem does: by effective user and write permission alone.
type rightsRuns struct{ all []truth.MemRange }

func (r *rightsRuns) Marker(linux.Marker) error      { return nil }
func (r *rightsRuns) Problem(*pgtable.Problem) error { return nil }

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
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		if !f.HasMem() || s.ABI.Paging().Levels == 5 {
			t.Skip("QEMU's info mem does not know five levels: no truth")
		}
		var got rightsRuns
		if err := Walk(s, tree.Filter{}, s.System.Markers(), &got); err != nil {
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
