package ptescan

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// forEachTable calls f with tables of every structure and ranges, under every level. It logs the seed of a failure.
func forEachTable(t *testing.T, f func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand)) {
	all := layouts(t)
	forEachImpl(t, func(t *testing.T) {
		seed := rand.Uint64()
		defer func() {
			if t.Failed() {
				t.Logf("seed %#x", seed)
			}
		}()
		r := rand.New(rand.NewPCG(seed, 0))
		for range 400 {
			for _, name := range layoutNames {
				first, last := randomRange(r)
				f(t, all[name], randomTable(r), first, last, r)
			}
		}
	})
}

// compare fails the test at the first entry that differs.
func compare(t *testing.T, what string, before, got, want *Table) {
	t.Helper()
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: entry %d was %#x, is %#x, want %#x", what, i, before[i], got[i], want[i])
		}
	}
}

// sorted is what Sort, Zap and Copy report of a range.
func sorted(t *Table, first, last int) (pages, others Bitmap) {
	for i := first; i <= last; i++ {
		switch p := x86.PTE(t[i]); {
		case p.Present():
			pages.Set(i)
		case !p.None():
			others.Set(i)
		}
	}
	return pages, others
}

func TestSort(t *testing.T) {
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, _, _ int, _ *rand.Rand) {
		var want, got Sorted
		want.Pages, want.Others = sorted(tab, 0, 511)
		k := l.ABI().Kinds()
		Sort(&k, tab, &got)
		if got != want {
			t.Fatalf("%#x:\ngot  %x\nwant %x", tab[:8], got, want)
		}
	})
}

func TestHarvest(t *testing.T) {
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand) {
		a := l.ABI()
		dirty := r.IntN(2) == 0
		h := a.HarvestYoung()
		if dirty {
			h = a.HarvestDirty()
		}
		want, got := *tab, *tab
		var wantR Harvested
		gotR := Harvested{Found: Bitmap{1, 2, 3}, Changed: Bitmap{4, 5, 6}}
		for i := first; i <= last; i++ {
			p := x86.PTE(want[i])
			if !p.Present() {
				continue
			}
			v, found := p.MkOld(), p.Young()
			if dirty {
				v, found = p.WrProtect(a).MkClean(a), p.Dirty(a)
			}
			if found {
				wantR.Found.Set(i)
			}
			if v != p {
				wantR.Changed.Set(i)
			}
			want[i] = uint64(v)
		}
		Harvest(&h, &got, first, last, &gotR)
		compare(t, "harvest", tab, &got, &want)
		if gotR != wantR {
			t.Fatalf("entries %d to %d, dirty %v:\ngot  %x\nwant %x", first, last, dirty, gotR, wantR)
		}
	})
}

func TestZap(t *testing.T) {
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand) {
		marker := x86.PTE(0)
		if r.IntN(2) == 0 {
			marker = l.MakePTEMarker(swapentry.MarkerUffdWP)
		}
		z := l.ABI().Zap(marker)
		want, got, saved := *tab, *tab, Table{}
		var wantR Zapped
		gotR := Zapped{Pages: Bitmap{1, 2, 3}, Others: Bitmap{4, 5, 6}}
		wantR.Pages, wantR.Others = sorted(tab, first, last)
		for i := first; i <= last; i++ {
			if p := x86.PTE(want[i]); p.Present() {
				want[i] = 0
				if marker != 0 && p.UffdWP() {
					want[i] = uint64(marker)
				}
			}
		}
		Zap(&z, &got, first, last, &saved, &gotR)
		compare(t, "zap", tab, &got, &want)
		if gotR != wantR {
			t.Fatalf("entries %d to %d:\ngot  %x\nwant %x", first, last, gotR, wantR)
		}
		for i := range gotR.Pages.All() {
			if saved[i] != tab[i] {
				t.Fatalf("saved entry %d is %#x, was %#x", i, saved[i], tab[i])
			}
		}
	})
}

