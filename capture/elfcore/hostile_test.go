package elfcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func TestHostile(t *testing.T) {
	const k = 4096
	const big = math.MaxUint64
	sample := func(set func(c *core)) *core {
		c := newCore(loadSeg(k, k, k)).frames(k, 1, 1)
		set(c)
		return c
	}
	for _, c := range []struct {
		name string
		core *core
		off  int64
	}{
		{"class 0", sample(func(c *core) { c.class = 0 }), 4},
		{"class 255", sample(func(c *core) { c.class = 255 }), 4},
		{"big-endian", sample(func(c *core) { c.data = 2 }), 5},
		{"an executable", sample(func(c *core) { c.typ = 2 }), 16},
		{"AArch64", sample(func(c *core) { c.machine = 183 }), 18},
		{"no segments", newCore(), 0},
		{"only notes", newCore().notes(k, elfnote.VMCoreInfoNote([]byte("x"))), 0},
		{"e_phentsize 0xffff", sample(func(c *core) { c.phEntSize = 0xffff }), 54},
		{"e_phentsize of the other class", sample(func(c *core) { c.phEntSize = 32 }), 54},
		{"e_phnum beyond the file", sample(func(c *core) { c.phNum = 0xfffe }), 64},
		{"e_phoff beyond the file", sample(func(c *core) { c.phOff = 1 << 32 }), 1 << 32},
		{"e_phoff 2^63-1", sample(func(c *core) { c.phOff = math.MaxInt64 }), 32},
		{"e_phoff 2^64-1", sample(func(c *core) { c.phOff = big }), 32},
		{"e_phentsize 0xffff, ELF32", sample(func(c *core) { c.class, c.phEntSize = 1, 0xffff }), 42},
		{"PN_XNUM without section header", sample(func(c *core) { c.phNum = 0xffff }), 40},
		{"PN_XNUM, e_shoff beyond the file", sample(func(c *core) { c.xnum, c.shOff = true, 1<<32 }), 1 << 32},
		{"PN_XNUM, e_shoff 2^64-1", sample(func(c *core) { c.xnum, c.shOff = true, big }), 40},
		{"PN_XNUM, sh_info 2^32-1", sample(func(c *core) { c.xnum, c.shInfo = true, 1<<32-1 }), 64 + 56},
		{"PN_XNUM, sh_info beyond the file", sample(func(c *core) { c.xnum, c.shInfo = true, 1<<19 }), 64},
		{"memory ends beyond 2^64", newCore(seg{typ: 1, off: k, paddr: big - k + 1, memsz: 2 * k}), 64},
		{"memory ends at 2^64", newCore(loadSeg(1, 1, 1), seg{typ: 1, off: k, paddr: big - k + 1, memsz: k}), 64 + 56},
		{"p_memsz 2^64-1", newCore(seg{typ: 1, off: k, paddr: k, filesz: 1, memsz: big}), 64},
		{"p_offset+p_filesz beyond 2^63", newCore(seg{typ: 1, off: math.MaxInt64 - k, paddr: k, filesz: 2 * k, memsz: 2 * k}), 64},
		{"p_offset 2^64-1", newCore(seg{typ: 1, off: big, paddr: k, filesz: 1, memsz: 1}), 64},
		{"p_filesz 2^64-1", newCore(seg{typ: 1, off: k, paddr: 0, filesz: big, memsz: big}), 64},
		{"no physical address", newCore(seg{typ: 1, off: k, paddr: big, filesz: k, memsz: k}), 0},
		{"the core of a process", newCore(loadSeg(0, k, k), loadSeg(0, 2*k, k)), 0},
		{"notes of 2^32 bytes", sample(func(c *core) { c.segs = append(c.segs, seg{typ: 4, off: k, filesz: 1 << 32}) }), 64 + 56},
		{"notes of 2^64-1 bytes", sample(func(c *core) { c.segs = append(c.segs, seg{typ: 4, off: k, filesz: big}) }), 64 + 56},
		{"notes at 2^64-1", sample(func(c *core) { c.segs = append(c.segs, seg{typ: 4, off: big, filesz: 16}) }), 64 + 56},
		{"notes beyond the file", sample(func(c *core) { c.segs = append(c.segs, seg{typ: 4, off: 9 * k, filesz: 16}) }), 64 + 56},
		{"notes that are none", sample(func(c *core) {
			c.segs = append(c.segs, seg{typ: 4, off: 3 * k, filesz: 8})
			c.data0[3*k] = []byte("deadbeef")
		}), 3 * k},
		{"CPU state of an unknown version", sample(func(c *core) {
			n := (&elfnote.CPU{}).Note()
			n.Desc[0] = 9
			c.notes(3*k, n)
		}), 3 * k},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.core.bytes()
			capturetest.Small(t, func() {
				f, err := Open(bytes.NewReader(b), int64(len(b)))
				if f != nil {
					t.Fatalf("opened: %+v", f)
				}
				capturetest.WantFormatError(t, err, c.off)
			})
		})
	}
}

// TestHostileSizeUnknown: what a known size refuses at once must end soon without it, too.
func TestHostileSizeUnknown(t *testing.T) {
	const k = 4096
	for _, c := range []*core{
		newCore(loadSeg(0, k, 1<<62)),
		newCore(loadSeg(0, 1<<62, 1<<62)),
		newCore(loadSeg(0, math.MaxInt64-k, k)),
		newCore(loadSeg(1<<63, k, 1<<62)),
		newCore(loadSeg(k, k, k), seg{typ: 4, off: k, filesz: maxNoteBytes}),
		newCore(loadSeg(k, k, k), seg{typ: 4, off: 1 << 62, filesz: maxNoteBytes}),
	} {
		checkLaws(t, c.bytes(), -1)
	}
}

