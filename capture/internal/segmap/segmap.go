// Package segmap says where in a file each byte of physical memory is.
//
// A capture format is, to this package, a list of segments: memory [start, start+memSize), of which the first
// fileSize bytes lie in the file at off and the rest was left out.
//
//	memory   start ─────────────────────────┬──────────────── start+memSize
//	         in the file          cut off   │  excluded
//	file     off ──────── end of file ──────┴ off+fileSize
//
// Segments may overlap: every copy is of the same memory, so bytes that are in the file win over bytes that are
// not, and among those the first segment wins.
//
// What must always hold: the extents are ascending and disjoint, so a lookup is one binary search; there are never
// more than [MaxSegments]; no byte is made up.
package segmap

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// MaxSegments bounds what a hostile file can make us remember. QEMU with paging=on wrote 70,000 of a guest of 288 MiB,
// other makers write tens.
const MaxSegments = 1 << 20

// State says whether the bytes of an extent can be read.
type State uint8

// The states, the better before the worse.
const (
	InFile   State = iota
	CutOff         // the segment says they are in the file, but the file ends before them
	Excluded       // the segment says they were left out
)

// Extent is a run of physical memory in one state.
type Extent struct {
	Start, End uint64 // physical, End exclusive
	Off        int64  // file offset of the byte at Start; 0 if Excluded
	State      State
	order      uint32 // of the segment in the file
}

// Builder collects the segments of a file.
type Builder struct {
	size  int64 // of the file, negative if unknown
	ext   []Extent
	order uint32
}

// NewBuilder returns a Builder for a file of size bytes, negative if unknown, with room for n segments.
func NewBuilder(size int64, n int) *Builder {
	return &Builder{size: size, ext: make([]Extent, 0, min(n, MaxSegments))}
}

var errTooMany = fmt.Errorf("more than %d memory segments", MaxSegments)

// Add adds a segment. More bytes in the file than in memory are not memory. Without bytes in the file off does not
// matter.
func (b *Builder) Add(start, memSize, fileSize, off uint64) error {
	if memSize == 0 {
		return nil
	}
	end := start + memSize
	if end < start {
		return fmt.Errorf("memory segment of %#x bytes at %#x ends beyond 2^64", memSize, start)
	}
	fileSize = min(fileSize, memSize)
	if fileSize > 0 && (off > math.MaxInt64 || fileSize > math.MaxInt64-off) {
		return fmt.Errorf("%#x bytes at file offset %#x end beyond 2^63", fileSize, off)
	}
	inFile := fileSize
	if b.size >= 0 {
		inFile = min(fileSize, uint64(max(0, b.size-int64(min(off, math.MaxInt64)))))
	}
	b.order++
	b.add(start, start+inFile, off, InFile)
	b.add(start+inFile, start+fileSize, off+inFile, CutOff)
	b.add(start+fileSize, end, 0, Excluded)
	if len(b.ext) > MaxSegments {
		return errTooMany
	}
	return nil
}

func (b *Builder) add(start, end, off uint64, s State) {
	if start < end {
		b.ext = append(b.ext, Extent{Start: start, End: end, Off: int64(off), State: s, order: b.order})
	}
}

// Map is the memory of a file. It implements [physmem.Reader].
type Map struct {
	r      io.ReaderAt
	format string
	ext    []Extent
	ranges []physmem.Range
}

// Build makes the map; the Builder is used up. The format is named in errors.
func (b *Builder) Build(r io.ReaderAt, format string) (*Map, error) {
	ext, err := resolve(b.ext)
	b.ext = nil
	if err != nil {
		return nil, err
	}
	return &Map{r: r, format: format, ext: ext, ranges: rangesOf(ext)}, nil
}

// rangesOf joins what is adjacent in memory, wherever it is in the file. There may be a million, so they are counted first.
func rangesOf(ext []Extent) []physmem.Range {
	starts := func(i int) bool { return i == 0 || ext[i-1].End != ext[i].Start }
	n := 0
	for i := range ext {
		if starts(i) {
			n++
		}
	}
	ranges := make([]physmem.Range, 0, n)
	for i, e := range ext {
		if starts(i) {
			ranges = append(ranges, physmem.Range{Start: x86.Phys(e.Start)})
		}
		ranges[len(ranges)-1].End = x86.Phys(e.End)
	}
	return ranges
}

