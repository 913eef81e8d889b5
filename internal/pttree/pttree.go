// Package pttree builds trees of page tables by hand, for tests: sparse memory in which single entries are set, as
// the kernel would set them or as it never would. Entries are raw; nothing is checked.
//
// What must always hold: a frame is readable exactly if a table was put there.
package pttree

import (
	"bytes"
	"encoding/binary"
	"slices"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Mem is sparse memory: its frames are the tables that were made. It is a [physmem.Reader].
type Mem struct {
	frames map[x86.PFN]*physmem.Table
	failed map[x86.PFN]error
	// OnRead, if not nil, is told of every frame read.
	OnRead func(x86.PFN)
	next   x86.PFN
}

// New returns empty memory, whose first new table will be in frame first.
func New(first x86.PFN) *Mem {
	return &Mem{frames: map[x86.PFN]*physmem.Table{}, failed: map[x86.PFN]error{}, next: first}
}

// Table makes an empty table in the next frame.
func (m *Mem) Table() x86.PFN {
	m.next++
	m.At(m.next - 1)
	return m.next - 1
}

// At returns the table in frame f, making it if need be.
func (m *Mem) At(f x86.PFN) *physmem.Table {
	if m.frames[f] == nil {
		m.frames[f] = new(physmem.Table)
	}
	return m.frames[f]
}

// Fail makes reading frame f fail for this reason.
func (m *Mem) Fail(f x86.PFN, reason error) { m.failed[f] = reason }

// Fill sets all 512 entries of frame f to e.
func (m *Mem) Fill(f x86.PFN, e uint64) {
	t := m.At(f)
	for i := range t {
		t[i] = e
	}
}

// Map sets the entry of level l that translates va, in the tree of this root and depth. Missing tables on the way
// are made, and entered with the flags in table.
func (m *Mem) Map(root x86.PFN, levels int, va x86.Virt, l x86.Level, e, table uint64) {
	f := root
	for at := x86.Level(levels); at > l; at-- {
		slot := &m.At(f)[va.Index(at)]
		if *slot == 0 {
			*slot = uint64(m.Table().Phys()) | table
		}
		f = x86.Phys(*slot & (1<<52 - 1)).PFN()
	}
	m.At(f)[va.Index(l)] = e
}

// ReadFrame implements [physmem.Reader].
func (m *Mem) ReadFrame(f x86.PFN, dst *physmem.Frame) error {
	if m.OnRead != nil {
		m.OnRead(f)
	}
	if err := m.failed[f]; err != nil {
		return &physmem.FrameError{PFN: f, Err: err}
	}
	t := m.frames[f]
	if t == nil {
		return &physmem.FrameError{PFN: f, Err: physmem.ErrAbsent}
	}
	for i, e := range t {
		binary.LittleEndian.PutUint64(dst[8*i:], e)
	}
	return nil
}

// Ranges implements [physmem.Reader].
func (m *Mem) Ranges() []physmem.Range {
	var frames []x86.PFN
	for f := range m.frames {
		frames = append(frames, f)
	}
	slices.Sort(frames)
	var out []physmem.Range
	for _, f := range frames {
		if n := len(out); n > 0 && out[n-1].End == f.Phys() {
			out[n-1].End = (f + 1).Phys()
		} else {
			out = append(out, physmem.Range{Start: f.Phys(), End: (f + 1).Phys()})
		}
	}
	return out
}

// FromBytes makes memory of consecutive frames from first on, holding data; the last frame is filled up with zeros.
func FromBytes(first x86.PFN, data []byte) *Mem {
	m := New(first)
	for chunk := range slices.Chunk(data, x86.PageSize) {
		t := m.At(m.Table())
		b := bytes.NewReader(append(slices.Clone(chunk), make([]byte, x86.PageSize-len(chunk))...))
		if err := binary.Read(b, binary.LittleEndian, t); err != nil {
			panic(err) // not possible: the reader holds exactly one table
		}
	}
	return m
}