// TestManyNoteSegments: headers that all point at the same notes are not read more than maxNoteBytes in all.
func TestManyNoteSegments(t *testing.T) {
	c := newCore(loadSeg(4096, 4096, 4096)).frames(4096, 1, 1)
	c.notes(8192, elfnote.Note{Name: "x", Desc: bytes.Repeat([]byte{1}, maxNoteBytes/4)})
	for range 5 {
		c.segs = append(c.segs, c.segs[1])
	}
	b := c.bytes()
	capturetest.Small(t, func() {
		_, err := Open(bytes.NewReader(b), int64(len(b)))
		capturetest.WantFormatError(t, err, 64+4*56)
	})
}

func sampleCore() *core {
	const k = 4096
	cpu := elfnote.CPU{CR3: 0x1000, HasKernelGSBase: true}
	c := newCore(
		loadSeg(0x1000, k, 2*k),
		seg{typ: 1, off: 3 * k, paddr: 5 * k, filesz: k, memsz: 2 * k},
		loadSeg(2*k, 4*k, k+0x800), // overlaps, and ends inside a frame
	).frames(k, 1, 2).frames(3*k, 5, 1).frames(4*k, 2, 2)
	c.notes(0x400, elfnote.Note{Name: "CORE", Type: 1, Desc: make([]byte, 336)}, cpu.Note(), elfnote.VMCoreInfoNote([]byte("OSRELEASE=x\n")))
	c.xnum = true
	return c
}

// TestTruncatedAnywhere: cut off at any byte of its headers and some of its memory, a file fails to open with an error
// that names a place, or gives right frames and errors, never others.
func TestTruncatedAnywhere(t *testing.T) {
	whole := sampleCore().bytes()
	ref, err := Open(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	var cuts []int
	for n := range len(whole) {
		if n < 0x800 || n%0x100 < 2 {
			cuts = append(cuts, n)
		}
	}
	opened := 0
	for _, n := range cuts {
		for _, size := range []int64{int64(n), -1} {
			f, err := Open(bytes.NewReader(whole[:n]), size)
			if (f == nil) != (err != nil) {
				t.Fatalf("%#x bytes: %v with error %v", n, f, err)
			}
			if err != nil {
				var fe *ferr.FormatError
				if !errors.As(err, &fe) || !errors.Is(err, ferr.ErrTruncated) {
					t.Fatalf("%#x bytes: error %v", n, err)
				}
				continue
			}
			opened++
			for pfn := range x86.PFN(8) {
				var got, want physmem.Frame
				gerr, werr := f.ReadFrame(pfn, &got), ref.ReadFrame(pfn, &want)
				switch {
				case gerr == nil && (werr != nil || got != want):
					t.Fatalf("%#x bytes: frame %d differs", n, pfn)
				case gerr != nil && werr == nil && !errors.Is(gerr, ferr.ErrTruncated):
					t.Fatalf("%#x bytes: frame %d: %v", n, pfn, gerr)
				}
			}
		}
	}
	if opened == 0 || opened == 2*len(cuts) {
		t.Errorf("%d of %d opened", opened, 2*len(cuts))
	}
}

// TestBitFlips flips every bit of the headers and notes: whatever that makes of the file, the laws hold.
func TestBitFlips(t *testing.T) {
	whole := sampleCore().bytes()
	for bit := range 0x700 * 8 {
		b := slices.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		for _, size := range []int64{int64(len(b)), -1} {
			checkLaws(t, b, size)
		}
	}
}

// TestExtremes sets every aligned 8 and 4 bytes of the headers to numbers at the edges.
func TestExtremes(t *testing.T) {
	whole := sampleCore().bytes()
	for off := 0; off < 0x700; off += 4 {
		for _, v := range []uint64{0, 1, 0xffff, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 4096, 1<<64 - 1} {
			b := slices.Clone(whole)
			if off%8 == 0 {
				binary.LittleEndian.PutUint64(b[off:], v)
			} else {
				binary.LittleEndian.PutUint32(b[off:], uint32(v))
			}
			for _, size := range []int64{int64(len(b)), -1} {
				checkLaws(t, b, size)
			}
		}
	}
}

// checkLaws opens b and reads of it: an error names a place and comes without a file.
func checkLaws(t *testing.T, b []byte, size int64) {
	t.Helper()
	capturetest.Small(t, func() {
		f, err := Open(bytes.NewReader(b), size)
		if err != nil {
			var fe *ferr.FormatError
			if f != nil || !errors.As(err, &fe) {
				t.Fatalf("%v with error %v", f, err)
			}
			return
		}
		capturetest.Probe(t, f)
	})
}

func FuzzELF(f *testing.F) {
	f.Add(sampleCore().bytes()[:0x2000])
	c32 := newCore(loadSeg(4096, 0x200, 4096), loadSeg(4096, 0x300, 8192))
	c32.class, c32.machine = 1, 3
	f.Add(c32.bytes())
	kcore := newCore(seg{typ: 1, off: 1 << 40, paddr: math.MaxUint64, filesz: 1 << 40, memsz: 1 << 40}, loadSeg(0, 0x100, 4096))
	f.Add(kcore.bytes())
	f.Add(golden(f, "qemu-7.2-paging-on.head"))
	f.Add(golden(f, "qemu-7.2-firmware.head"))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkLaws(t, b, int64(len(b)))
		checkLaws(t, b, -1)
	})
}
