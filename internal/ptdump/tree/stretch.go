package tree

import (
	"context"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Stretch is neighbouring entries of one table that agree in everything but where they point: level, kind, rights and
// flags. Of swap forms, that is the type and the flags; a marker is a stretch of its own. It is valid during the call
// that it is handed to.
type Stretch struct {
	VA     x86.Virt
	Level  x86.Level
	N      uint64
	Raw    uint64 // the first entry
	Kind   Kind
	Rights Rights
	Swap   swapentry.Entry // of the first, where the kind is not of a page
	Table  *pgtable.Table  // that they stand in
	Index  int             // of the first
}

// IsPage reports whether the entries name pages by their frame bits.
func (s *Stretch) IsPage() bool { return s.Kind.isPage() }

// Size returns the bytes of address space.
func (s *Stretch) Size() uint64 { return s.N * s.Level.Size() }

// Pages returns the number of pages of 4 KiB.
func (s *Stretch) Pages() uint64 { return s.Size() / x86.PageSize }

// StretchSink receives a tree as stretches, in ascending address order.
type StretchSink interface {
	// Table announces a table before what is in it. On false it is passed over, with all below it.
	Table(*pgtable.Table) bool
	Stretch(*Stretch)
	Problem(*pgtable.Problem)
}

// Stretches reads the part of the tree that r allows, table by table, and hands all entries in leaf position to sink.
// Unlike a Leaf, a stretch is not checked for what no kernel writes.
func (s *Tree) Stretches(ctx context.Context, r pgtable.Range, sink StretchSink) error {
	v := &stretchVisitor{ctx: ctx, decoder: s.Decoder(), sink: sink, kinds: s.ABI.Kinds(), alike: s.ABI.Runs(0, false)}
	v.alike.Attributes |= s.ABI.ReservedBits(x86.LevelPTE, ^uint64(0)) // such a frame bit takes the rights away
	return pgtable.Walk(s.Mem, s.ABI, s.Root.PFN(), r, v)
}

// stretchVisitor makes stretches of a walk. Vector code finds the entries and where their attributes change, so that a
// uniform table costs little more than reading it.
type stretchVisitor struct {
	ctx     context.Context
	decoder Decoder
	sink    StretchSink
	kinds   x86.PTEKinds
	alike   x86.PTERuns
	sorted  ptescan.Sorted
	breaks  ptescan.Bitmap
	leaf    Leaf
	s       Stretch
}

func (v *stretchVisitor) Enter(t *pgtable.Table) (bool, error) {
	if err := v.ctx.Err(); err != nil {
		return false, err
	}
	return v.sink.Table(t), nil
}

func (v *stretchVisitor) Leave(*pgtable.Table) error { return nil }

func (v *stretchVisitor) Problem(p *pgtable.Problem) error {
	if err := v.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	v.sink.Problem(p)
	return nil
}

func (v *stretchVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	v.s = Stretch{VA: l.VA, Level: l.Level, N: 1, Raw: l.Raw, Kind: l.Kind, Rights: l.Rights, Swap: l.Swap, Table: t, Index: i}
	v.sink.Stretch(&v.s)
	return nil
}

func (v *stretchVisitor) PTEs(t *pgtable.Table) error {
	table := (*ptescan.Table)(t.Entries)
	ptescan.Sort(&v.kinds, table, &v.sorted)
	some := !v.sorted.Pages.Empty()
	if some {
		ptescan.Breaks(&v.alike, table, 0, &v.breaks)
	}
	v.s = Stretch{Level: x86.LevelPTE, Table: t}
	for i := t.First; i <= t.Last; i += int(v.s.N) {
		switch {
		case some && v.sorted.Pages.Has(i):
			v.pages(t, i, min(v.breaks.Next(i+1), t.Last+1))
		case v.sorted.Others.Has(i):
			v.others(t, i)
		default:
			v.s.N = uint64(min(v.sorted.Pages.Next(i), v.sorted.Others.Next(i)) - i)
			continue
		}
		v.sink.Stretch(&v.s)
	}
	return nil
}

// pages makes slots i to end of t the stretch. They are pages with equal attributes.
func (v *stretchVisitor) pages(t *pgtable.Table, i, end int) {
	raw := t.Entries[i]
	v.s.VA, v.s.Raw, v.s.Index, v.s.N = t.Addr(i), raw, i, uint64(end-i)
	v.s.Kind, v.s.Rights = KindProtnone, Rights{}
	if raw&x86.PagePresent == 0 {
		return
	}
	v.s.Kind = KindPresent
	if v.decoder.ABI.ReservedBits(x86.LevelPTE, raw) == 0 {
		a := t.Access.And(raw)
		v.s.Rights = Rights{R: true, W: a.W, X: a.X, U: a.U}
	}
}

// others makes what follows from slot i of t on the stretch: a swap form, and those that differ from it in the offset
// only; or a page that was taken out of the kernel's mapping.
func (v *stretchVisitor) others(t *pgtable.Table, i int) {
	raw := t.Entries[i]
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	v.s.VA, v.s.Raw, v.s.Index, v.s.N, v.s.Rights = l.VA, raw, i, 1, Rights{}
	v.s.Kind, v.s.Swap = l.Kind, l.Swap
	var same func(a, b uint64) bool
	switch v.s.Kind {
	case KindSwap:
		same = v.sameSwap
	case KindUnknown:
		same = func(a, b uint64) bool { return (a^b)&v.alike.Attributes == 0 }
	default:
		return
	}
	for j := i + 1; j <= t.Last && v.sorted.Others.Has(j) && same(raw, t.Entries[j]); j++ {
		v.s.N++
	}
}

// SwapFlags are the bits of a swap entry besides type and offset.
const SwapFlags = x86.PageSwpSoftDirty | x86.PageSwpUffdWP | x86.PageSwpExclusive

// sameSwap reports whether two swap forms have the same type and flags.
func (v *stretchVisitor) sameSwap(a, b uint64) bool {
	l := v.decoder.Layout
	return (a^b)&SwapFlags == 0 && l.FromPTE(x86.PTE(a)).Type() == l.FromPTE(x86.PTE(b)).Type()
}
