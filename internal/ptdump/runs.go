package ptdump

import (
	"sort"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/linux"
	"ptemu/pgtable"
)

// Run is a range of neighbouring entries of equal meaning: same level, kind, rights and flags, where ACCESSED and the
// dirty state only count; for entries without a page, same type and flags and, of a marker, same bits; all
// Invalid or none. A run lies in one region.
type Run struct {
	// First is the entry at the lowest address.
	First Leaf
	// Count is the number of entries.
	Count uint64
	// Accessed and Dirty count the entries with A, and with D or SAVED_DIRTY; of migration entries, those that
	// keep the page's A and D.
	Accessed, Dirty uint64
	// Scattered says that the frames that the entries name do not all follow one another in ascending order; of
	// swap entries, the slots.
	Scattered bool
}

// Size returns the bytes of address space.
func (r *Run) Size() uint64 { return r.Count * r.First.Level.Size() }

// End returns the first address behind the run, which is 0 behind the top of the address space.
func (r *Run) End() x86.Virt { return r.First.VA + x86.Virt(r.Size()) }

// Places returns the frame, or the swap slot, of the first entry and of the last base page of the last one. False if
// the entries name none. In between lie all others, unless the run is Scattered: then last makes no sense.
func (r *Run) Places() (first, last uint64, ok bool) {
	first, step, ok := place(&r.First)
	if !ok {
		return 0, 0, false
	}
	return first, first + r.Count*step - 1, true
}

// place returns what moves on from one entry of a run to the next, and by how much.
func place(l *Leaf) (at, step uint64, ok bool) {
	switch {
	case l.HasPFN:
		return uint64(l.PFN), l.Level.Size() / x86.PageSize, true
	case l.Kind == KindSwap || l.Kind == KindSwapinError:
		return l.Swap.Offset, 1, true
	}
	return 0, 0, false
}

// RunSink receives ranges in ascending address order. An error stops the walk and is returned by it.
type RunSink interface {
	// Marker announces a region before the first range or problem that lies in it.
	Marker(linux.Marker) error
	// Run receives a range, valid during the call.
	Run(*Run) error
	Problem(*Problem) error
}

// Runs reads the session's tables once, in address order, and hands neighbouring entries that pass the filter to sink
// as ranges. Markers (ascending; may be nil) divide the address space into regions.
func (s *Session) Runs(f Filter, markers []linux.Marker, sink RunSink) error {
	return s.runs(f, markers, sink, f.MatchReadsVA)
}

// runs is Runs; everything says that no result is used twice.
func (s *Session) runs(f Filter, markers []linux.Marker, sink RunSink, everything bool) error {
	v := &runVisitor{decoder: s.decoder(), match: f.Match, sink: sink, markers: markers, region: -1}
	v.alike = s.ABI.Runs(0, true)
	v.memo = memo[Run]{join: v.join, move: (*Run).move, off: everything}
	if err := s.walk(f, v); err != nil {
		return err
	}
	return v.emit()
}

func (r *Run) move(by x86.Virt) { r.First.VA += by }

// runVisitor merges a walk into ranges.
type runVisitor struct {
	decoder decoder
	match   func(*Leaf) bool
	sink    RunSink
	markers []linux.Marker
	region  int // index of the marker announced last

	memo memo[Run]
	last Run // may still grow, if Count is not 0
	next Run // is being made

	alike    x86.PTERuns
	breaks   ptescan.Bitmap // where an entry of the PTE table at hand does not continue the one before, if searched
	searched bool
}

func (v *runVisitor) Enter(t *pgtable.Table) (bool, error) {
	k, known := v.memo.enter(t, v.regionEnd(t.VA) >= t.VA+x86.Virt(t.Level.Span()-1))
	if !known {
		return true, nil
	}
	return false, v.memo.replay(t, k, v.add)
}

func (v *runVisitor) Leave(t *pgtable.Table) error {
	v.memo.leave(t)
	return nil
}

func (v *runVisitor) Problem(p *Problem) error {
	v.memo.spoil()
	if err := v.emit(); err != nil {
		return err
	}
	if err := v.announce(p.VA); err != nil {
		return err
	}
	return v.sink.Problem(p)
}

func (v *runVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone || !v.start(t, i) {
		return nil
	}
	return v.add(&v.next)
}

