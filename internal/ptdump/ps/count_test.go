package ps

import (
	"math/rand/v2"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
)

// TestCountsAreWalk: what is counted is what a plain walk finds, entry by entry.
func TestCountsAreWalk(t *testing.T) {
	for seed := range uint64(30) {
		m := capturetest.Town(rand.New(rand.NewPCG(seed, 1)))
		_, spaces := m.Open(t, m.Write(t, 0))
		for _, s := range spaces.User {
			var l capturetest.Leaves
			if err := s.Walk(s.UserHalf(), &l); err != nil {
				t.Fatal(err)
			}
			c, err := countSpace(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if want := naiveCounts(l.All); c.Counts != *want || len(l.All) == 0 {
				t.Errorf("seed %d: counted %+v, a walk finds %+v", seed, c.Counts, *want)
			}
		}
	}
}

// naiveCounts is what counts must come to, entry by entry, for 6.12.
func naiveCounts(all []tree.Leaf) *Counts {
	var c Counts
	for i := range all {
		l := &all[i]
		n := l.Level.Size() / x86.PageSize
		when := func(on bool, to *uint64) {
			if on {
				*to += n
			}
		}
		page := l.IsPage()
		flag := func(mask uint64) bool { return page && l.Raw&mask != 0 }
		when(page, &c.Resident)
		when(page && l.Level > x86.LevelPTE, &c.Huge)
		when(l.Rights.W, &c.Writable)
		when(l.Rights.X, &c.Executable)
		when(l.Kind == tree.KindProtnone, &c.Protnone)
		when(flag(x86.PageUffdWP) || l.Swap.UffdWP || l.Kind == tree.KindMarker && strings.Contains(l.Swap.Marker.String(), "uffd-wp"), &c.UffdWP)
		when(flag(x86.PageSoftDirty) || l.Swap.SoftDirty, &c.SoftDirty)
		when(flag(x86.PageDirty|x86.PageSoftW5), &c.Dirty)
		when(flag(x86.PageAccessed), &c.Accessed)
		when(flag(x86.PageSpecial), &c.Special)
		when(l.Kind == tree.KindSwap, &c.Swapped)
		when(l.Kind == tree.KindMigration, &c.Migration)
		when(l.Kind == tree.KindMarker, &c.Markers)
		when(l.Kind == tree.KindHWPoison, &c.HWPoison)
		when(l.Kind == tree.KindDevicePrivate || l.Kind == tree.KindDeviceExclusive, &c.Device)
		when(l.Kind == tree.KindUnknown || l.Kind == tree.KindSwapinError, &c.Other)
		if page && l.Level == x86.LevelPMD {
			c.HugePMD++
		}
		if page {
			c.rights.add(l.Rights)
		}
	}
	return &c
}