// Extents returns the memory with its places in the file, ascending and disjoint. The caller must not change it.
func (m *Map) Extents() []Extent { return m.ext }

// Missing returns the number of bytes that the file should hold but ends before.
func (m *Map) Missing() (n uint64) {
	for _, e := range m.ext {
		if e.State == CutOff {
			n += e.End - e.Start
		}
	}
	return n
}

// Ranges implements [physmem.Reader].
func (m *Map) Ranges() []physmem.Range { return m.ranges }

// ReadFrame implements [physmem.Reader].
func (m *Map) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if err := m.readFrame(pfn, dst); err != nil {
		return &physmem.FrameError{PFN: pfn, Err: err}
	}
	return nil
}

func (m *Map) readFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if pfn > math.MaxUint64>>x86.PageShift {
		return physmem.ErrAbsent
	}
	at := uint64(pfn.Phys())
	i := sort.Search(len(m.ext), func(i int) bool { return m.ext[i].End > at })
	for done := 0; done < len(dst); i++ { // more than once only where an extent ends inside the frame
		if i == len(m.ext) || m.ext[i].Start > at {
			return physmem.ErrAbsent
		}
		e := &m.ext[i]
		off := e.Off + int64(at-e.Start)
		switch e.State {
		case Excluded:
			return physmem.ErrExcluded
		case CutOff:
			return ferr.At(m.format, off, ferr.ErrTruncated)
		}
		n := int(min(uint64(len(dst)-done), e.End-at))
		if err := ferr.ReadAt(m.r, dst[done:done+n], off, m.format); err != nil {
			return err
		}
		done += n
		at += uint64(n)
	}
	return nil
}

// resolve sorts the extents and cuts them where they overlap. It reuses their memory.
func resolve(ext []Extent) ([]Extent, error) {
	slices.SortFunc(ext, func(a, b Extent) int { return cmp.Compare(a.Start, b.Start) })
	if disjoint(ext) {
		out := ext[:0]
		for _, e := range ext {
			out = appendJoined(out, e)
		}
		return slices.Clip(out), nil
	}

	// A sweep over the addresses. The heap holds the extents that start at or below pos, the best on top; those
	// that have ended are dropped when they get there.
	var out []Extent
	active := &byRank{ext: ext}
	next := 0
	for pos := uint64(0); ; {
		for active.Len() > 0 && ext[active.top()].End <= pos {
			heap.Pop(active)
		}
		if active.Len() == 0 {
			if next == len(ext) {
				return out, nil
			}
			pos = ext[next].Start
		}
		for next < len(ext) && ext[next].Start <= pos {
			heap.Push(active, int32(next))
			next++
		}
		piece := ext[active.top()]
		if piece.State != Excluded {
			piece.Off += int64(pos - piece.Start)
		}
		piece.Start = pos
		if next < len(ext) {
			piece.End = min(piece.End, ext[next].Start)
		}
		out = appendJoined(out, piece)
		if len(out) > MaxSegments {
			return nil, errors.New("memory segments overlap too often")
		}
		pos = piece.End
	}
}

func disjoint(ext []Extent) bool {
	for i := 1; i < len(ext); i++ {
		if ext[i].Start < ext[i-1].End {
			return false
		}
	}
	return true
}

// appendJoined appends e, or lengthens the last extent where e continues it in memory and in the file.
func appendJoined(out []Extent, e Extent) []Extent {
	if n := len(out); n > 0 {
		l := &out[n-1]
		if l.End == e.Start && l.State == e.State &&
			(e.State == Excluded || l.Off+int64(l.End-l.Start) == e.Off) {
			l.End = e.End
			return out
		}
	}
	return append(out, e)
}

// byRank is a heap of indexes into ext: the better state first, then the earlier segment.
type byRank struct {
	ext []Extent
	idx []int32
}

func (h *byRank) top() int32    { return h.idx[0] }
func (h *byRank) Len() int      { return len(h.idx) }
func (h *byRank) Swap(i, j int) { h.idx[i], h.idx[j] = h.idx[j], h.idx[i] }
func (h *byRank) Push(x any)    { h.idx = append(h.idx, x.(int32)) }
func (h *byRank) Pop() any {
	n := len(h.idx) - 1
	x := h.idx[n]
	h.idx = h.idx[:n]
	return x
}
func (h *byRank) Less(i, j int) bool {
	a, b := &h.ext[h.idx[i]], &h.ext[h.idx[j]]
	return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.order, b.order)) < 0
}
