package segmap

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

const unit = 512 // what the segments below are multiples of: eight to a frame

type segment struct{ start, mem, file, off uint64 }

// TestAgainstModel compares with a model that knows, for each unit of memory, which unit of the file it is.
func TestAgainstModel(t *testing.T) {
	const frames, fileUnits = 8, 64
	file := make([]byte, fileUnits*unit)
	for i := range file {
		file[i] = byte(i/unit) + 1
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(hi int, name string) uint64 { return uint64(rapid.IntRange(0, hi).Draw(t, name)) }
		size := int(draw(fileUnits, "file size")) * unit
		known := rapid.Bool().Draw(t, "size known")
		segs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) segment {
			draw := func(hi int, name string) uint64 { return uint64(rapid.IntRange(0, hi).Draw(t, name)) }
			return segment{draw(frames*8-1, "start"), draw(40, "mem"), draw(40, "file"), draw(fileUnits, "off")}
		}), 0, 10).Draw(t, "segments")

		b := NewBuilder(-1, 0)
		if known {
			b = NewBuilder(int64(size), 0)
		}
		// The model: for each unit the place in the file, or why there is none. Without the size of the file, a
		// unit beyond its end counts as in the file.
		const absent, excluded, cutOff = -1, -2, -3
		type place struct {
			state State
			at    int
		}
		model := map[uint64]place{}
		for _, s := range segs {
			if err := b.Add(s.start*unit, s.mem*unit, s.file*unit, s.off*unit); err != nil {
				t.Fatal(err)
			}
			for i := range s.mem {
				p := place{InFile, int(s.off + i)}
				switch {
				case i >= s.file:
					p = place{Excluded, excluded}
				case known && p.at*unit >= size:
					p = place{CutOff, cutOff}
				}
				if old, ok := model[s.start+i]; !ok || p.state < old.state {
					model[s.start+i] = p
				}
			}
		}
		m, err := b.Build(bytes.NewReader(file[:size]), "test")
		if err != nil {
			t.Fatal(err)
		}

		for pfn := range x86.PFN(frames + 6) {
			var f physmem.Frame
			err := m.ReadFrame(pfn, &f)
			for u := range 8 {
				p, ok := model[uint64(pfn)*8+uint64(u)]
				switch {
				case !ok:
					p.at = absent
				case p.state == InFile && p.at*unit >= size:
					p.at = cutOff
				}
				if p.at >= 0 {
					if err == nil && f[u*unit] != byte(p.at)+1 {
						t.Fatalf("frame %d unit %d is unit %d of the file, want %d", pfn, u, int(f[u*unit])-1, p.at)
					}
					continue
				}
				want := map[int]error{absent: physmem.ErrAbsent, excluded: physmem.ErrExcluded, cutOff: ferr.ErrTruncated}[p.at]
				if !errors.Is(err, want) {
					t.Fatalf("frame %d: error %v, unit %d says %v", pfn, err, u, want)
				}
				err = fmt.Errorf("seen")
				break
			}
			if err != nil && err.Error() != "seen" {
				t.Fatalf("frame %d: %v, but all of it is in the file", pfn, err)
			}
		}

		var last Extent
		for i, e := range m.Extents() {
			if e.Start >= e.End || i > 0 && e.Start < last.End {
				t.Fatalf("extent %+v after %+v", e, last)
			}
			for u := e.Start; u < e.End; u += unit {
				if model[u/unit].state != e.State {
					t.Fatalf("extent %+v, the model has %v at %#x", e, model[u/unit], u)
				}
				delete(model, u/unit)
			}
			last = e
		}
		if len(model) > 0 {
			t.Fatalf("not in any extent: %v", model)
		}
	})
}

func TestAddOverflow(t *testing.T) {
	for _, s := range []segment{
		{start: math.MaxUint64, mem: 1},
		{start: 1, mem: math.MaxUint64},
		{start: 0x1000, mem: 1 << 63, file: 1 << 63},
		{start: 0, mem: math.MaxUint64, file: math.MaxUint64},
		{start: 0, mem: 1, file: 1, off: math.MaxUint64},
		{start: 0, mem: 1, file: 1, off: 1 << 63},
		{start: 0, mem: 2, file: 2, off: math.MaxInt64 - 1},
	} {
		for _, size := range []int64{-1, 0, 1 << 20, math.MaxInt64} {
			if err := NewBuilder(size, 0).Add(s.start, s.mem, s.file, s.off); err == nil {
				t.Errorf("size %#x: no error for %+v", size, s)
			}
		}
	}
	// As big as can be, and right.
	for _, s := range []segment{
		{start: 0, mem: math.MaxUint64},
		{start: 1, mem: math.MaxUint64 - 1, off: math.MaxUint64},
		{start: math.MaxUint64 - 1, mem: 1, file: 1, off: math.MaxInt64 - 1},
		{start: 0, mem: 5, file: math.MaxUint64, off: math.MaxInt64 - 5},
		{start: math.MaxUint64, mem: 0, file: 5, off: math.MaxUint64},
	} {
		for _, size := range []int64{-1, 0, 1 << 20, math.MaxInt64} {
			b := NewBuilder(size, 0)
			if err := b.Add(s.start, s.mem, s.file, s.off); err != nil {
				t.Errorf("size %#x: %+v: %v", size, s, err)
				continue
			}
			m, err := b.Build(bytes.NewReader(nil), "test")
			if err != nil {
				t.Fatal(err)
			}
			capturetest.Probe(t, m)
		}
	}
}

func TestTooMany(t *testing.T) {
	b := NewBuilder(-1, 0)
	for i := range uint64(MaxSegments) {
		if err := b.Add(i*2*x86.PageSize, x86.PageSize, x86.PageSize, i); err != nil {
			t.Fatalf("segment %d: %v", i, err)
		}
	}
	if err := b.Add(1<<50, 1, 1, 0); err == nil {
		t.Fatal("one too many was taken")
	}

	// Nested segments, each with the best claim on its middle, fall into nearly twice as many extents.
	b = NewBuilder(-1, 0)
	for i := range uint64(MaxSegments) {
		j := i + 1
		if err := b.Add(1<<40-j*512, j*1024, j*1024, i<<32); err != nil {
			t.Fatal(err)
		}
	}
	capturetest.Small(t, func() {
		if _, err := b.Build(bytes.NewReader(nil), "test"); err == nil {
			t.Fatal("no error for too many overlaps")
		}
	})
}