func (v *runVisitor) PTEs(t *pgtable.Table) error {
	v.searched = false
	for i := t.First; i <= t.Last; {
		if x86.PTE(t.Entries[i]).None() || !v.start(t, i) {
			i++
			continue
		}
		if v.match == nil && isPage(&v.next.First) {
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
func (v *runVisitor) start(t *pgtable.Table, i int) bool {
	l := &v.next.First
	v.decoder.leaf(l, t, i)
	if v.match != nil && !v.match(l) {
		return false
	}
	v.next.Count, v.next.Accessed, v.next.Dirty, v.next.Scattered = 1, 0, 0, false
	accessed, dirty := l.Swap.Young, l.Swap.Dirty
	if isPage(l) {
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

func (v *runVisitor) dirtyBits() uint64 { return x86.PageDirty | v.decoder.abi.SavedDirtyMask() }

// extend lets the next run, which is the page in slot i of PTE table t, grow over the pages that follow it there.
// The entries of one table differ in nothing but themselves, so that comparing bits is enough.
func (v *runVisitor) extend(t *pgtable.Table, i int) {
	r := &v.next
	ref := r.First.Raw
	frame := v.decoder.abi.FrameMask(x86.LevelPTE)
	// A reserved frame bit takes the rights away, so that it counts like a flag.
	mask := v.meaning(&r.First) | v.decoder.abi.ReservedBits(x86.LevelPTE, ^uint64(0))
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
	for j <= end && (t.Entries[j]^ref)&mask == 0 {
		e := t.Entries[j]
		if f := (e ^ inverted) & frame; f != at {
			at, r.Scattered = f, true
		}
		n := v.stretch(t, j, end)
		// The frame must neither carry into what counts nor wrap.
		last := t.Entries[j+n-1]
		if at += uint64(n) * x86.PageSize; (last^ref)&mask != 0 || (last^inverted)&frame != at-x86.PageSize {
			at -= uint64(n-1) * x86.PageSize
			n = 1
		}
		r.count(e, uint64(n), dirtyBits)
		j += n
	}
}

// count adds n entries that have the bits A and D of e.
func (r *Run) count(e, n, dirtyBits uint64) {
	r.Count += n
	if e&x86.PageAccessed != 0 {
		r.Accessed += n
	}
	if e&dirtyBits != 0 {
		r.Dirty += n
	}
}

// stretch returns how many entries from i to end, that one included, continue one another in all bits.
func (v *runVisitor) stretch(t *pgtable.Table, i, end int) int {
	if !v.searched {
		ptescan.Breaks(&v.alike, (*ptescan.Table)(t.Entries), 0, &v.breaks)
		v.searched = true
	}
	return min(v.breaks.Next(i+1), end+1) - i
}

// meaning returns the bits in which all pages of a run agree: all but frame, A and D. With shadow stacks, D is part
// of the meaning where RW is clear.
func (v *runVisitor) meaning(l *Leaf) uint64 {
	m := ^(v.decoder.abi.FrameMask(l.Level) | x86.PageAccessed | v.dirtyBits())
	abi := v.decoder.abi
	if abi.Kernel().SavedDirty && abi.Paging().ShadowStack && l.Raw&x86.PageRW == 0 {
		m |= x86.PageDirty
	}
	return m
}

// add takes a run, which lies behind all before it, into the picture.
func (v *runVisitor) add(r *Run) error {
	v.memo.add(r)
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
func (v *runVisitor) emit() error {
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
func (v *runVisitor) announce(va x86.Virt) error {
	i := v.regionOf(va)
	if i <= v.region {
		return nil
	}
	v.region = i
	return v.sink.Marker(v.markers[i])
}

// regionOf returns the index of the last marker at or below va, or -1.
func (v *runVisitor) regionOf(va x86.Virt) int {
	return sort.Search(len(v.markers), func(i int) bool { return v.markers[i].Addr > va }) - 1
}

// regionEnd returns the last address of the region that va lies in.
func (v *runVisitor) regionEnd(va x86.Virt) x86.Virt {
	if i := v.regionOf(va) + 1; i < len(v.markers) {
		return v.markers[i].Addr - 1
	}
	return ^x86.Virt(0)
}

// join makes b, which lies behind a, a part of it, if they are neighbours in one region and mean the same.
func (v *runVisitor) join(a, b *Run) bool {
	if a.End() != b.First.VA || !v.same(&a.First, &b.First) || v.regionEnd(a.First.VA) < b.First.VA {
		return false
	}
	from, step, _ := place(&a.First)
	to, _, _ := place(&b.First)
	a.Scattered = a.Scattered || b.Scattered || from+a.Count*step != to
	a.Count += b.Count
	a.Accessed += b.Accessed
	a.Dirty += b.Dirty
	return true
}

// same reports whether two entries mean the same.
func (v *runVisitor) same(a, b *Leaf) bool {
	if a.Level != b.Level || a.Kind != b.Kind || a.Rights != b.Rights || a.Invalid != b.Invalid {
		return false
	}
	if isPage(a) {
		return (a.Raw^b.Raw)&v.meaning(a) == 0
	}
	x, y := a.Swap, b.Swap
	if a.Kind != KindMarker {
		x.Offset, y.Offset = 0, 0
	}
	x.PFN, x.Young, x.Dirty = 0, false, false
	y.PFN, y.Young, y.Dirty = 0, false, false
	return x == y
}