func TestCopy(t *testing.T) {
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand) {
		a := l.ABI()
		flags := []x86.CopyFlags{0, x86.CopyCOW, x86.CopyShared}[r.IntN(3)]
		if r.IntN(2) == 0 {
			flags |= x86.CopyKeepUffdWP
		}
		want, got := *tab, *tab
		var wantChild, gotChild Table
		var wantR Copied
		wantR.Pages, wantR.Others = sorted(tab, first, last)
		for i := range gotChild { // outside the range the child may hold anything
			if i < first || i > last {
				gotChild[i] = r.Uint64()
			}
		}
		wantChild = gotChild
		for i := range wantR.Pages.All() {
			p := x86.PTE(want[i])
			if flags&x86.CopyCOW != 0 && p.Write(a) {
				p = p.WrProtect(a)
			}
			want[i] = uint64(p)
			if flags&x86.CopyShared != 0 {
				p = p.MkClean(a)
			}
			p = p.MkOld()
			if flags&x86.CopyKeepUffdWP == 0 {
				p = p.ClearUffdWP()
			}
			wantChild[i] = uint64(p)
		}
		c := NewCopy(a.Copy(flags), r.IntN(2) == 0)
		gotR := Copied{Pages: Bitmap{1, 2, 3}, Others: Bitmap{4, 5, 6}}
		c.Apply(&got, &gotChild, first, last, &gotR)
		compare(t, "parent", tab, &got, &want)
		compare(t, "child", tab, &gotChild, &wantChild)
		if gotR != wantR {
			t.Fatalf("entries %d to %d:\ngot  %x\nwant %x", first, last, gotR, wantR)
		}
	})
}

// TestChangeSimple checks the changes that are not change_pte_range's.
func TestChangeSimple(t *testing.T) {
	changes := []struct {
		name string
		make func(a *x86.ABI) x86.PTEChange
		ref  func(a *x86.ABI, p x86.PTE) x86.PTE
	}{
		{"clear soft-dirty", (*x86.ABI).ChangeClearSoftDirty, func(a *x86.ABI, p x86.PTE) x86.PTE {
			return p.WrProtect(a).ClearSoftDirty()
		}},
		{"uffd-wp async", (*x86.ABI).ChangeUffdWPAsync, func(a *x86.ABI, p x86.PTE) x86.PTE { return p.MkUffdWP(a) }},
		{"young", (*x86.ABI).ChangeMkYoung, func(a *x86.ABI, p x86.PTE) x86.PTE { return p.MkYoung() }},
		{"old", (*x86.ABI).ChangeMkOld, func(a *x86.ABI, p x86.PTE) x86.PTE { return p.MkOld() }},
	}
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand) {
		a, ch := l.ABI(), changes[r.IntN(len(changes))]
		want, got, wantR := *tab, *tab, Changed{First: 512, Last: -1}
		for i := first; i <= last; i++ {
			p := x86.PTE(want[i])
			if !p.Present() {
				continue
			}
			v := ch.ref(a, p)
			want[i] = uint64(v)
			wantR.Present++
			if x86.PTENeedsFlush(a, p, v) {
				wantR.First, wantR.Last = min(wantR.First, int64(i)), int64(i)
			}
		}
		c, gotR := NewChange(ch.make(a), nil, Exclusive{}), Changed{}
		c.Apply(&got, first, last, nil, nil, &gotR)
		compare(t, ch.name, tab, &got, &want)
		if gotR != wantR {
			t.Fatalf("%s, entries %d to %d:\ngot  %+v\nwant %+v", ch.name, first, last, gotR, wantR)
		}
	})
}

// attributesOf is what TestBreaks compares: all but the frame and what is ignored.
func attributesOf(a *x86.ABI, p x86.PTE, ignore uint64) uint64 { return p.Flags(a) &^ ignore }

func TestBreaks(t *testing.T) {
	forEachTable(t, func(t *testing.T, l *swapentry.Layout, tab *Table, first, last int, r *rand.Rand) {
		a := l.ABI()
		ignore := []uint64{0, x86.PageAccessed | x86.PageDirty, x86.PageSoftDirty}[r.IntN(3)]
		frames := r.IntN(2) == 0
		prev := randomEntry(r)
		if r.IntN(2) == 0 { // an entry that the table continues
			prev = uint64(x86.PTE(tab[0]).AdvancePFN(1<<52 - 1))
		}
		var want, got Bitmap
		got = Bitmap{1, 2, 3}
		for i, before := 0, x86.PTE(prev); i < len(tab); i++ {
			e := x86.PTE(tab[i])
			if attributesOf(a, before, ignore) != attributesOf(a, e, ignore) ||
				frames && e.Present() && frameField(a, before, e) != e.PFN(a)-1&x86.PFN(a.FrameMask(x86.LevelPTE)>>x86.PageShift) {
				want.Set(i)
			}
			before = e
		}
		p := a.Runs(ignore, frames)
		any := Breaks(&p, tab, prev, &got)
		if got != want || any == want.Empty() {
			t.Fatalf("prev %#x, ignore %#x, frames %v:\ngot  %x %v\nwant %x\n%#x", prev, ignore, frames, got, any, want, tab)
		}
	})
}

// frameField reads the frame of before as e stores its own: inverted or not.
func frameField(a *x86.ABI, before, e x86.PTE) x86.PFN {
	return (before&x86.PTE(a.FrameMask(x86.LevelPTE)) | e&x86.PagePresent | x86.PageProtnone).PFN(a)
}
