package runs

import (
	"sort"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptescan"
	"ptemu/linux"
	"ptemu/pgtable"
)

// Sink receives ranges in ascending address order. An error stops the walk and is returned by it.
type Sink interface {
	// Marker announces a region before the first range or problem that lies in it.
	Marker(linux.Marker) error
	// Run receives a range, valid during the call.
	Run(*Run) error
	Problem(*pgtable.Problem) error
}

// Walk reads the tables once, in address order, and hands neighbouring entries that pass the filter to sink
// as ranges. Markers (ascending; may be nil) divide the address space into regions.
func Walk(s *tree.Tree, f tree.Filter, markers []linux.Marker, sink Sink) error {
	return walk(s, f, markers, sink, f.MatchReadsVA)
}

// walk is Walk; everything says that no result is used twice.
func walk(s *tree.Tree, f tree.Filter, markers []linux.Marker, sink Sink, everything bool) error {
	v := &visitor{decoder: s.Decoder(), match: f.Match, sink: sink, markers: markers, region: -1}
	v.alike = s.ABI.Runs(0, true)
	v.memo = tree.Memo[Run]{Join: v.join, Move: (*Run).move, Off: everything}
	if err := s.Visit(f, v); err != nil {
		return err
	}
	return v.emit()
}

// visitor merges a walk into ranges.
type visitor struct {
	decoder tree.Decoder
	match   func(*tree.Leaf) bool
	sink    Sink
	markers []linux.Marker
	region  int // index of the marker announced last

	memo tree.Memo[Run]
	last Run // may still grow, if Count is not 0
	next Run // is being made

	alike    x86.PTERuns
	breaks   ptescan.Bitmap // where an entry of the PTE table at hand does not continue the one before, if searched
	searched bool
}

func (v *visitor) Enter(t *pgtable.Table) (bool, error) {
	k, known := v.memo.Enter(t, v.regionEnd(t.VA) >= t.VA+x86.Virt(t.Level.Span()-1))
	if !known {
		return true, nil
	}
	return false, v.memo.Replay(t, k, v.add)
}

func (v *visitor) Leave(t *pgtable.Table) error {
	v.memo.Leave(t)
	return nil
}

func (v *visitor) Problem(p *pgtable.Problem) error {
	v.memo.Spoil()
	if err := v.emit(); err != nil {
		return err
	}
	if err := v.announce(p.VA); err != nil {
		return err
	}
	return v.sink.Problem(p)
}

func (v *visitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone || !v.start(t, i) {
		return nil
	}
	return v.add(&v.next)
}

func (v *visitor) PTEs(t *pgtable.Table) error {
	v.searched = false
	for i := t.First; i <= t.Last; {
		if x86.PTE(t.Entries[i]).None() || !v.start(t, i) {
			i++
			continue
		}
		if l := &v.next.First; v.match == nil && l.IsPage() && l.Kind != tree.KindUnknown && !l.Invalid {
			v.extend(t, i)
		}
		i += int(v.next.Count)
		if err := v.add(&v.next); err != nil {
			return err
		}
	}
	return nil
}

// start makes slot i of t the next run. False if the filter drops it.
func (v *visitor) start(t *pgtable.Table, i int) bool {
	l := &v.next.First
	v.decoder.Leaf(l, t, i)
	if v.match != nil && !v.match(l) {
		return false
	}
	v.next.Count, v.next.Accessed, v.next.Dirty, v.next.Scattered, v.next.Moves = 1, 0, 0, false, false
	accessed, dirty := l.Swap.Young, l.Swap.Dirty
	if l.IsPage() {
		accessed, dirty = l.Raw&x86.PageAccessed != 0, l.Raw&v.dirtyBits() != 0
	}
	if accessed {
		v.next.Accessed = 1
	}
	if dirty {
		v.next.Dirty = 1
	}
	return true
}

func (v *visitor) dirtyBits() uint64 { return x86.PageDirty | v.decoder.ABI.SavedDirtyMask() }

// extend lets the next run, which is the page in slot i of PTE table t, grow over the pages that follow it there.
// The entries of one table differ in nothing but themselves, so that comparing bits is enough.
func (v *visitor) extend(t *pgtable.Table, i int) {
	r := &v.next
	ref := r.First.Raw
	frame := v.decoder.ABI.FrameMask(x86.LevelPTE)
	// A reserved frame bit takes the rights away, so that it counts like a flag.
	mask := v.meaning(&r.First) | v.decoder.ABI.ReservedBits(x86.LevelPTE, ^uint64(0))
	inverted := uint64(0)
	if ref&x86.PagePresent == 0 {
		inverted = frame
	}
	end := t.Last
	if last := v.regionEnd(t.Addr(i)); last < t.Addr(end) {
		end = last.Index(x86.LevelPTE)
	}
	dirtyBits := v.dirtyBits()
	at := (ref ^ inverted) & frame
	j := i
	r.Count, r.Accessed, r.Dirty = 0, 0, 0
	first := at
	for j <= end && (t.Entries[j]^ref)&mask == 0 && !v.lastFrame(r, t.Entries[j]) {
		e := t.Entries[j]
		f := (e ^ inverted) & frame
		if f != at {
			at, r.Scattered = f, true
		}
		n := v.stretch(t, j, end)
		// The frame must neither carry into what counts nor wrap.
		last := t.Entries[j+n-1]
		if at += uint64(n) * x86.PageSize; (last^ref)&mask != 0 || (last^inverted)&frame != at-x86.PageSize || v.lastFrame(r, last) {
			at -= uint64(n-1) * x86.PageSize
			n = 1
		}
		r.Moves = r.Moves || f != first || n > 1
		r.count(e, uint64(n), dirtyBits)
		j += n
	}
}

