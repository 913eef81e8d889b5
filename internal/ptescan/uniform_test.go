package ptescan

import (
	"testing"

	"ptemu/arch/x86"
)

// deviations calls f with tables of like pages at consecutive frames, in which something is off: every bit at every place
// of the first three groups, and bits that decide at every two places that are the same lane of vectors, so that one
// could make up for the other. (Kernels take the first group to find out what the pages are, and then two at a time.)
func deviations(at uint64, f func(tab *Table)) {
	var plain Table
	for i := range plain {
		plain[i] = entry(at, framesBase+45*64+uint64(i)) // all exclusive in someFrames
	}
	for i := range 3 * 32 {
		for bit := range 64 {
			tab := plain
			tab[i] ^= 1 << bit
			f(&tab)
		}
		for j := i + 4; j < 3*32; j += 4 {
			for _, bits := range []uint64{x86.PageRW | x86.PageNX, x86.PagePresent} {
				tab := plain
				tab[i] ^= bits
				tab[j] ^= bits
				f(&tab)
			}
		}
	}
}

// TestChangeOneBitOff: the paths for like pages notice what is not alike.
func TestChangeOneBitOff(t *testing.T) {
	l := layouts(t)["6.12"]
	forEachImpl(t, func(t *testing.T) {
		for _, o := range []*operation{
			{name: "changes", prot: x86.ProtReadonly},
			{name: "stays", prot: x86.ProtShared},
			{name: "skipped", prot: x86.ProtNone, flags: x86.ChangeNUMA},
			{name: "by frames", prot: x86.ProtReadonly, flags: x86.ChangeTryWritable, frames: someFrames},
		} {
			o.layout = l
			at := uint64(x86.ProtShared)
			if o.flags&x86.ChangeNUMA != 0 {
				at = uint64(x86.ProtNone)
			}
			deviations(at, func(tab *Table) { o.check(t, tab, 0, 511, nil) })
		}
	})
}

// TestCopyOneBitOff and TestBreaksOneBitOff hold the vector kernels against the generic ones, which the other tests
// hold against the entry methods.
func TestCopyOneBitOff(t *testing.T) {
	a := layouts(t)["6.12"].ABI()
	for _, flags := range []x86.CopyFlags{x86.CopyCOW, x86.CopyShared} {
		forEachImpl(t, func(t *testing.T) {
			c := NewCopy(a.Copy(flags), false)
			deviations(uint64(x86.ProtShared), func(tab *Table) {
				var child, wantChild Table
				var r, wantR Copied
				got, want := *tab, *tab
				c.Apply(&got, &child, 0, 511, &r)
				c.applyGeneric(&want, &wantChild, 0, 511, &wantR)
				compare(t, "parent", tab, &got, &want)
				compare(t, "child", tab, &child, &wantChild)
				if r != wantR {
					t.Fatalf("got %x, want %x", r, wantR)
				}
			})
		})
	}
}

func TestBreaksOneBitOff(t *testing.T) {
	a := layouts(t)["6.12"].ABI()
	for _, frames := range []bool{false, true} {
		for _, at := range []uint64{uint64(x86.ProtShared), uint64(x86.ProtNone)} {
			forEachImpl(t, func(t *testing.T) {
				p := a.Runs(x86.PageAccessed, frames)
				deviations(at, func(tab *Table) {
					var got, want Bitmap
					Breaks(&p, tab, tab[0], &got)
					breaksGeneric(tab, tab[0], &p, &want)
					if got != want {
						t.Fatalf("frames %v: got %x, want %x: %#x", frames, got, want, tab[:64])
					}
				})
			})
		}
	}
}
