package kdump

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"sort"

	"ptemu/capture/ferr"
)

const (
	flatSignature  = "makedumpfile\x00\x00\x00\x00"
	flatType       = 1
	flatVersion    = 1
	flatHeaderSize = 4096
	recordHeader   = 16
	flatEnd        = -1

	// maxRuns bounds the index: 24 bytes a run.
	maxRuns = 1 << 20
	// rampRuns and maxChain decide how many records a run may have: one for the first rampRuns runs, two for the next,
	// doubling up to maxChain. So the files of small machines have an exact index, and those of large ones (64
	// million records for 1 TiB) one that fits in memory and costs up to maxChain header reads to follow.
	rampRuns = 1 << 14
	maxChain = 256
)

// Flat gives the bytes of a flattened file in their places: the file that makedumpfile -R would make. That is a
// kdump file, or an ELF core (makedumpfile -F -E).
type Flat struct {
	r    io.ReaderAt
	runs []run // ascending, disjoint
	size int64 // of the rearranged file
}

// Size returns the size of the rearranged file in bytes.
func (f *Flat) Size() int64 { return f.size }

// run is bytes [start, end) of the rearranged file. They are in a chain of records that follow each other in both
// files; first is the place of the header of one of them, at or before start. A chain is always older or newer than
// another as a whole, and first tells which.
type run struct{ start, end, first int64 }

// IsFlat reports whether a file that begins with head is flattened.
func IsFlat(head []byte) bool { return bytes.HasPrefix(head, []byte(flatSignature)) }

// OpenFlat reads all record headers of r, whose first bytes are known to be the signature. Its size may be -1, not
// known.
func OpenFlat(r io.ReaderAt, size int64) (*Flat, error) {
	var h [32]byte
	if err := ferr.ReadAt(r, h[:], 0, formatFlat); err != nil {
		return nil, err
	}
	if t := int64(binary.BigEndian.Uint64(h[16:])); t != flatType {
		return nil, ferr.New(formatFlat, 16, "type %d, want %d", t, flatType)
	}
	if v := int64(binary.BigEndian.Uint64(h[24:])); v != flatVersion {
		return nil, ferr.New(formatFlat, 24, "version %d, want %d", v, flatVersion)
	}
	f := &Flat{r: r}
	chain := 0 // records in the last run
	for pos := int64(flatHeaderSize); ; {
		off, n, err := f.record(pos)
		if err != nil {
			return nil, err
		}
		if off == flatEnd {
			break
		}
		data := pos + recordHeader
		if n > math.MaxInt64-data || size >= 0 && data+n > size {
			return nil, ferr.New(formatFlat, pos, "%w: record of %#x bytes", ferr.ErrTruncated, n)
		}
		longest := min(1<<min(len(f.runs)/rampRuns, 30), maxChain)
		if last := len(f.runs) - 1; last >= 0 && f.runs[last].end == off && chain < longest {
			f.runs[last].end += n
			chain++
		} else {
			if len(f.runs) == maxRuns {
				return nil, ferr.New(formatFlat, pos, "more than %d separate pieces: rearrange the file with makedumpfile -R", maxRuns)
			}
			f.runs = append(f.runs, run{off, off + n, pos})
			chain = 1
		}
		pos = data + n
	}
	f.runs = lastWins(f.runs)
	if n := len(f.runs); n > 0 {
		f.size = f.runs[n-1].end
	}
	return f, nil
}

// record reads the record header at pos: what it says, checked as far as it can be on its own.
func (f *Flat) record(pos int64) (off, n int64, err error) {
	b := headerBuf.Get().(*[recordHeader]byte)
	defer headerBuf.Put(b)
	if err := ferr.ReadAt(f.r, b[:], pos, formatFlat); err != nil {
		return 0, 0, err
	}
	off, n = int64(binary.BigEndian.Uint64(b[:])), int64(binary.BigEndian.Uint64(b[8:]))
	if off == flatEnd {
		return off, 0, nil
	}
	if off < 0 || n <= 0 || off > math.MaxInt64-n {
		return 0, 0, ferr.New(formatFlat, pos, "record of %d bytes for offset %d", n, off)
	}
	return off, n, nil
}

// lastWins sorts runs by where they start and cuts them so that none overlaps another: of several that hold a
// byte, the one that comes last in the file keeps it.
func lastWins(runs []run) []run {
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.start, b.start) })
	overlap := false
	for i := 1; i < len(runs); i++ {
		overlap = overlap || runs[i].start < runs[i-1].end
	}
	if !overlap {
		return runs
	}
	var out []run
	var open newestFirst // those that begin at or before the byte at, and some that end before it
	for at, i := int64(0), 0; i < len(runs) || len(open) > 0; {
		for len(open) > 0 && open[0].end <= at {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			if i == len(runs) {
				break
			}
			at = runs[i].start
		}
		for ; i < len(runs) && runs[i].start == at; i++ {
			heap.Push(&open, runs[i])
		}
		top := open[0]
		end := top.end
		if i < len(runs) {
			end = min(end, runs[i].start)
		}
		if n := len(out); n > 0 && out[n-1].first == top.first {
			out[n-1].end = end
		} else {
			out = append(out, run{at, end, top.first})
		}
		at = end
	}
	return out
}

type newestFirst []run

func (h newestFirst) Len() int           { return len(h) }
func (h newestFirst) Less(i, j int) bool { return h[i].first > h[j].first }
func (h newestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *newestFirst) Push(x any)        { *h = append(*h, x.(run)) }
func (h *newestFirst) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// ReadAt reads bytes of the rearranged file. A byte that no record holds ends the read with an error: makedumpfile
// -R would leave a zero there, which nobody wrote.
func (f *Flat) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ferr.New(formatRearranged, off, "negative offset")
	}
	done := 0
	i := sort.Search(len(f.runs), func(i int) bool { return f.runs[i].end > off })
	for ; done < len(p); i++ {
		at := off + int64(done)
		if at >= f.size {
			return done, io.EOF
		}
		if f.runs[i].start > at {
			return done, ferr.New(formatRearranged, at, "no record holds this byte, the next begins at %#x", f.runs[i].start)
		}
		n, err := f.readRun(f.runs[i], p[done:], at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readRun reads from one run, from at up to its end or the end of p.
func (f *Flat) readRun(r run, p []byte, at int64) (int, error) {
	p = p[:min(int64(len(p)), r.end-at)]
	done := 0
	for pos, next := r.first, int64(-1); done < len(p); {
		off, n, err := f.record(pos)
		if err != nil {
			return done, err
		}
		if off < 0 || off > at || next >= 0 && off != next {
			return done, ferr.New(formatFlat, pos, "the record is not the one that was here before")
		}
		data := pos + recordHeader
		if skip := at - off; skip < n {
			part := p[done:min(int64(len(p)), int64(done)+n-skip)]
			if err := ferr.ReadAt(f.r, part, data+skip, formatFlat); err != nil {
				return done, err
			}
			done += len(part)
			at += int64(len(part))
		}
		pos, next = data+n, off+n
	}
	return done, nil
}
