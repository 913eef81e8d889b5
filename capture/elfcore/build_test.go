package elfcore

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/physmem"
)

// core is an ELF core made by hand, field by field, so that a test can set each of them wrong. Segments are placed by
// their file offset; data beyond the headers is what the test puts there.
type core struct {
	class, data      byte
	typ, machine     uint16
	ehSize           uint16
	phOff            uint64 // 0: right behind the header
	phEntSize, phNum uint16 // 0: the right one
	xnum             bool   // PN_XNUM, with section header 0 behind the program headers
	shOff, shInfo    uint64 // 0: the right one
	segs             []seg
	data0            map[int64][]byte // file content by offset
	size             int              // of the file; 0: as far as the content goes
}

type seg struct {
	typ                              uint32
	off, vaddr, paddr, filesz, memsz uint64
	align                            uint64
}

func newCore(segs ...seg) *core {
	return &core{class: 2, data: 1, typ: 4, machine: 62, ehSize: 64, segs: segs, data0: map[int64][]byte{}}
}

// loadSeg is a PT_LOAD whose frames are all in the file.
func loadSeg(paddr, off, size uint64) seg {
	return seg{typ: 1, off: off, paddr: paddr, filesz: size, memsz: size}
}

// frames puts the patterns of n frames, from pfn on, at off.
func (c *core) frames(off int64, pfn x86.PFN, n int) *core {
	for i := range n {
		c.data0[off+int64(i)*x86.PageSize] = pattern(pfn + x86.PFN(i))[:]
	}
	return c
}

// pattern is a frame of a repeated byte and its number: enough to tell frames apart.
func pattern(pfn x86.PFN) *physmem.Frame {
	var f physmem.Frame
	for i := 0; i < len(f); i += 8 {
		binary.LittleEndian.PutUint64(f[i:], uint64(pfn)*0x9e3779b97f4a7c15+uint64(i))
	}
	return &f
}

func (c *core) bytes() []byte {
	le := binary.LittleEndian
	is32 := c.class == 1
	ehLen, phLen := 64, 56
	if is32 {
		ehLen, phLen = 52, 32
	}
	phOff := c.phOff
	if phOff == 0 {
		phOff = uint64(ehLen)
	}
	entSize, num := c.phEntSize, c.phNum
	if entSize == 0 {
		entSize = uint16(phLen)
	}
	if num == 0 {
		num = uint16(len(c.segs))
	}
	shOff, info := c.shOff, c.shInfo
	if c.xnum {
		num = 0xffff
		if shOff == 0 {
			shOff = phOff + uint64(len(c.segs)*phLen)
		}
		if info == 0 {
			info = uint64(len(c.segs))
		}
	}

	word := func(b []byte, v uint64) []byte {
		if is32 {
			return le.AppendUint32(b, uint32(v))
		}
		return le.AppendUint64(b, v)
	}
	h := append([]byte("\x7fELF"), c.class, c.data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	h = le.AppendUint16(h, c.typ)
	h = le.AppendUint16(h, c.machine)
	h = le.AppendUint32(h, 1)
	h = word(h, 0)
	h = word(h, phOff)
	h = word(h, shOff)
	h = le.AppendUint32(h, 0)
	for _, v := range []uint16{c.ehSize, entSize, num, 0, 0, 0} {
		h = le.AppendUint16(h, v)
	}

	var p []byte
	for _, s := range c.segs {
		p = le.AppendUint32(p, s.typ)
		if is32 {
			for _, v := range []uint64{s.off, s.vaddr, s.paddr, s.filesz, s.memsz, 0, s.align} {
				p = le.AppendUint32(p, uint32(v))
			}
			continue
		}
		p = le.AppendUint32(p, 0)
		for _, v := range []uint64{s.off, s.vaddr, s.paddr, s.filesz, s.memsz, s.align} {
			p = le.AppendUint64(p, v)
		}
	}
	if c.xnum {
		s := make([]byte, 64)
		if is32 {
			le.PutUint32(s[28:], uint32(info))
		} else {
			le.PutUint32(s[44:], uint32(info))
		}
		p = append(p, s...)
	}

	out := slices.Clone(h)
	put := func(off int64, b []byte) {
		if need := int(off) + len(b); need > len(out) {
			out = append(out, make([]byte, need-len(out))...)
		}
		copy(out[off:], b)
	}
	if phOff < 1<<30 {
		put(int64(phOff), p)
	}
	for _, off := range slices.Sorted(maps.Keys(c.data0)) {
		put(off, c.data0[off])
	}
	if c.size > 0 {
		put(int64(c.size), nil)
		out = out[:c.size]
	}
	return out
}

func (c *core) open() (*File, error) {
	b := c.bytes()
	return Open(bytes.NewReader(b), int64(len(b)))
}

// notes adds the notes at off and returns the segment for them.
func (c *core) notes(off int64, notes ...elfnote.Note) *core {
	var b []byte
	for _, n := range notes {
		b = elfnote.Append(b, n)
	}
	c.data0[off] = b
	c.segs = append(c.segs, seg{typ: 4, off: uint64(off), filesz: uint64(len(b))})
	return c
}
