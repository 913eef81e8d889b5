package tree

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Walk reads the tables once, in address order, and hands every entry in leaf position that passes the
// filter to sink. A table that several entries lead to is decoded for each of them: the bounds of [pgtable.Walk]
// apply, and what exceeds them is a Problem with pgtable.ErrAliased. Tables in which nothing passes the filter do not count.
func (s *Tree) Walk(f Filter, sink Sink) error {
	v := &leafVisitor{decoder: s.Decoder(), match: f.Match, sink: sink}
	v.memo.Off = f.MatchReadsVA
	return s.Visit(f, v)
}

// Visit runs v over the part of the tree that the filter's bounds allow.
func (s *Tree) Visit(f Filter, v pgtable.Visitor) error {
	return pgtable.Walk(s.Mem, s.ABI, s.Root.PFN(), f.Bounds(), v)
}

// Decoder returns what decodes entries of the tree.
func (s *Tree) Decoder() Decoder { return Decoder{ABI: s.ABI, Layout: s.Layout} }

// Bounds returns the range that First and Last stand for.
func (f *Filter) Bounds() pgtable.Range {
	if f.First == 0 && f.Last == 0 {
		return pgtable.All
	}
	return pgtable.Range{First: f.First, Last: f.Last}
}

// leafVisitor decodes a walk entry by entry.
type leafVisitor struct {
	decoder Decoder
	match   func(*Leaf) bool
	sink    Sink
	memo    Memo[struct{}] // knows the tables that gave nothing, which have no pieces; all else spoils it
	leaf    Leaf           // the one that is being handed over
}

func (v *leafVisitor) Enter(t *pgtable.Table) (bool, error) {
	_, known := v.memo.Enter(t, true)
	return !known, nil
}

func (v *leafVisitor) Leave(t *pgtable.Table) error {
	v.memo.Leave(t)
	return nil
}

func (v *leafVisitor) Problem(p *pgtable.Problem) error {
	v.memo.Spoil()
	return v.sink.Problem(p)
}

func (v *leafVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	return v.entry(t, i)
}

func (v *leafVisitor) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		if x86.PTE(t.Entries[i]).None() {
			continue
		}
		if err := v.entry(t, i); err != nil {
			return err
		}
	}
	return nil
}

func (v *leafVisitor) entry(t *pgtable.Table, i int) error {
	v.decoder.Leaf(&v.leaf, t, i)
	if v.match != nil && !v.match(&v.leaf) {
		return nil
	}
	v.memo.Spoil()
	return v.sink.Leaf(&v.leaf)
}