// lastFrame reports that e, in the table of r, is a page without P that names the last frame there is, which makes it invalid
// in the user half.
func (v *visitor) lastFrame(r *Run, e uint64) bool {
	abi := v.decoder.ABI
	return e&(x86.PagePresent|abi.FrameMask(x86.LevelPTE)) == 0 && r.First.VA < abi.Paging().KernelHalf()
}

// stretch returns how many entries from i to end, that one included, continue one another in all bits.
func (v *visitor) stretch(t *pgtable.Table, i, end int) int {
	if !v.searched {
		ptescan.Breaks(&v.alike, (*ptescan.Table)(t.Entries), 0, &v.breaks)
		v.searched = true
	}
	return min(v.breaks.Next(i+1), end+1) - i
}

// meaning returns the bits in which all pages of a run agree: all but frame, A and D. With shadow stacks, D is part
// of the meaning where RW is clear.
func (v *visitor) meaning(l *tree.Leaf) uint64 {
	m := ^(l.Kind.FrameMask(v.decoder.ABI, l.Level) | x86.PageAccessed | v.dirtyBits())
	abi := v.decoder.ABI
	if abi.Kernel().SavedDirty && abi.Paging().ShadowStack && l.Raw&x86.PageRW == 0 {
		m |= x86.PageDirty
	}
	return m
}

// add takes a run, which lies behind all before it, into the picture.
func (v *visitor) add(r *Run) error {
	v.memo.Add(r)
	if v.last.Count != 0 && v.join(&v.last, r) {
		return nil
	}
	if err := v.emit(); err != nil {
		return err
	}
	v.last = *r
	return nil
}

// emit hands the last run over, if there is one: it has ended.
func (v *visitor) emit() error {
	if v.last.Count == 0 {
		return nil
	}
	if err := v.announce(v.last.First.VA); err != nil {
		return err
	}
	err := v.sink.Run(&v.last)
	v.last.Count = 0
	return err
}

// announce hands the marker over whose region va lies in, unless that was done before.
func (v *visitor) announce(va x86.Virt) error {
	i := v.regionOf(va)
	if i <= v.region {
		return nil
	}
	v.region = i
	return v.sink.Marker(v.markers[i])
}

// regionOf returns the index of the last marker at or below va, or -1.
func (v *visitor) regionOf(va x86.Virt) int {
	return sort.Search(len(v.markers), func(i int) bool { return v.markers[i].Addr > va }) - 1
}

// regionEnd returns the last address of the region that va lies in.
func (v *visitor) regionEnd(va x86.Virt) x86.Virt {
	if i := v.regionOf(va) + 1; i < len(v.markers) {
		return v.markers[i].Addr - 1
	}
	return ^x86.Virt(0)
}

// join makes b, which lies behind a, a part of it, if they are neighbours in one region and mean the same.
func (v *visitor) join(a, b *Run) bool {
	if a.End() != b.First.VA || !v.same(&a.First, &b.First) || v.regionEnd(a.First.VA) < b.First.VA {
		return false
	}
	from, step, _ := place(&a.First)
	to, _, _ := place(&b.First)
	a.Scattered = a.Scattered || b.Scattered || from+a.Count*step != to
	a.Moves = a.Moves || b.Moves || from != to
	a.Count += b.Count
	a.Accessed += b.Accessed
	a.Dirty += b.Dirty
	return true
}

// same reports whether two entries mean the same.
func (v *visitor) same(a, b *tree.Leaf) bool {
	if a.Level != b.Level || a.Kind != b.Kind || a.Rights != b.Rights || a.Invalid != b.Invalid {
		return false
	}
	if a.IsPage() {
		return (a.Raw^b.Raw)&v.meaning(a) == 0
	}
	x, y := a.Swap, b.Swap
	if a.Kind != tree.KindMarker {
		x.Offset, y.Offset = 0, 0
	}
	x.PFN, x.Young, x.Dirty = 0, false, false
	y.PFN, y.Young, y.Dirty = 0, false, false
	return x == y
}
