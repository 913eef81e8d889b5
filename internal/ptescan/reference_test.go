package ptescan

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// operation is a change of protection, as a caller describes it.
type operation struct {
	name    string
	layout  *swapentry.Layout
	prot    x86.Prot
	flags   x86.ChangeFlags
	page    pageKind
	markers bool
	noSwap  bool // leave everything alone that is not a page
	frames  Exclusive
}

func (o *operation) String() string {
	return fmt.Sprintf("%s prot %#x flags %#x page %d markers %v noswap %v frames %d", o.name, uint64(o.prot), o.flags,
		o.page, o.markers, o.noSwap, len(o.frames.Bits))
}

func (o *operation) change() Change {
	var swap *x86.SwapChange
	if !o.noSwap {
		swap = swapRules(o.layout, o.flags, o.page, o.markers)
	}
	return NewChange(o.layout.ABI().Change(o.prot, o.flags), swap, o.frames)
}

// refPage is change_pte_range() on a page, made of the entry's own methods. known tells that the candidate's answer
// is known, yes what it is.
func (o *operation) refPage(old x86.PTE) (v x86.PTE, counted, ask bool) {
	a := o.layout.ABI()
	v61 := a.Kernel().Release == "6.1"
	if o.flags&x86.ChangeNUMA != 0 && old.Protnone() {
		return old, false, false
	}
	v = old.Modify(a, o.prot)
	switch {
	case o.flags&x86.ChangeNUMA != 0:
		if v61 && old.Write(a) {
			v = v.MkWriteNoVMA()
		}
	case o.flags&x86.ChangeUffdWP != 0:
		v = v.WrProtect(a).MkUffdWP(a)
	case o.flags&x86.ChangeUffdWPResolve != 0:
		v = v.ClearUffdWP()
	}
	if o.flags&x86.ChangeTryWritable == 0 || v.Write(a) {
		return v, true, false
	}
	// can_change_pte_writable
	shared := o.flags&x86.ChangeShared != 0
	switch {
	case v.Protnone(),
		v61 && !v.Dirty(a),
		o.flags&x86.ChangeSoftDirtyTracked != 0 && !v.SoftDirty(),
		o.flags&x86.ChangeAreaUffdWP != 0 && v.UffdWP():
		return v, true, false
	}
	if shared {
		if !v61 && !v.Dirty(a) {
			return v, true, false
		}
	} else {
		if v.Special() {
			return v, true, false
		}
		pfn := uint64(v.PFN(a) - o.frames.Base)
		if pfn >= uint64(len(o.frames.Bits))*64 || v&x86.PagePresent == 0 { // the kernel asks of no such entry
			return old, true, true
		}
		if o.frames.Bits[pfn/64]>>(pfn%64)&1 == 0 {
			return v, true, false
		}
	}
	if o.flags&x86.ChangeShadowStack != 0 && !v61 {
		return v.MkWriteShstk(), true, false
	}
	return v.MkWrite(a), true, false
}

// ref changes a table, one entry at a time.
func (o *operation) ref(t *Table, first, last int, only *Bitmap) Changed {
	a := o.layout.ABI()
	r := Changed{First: 512, Last: -1}
	for i := first; i <= last; i++ {
		old := x86.PTE(t[i])
		v, ask := old, false
		switch {
		case only != nil && !only.Has(i):
			continue
		case old.Present():
			var counted bool
			v, counted, ask = o.refPage(old)
			if counted {
				r.Present++
			}
			if !ask && counted && x86.PTENeedsFlush(a, old, v) {
				r.First, r.Last = min(r.First, int64(i)), int64(i)
			}
		case o.noSwap:
			continue
		case old.None():
			if o.flags&x86.ChangeUffdWP != 0 && o.markers {
				v = o.layout.MakePTEMarker(swapentry.MarkerUffdWP)
				r.Rewritten++
			}
		default:
			v, ask = refSwap(o.layout, o.flags, o.page, old)
			if v != old {
				r.Rewritten++
			}
		}
		if ask {
			r.Ask.Set(i)
			r.Asked = 1
		}
		t[i] = uint64(v)
	}
	return r
}

// check runs o on a copy of t with the level in use, and compares with the reference.
func (o *operation) check(tb testing.TB, t *Table, first, last int, only *Bitmap) {
	tb.Helper()
	want, got := *t, *t
	c := o.change()
	wantR := o.ref(&want, first, last, only)
	gotR := Changed{Present: 99, Rewritten: 99, Asked: 99, Ask: Bitmap{99, 99, 99, 99, 99, 99, 99, 99}}
	c.Apply(&got, first, last, only, nil, &gotR)
	for i := range got {
		if got[i] != want[i] {
			tb.Fatalf("%v, entries %d to %d: entry %d was %#x, is %#x, want %#x", o, first, last, i, t[i], got[i], want[i])
		}
	}
	if gotR != wantR {
		tb.Fatalf("%v, entries %d to %d:\ngot  %+v\nwant %+v", o, first, last, gotR, wantR)
	}
}

// layoutNames names what layouts returns, in the order of their age.
var layoutNames = []string{"6.1", "6.1+", "6.12", "6.12+", "7.2", "7.2+"}

// layouts returns the three kernels, with and without shadow stacks and device-private memory.
func layouts(tb testing.TB) map[string]*swapentry.Layout {
	all := map[string]*swapentry.Layout{}
	for _, k := range x86.Kernels() {
		for _, extra := range []bool{false, true} {
			p := x86.DefaultPaging(4)
			name := k.Release
			if extra {
				name += "+"
			}
			p.ShadowStack, k.DevicePrivate = extra, extra
			a, err := x86.NewABI(k, p)
			if err != nil {
				tb.Fatal(err)
			}
			all[name] = swapentry.NewLayout(a)
		}
	}
	return all
}

var prots = []x86.Prot{
	x86.ProtNone, x86.ProtReadonly, x86.ProtReadonlyExec, x86.ProtShared, x86.ProtSharedExec,
	x86.ProtShared | 5<<x86.PageBitPkey0, x86.ProtNone | x86.PageNX, x86.ProtKernel, 0, x86.PageAccessed, x86.PageRW,
}

// flagSets returns every combination that means something, and both uffd flags at once.
func flagSets() []x86.ChangeFlags {
	var all []x86.ChangeFlags
	for _, kind := range []x86.ChangeFlags{0, x86.ChangeNUMA, x86.ChangeUffdWP, x86.ChangeUffdWPResolve,
		x86.ChangeUffdWP | x86.ChangeUffdWPResolve} {
		all = append(all, kind)
		if kind == x86.ChangeNUMA {
			continue
		}
		for facts := x86.ChangeFlags(0); facts < 16; facts++ {
			f := kind | x86.ChangeTryWritable
			for i, fact := range []x86.ChangeFlags{x86.ChangeShared, x86.ChangeAreaUffdWP, x86.ChangeSoftDirtyTracked,
				x86.ChangeShadowStack} {
				if facts>>i&1 != 0 {
					f |= fact
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// forEachOperation calls f with everything that can be asked for.
func forEachOperation(tb testing.TB, f func(o *operation)) {
	n := 0
	all := layouts(tb)
	for _, name := range layoutNames {
		l := all[name]
		for _, prot := range prots {
			for _, flags := range flagSets() {
				o := &operation{name: name, layout: l, prot: prot, flags: flags}
				o.page, o.markers, o.noSwap = pageKind(n%3), n/3%2 == 0, n%7 == 6
				if flags&x86.ChangeTryWritable != 0 && n%2 == 0 {
					o.frames = someFrames
				}
				n++
				f(o)
			}
		}
	}
}
