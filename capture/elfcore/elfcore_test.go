package elfcore

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

// TestMachines compares every frame of real captures with what the standard library's ELF reader finds.
func TestMachines(t *testing.T) {
	for machine, frames := range capturetest.Machines {
		t.Run(machine, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(capturetest.Dir(t), machine, "tables.elf"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := elf.NewFile(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int64{int64(len(b)), -1} {
				f, err := Open(bytes.NewReader(b), size)
				if err != nil {
					t.Fatal(err)
				}
				if n := physmem.TotalLen(f.Ranges()) / x86.PageSize; n != uint64(frames) {
					t.Errorf("%d frames, want %d", n, frames)
				}
				mem := capturetest.Mem{}
				for _, p := range want.Progs {
					if p.Type != elf.PT_LOAD {
						continue
					}
					for off := uint64(0); off < p.Filesz; off += x86.PageSize {
						frame := new(physmem.Frame)
						if _, err := p.ReadAt(frame[:], int64(off)); err != nil {
							t.Fatal(err)
						}
						mem[x86.Phys(p.Paddr+off).PFN()] = frame
					}
				}
				if len(mem) != frames {
					t.Fatalf("debug/elf finds %d frames, want %d", len(mem), frames)
				}
				capturetest.Same(t, f, mem)

				regs := capturetest.Registers(t, machine)
				if len(f.CPUs) != len(regs) || f.CPUs[0].CR3 != regs[0]["CR3"] {
					t.Errorf("CPUs are %+v, want CR3 %#x", f.CPUs, regs[0]["CR3"])
				}
				if !strings.HasPrefix(string(f.VMCoreInfo), "OSRELEASE=") {
					t.Errorf("VMCOREINFO is %.40q", f.VMCoreInfo)
				}
				if f.Format() != "ELF core (QEMU)" || f.Missing() != 0 || f.NoPhys != 0 {
					t.Errorf("format %q, %d missing, %d without address", f.Format(), f.Missing(), f.NoPhys)
				}
			}
		})
	}
}

// TestShapes opens cores with the oddities of the programs that write them. A frame wanted as nil is excluded.
func TestShapes(t *testing.T) {
	const k = 4096
	none := uint64(1<<64 - 1)
	for _, c := range []struct {
		name  string
		core  *core
		want  capturetest.Mem
		check func(t *testing.T, f *File)
		// Without the size, that a segment is cut off shows only when it is read.
		sizeKnown bool
	}{
		{name: "plain", core: newCore(loadSeg(2*k, k, 2*k)).frames(k, 2, 2),
			want: capturetest.Mem{2: pattern(2), 3: pattern(3)}},
		{name: "QEMU 7.2: e_ehsize 8, EM_386 in ELF64", core: func() *core {
			c := newCore(loadSeg(0, k, k)).frames(k, 0, 1)
			c.ehSize, c.machine = 8, 3
			return c
		}(), want: capturetest.Mem{0: pattern(0)}},
		{name: "QEMU, 32-bit guest: ELFCLASS32", core: func() *core {
			c := newCore(loadSeg(5*k, k, 2*k)).frames(k, 5, 2)
			c.class, c.machine = 1, 3
			cpu := elfnote.CPU{CR3: 0x3000}
			return c.notes(4*k, cpu.Note())
		}(), want: capturetest.Mem{5: pattern(5), 6: pattern(6)}, check: func(t *testing.T, f *File) {
			if len(f.CPUs) != 1 || f.CPUs[0].CR3 != 0x3000 {
				t.Errorf("CPUs are %+v", f.CPUs)
			}
		}},
		{name: "QEMU paging=on: rubbish p_vaddr, aliases, partial overlap", core: newCore(
			seg{typ: 1, off: k, vaddr: 0xffff7fffffffe000, paddr: 8 * k, filesz: 3 * k, memsz: 3 * k},
			seg{typ: 1, off: 2 * k, vaddr: 0x400000, paddr: 9 * k, filesz: k, memsz: k}, // the same frame
			seg{typ: 1, off: 3 * k, vaddr: 0x800000, paddr: 10 * k, filesz: 2 * k, memsz: 2 * k},
			seg{typ: 1, off: none, vaddr: 0x900000, paddr: 20 * k, memsz: k}, // not in any RAM block
			seg{typ: 1, off: k, paddr: 8 * k, filesz: 4 * k, memsz: 4 * k},
		).frames(k, 8, 4), want: capturetest.Mem{8: pattern(8), 9: pattern(9), 10: pattern(10), 11: pattern(11), 20: nil}},
		{name: "the first segment that covers a frame wins", core: newCore(
			loadSeg(k, 2*k, k), loadSeg(0, 3*k, 3*k),
		).frames(2*k, 100, 4), want: capturetest.Mem{0: pattern(101), 1: pattern(100), 2: pattern(103)}},
		{name: "bytes in the file win over excluded and cut-off ones", sizeKnown: true, core: newCore(
			seg{typ: 1, off: k, paddr: 0, filesz: 0, memsz: 2 * k},
			seg{typ: 1, off: 100 * k, paddr: k, filesz: k, memsz: k},
			loadSeg(0, 2*k, 2*k),
		).frames(2*k, 0, 2), want: capturetest.Mem{0: pattern(0), 1: pattern(1)}},
		{name: "makedumpfile -E: excluded at the end of a segment", core: newCore(
			seg{typ: 1, off: k, paddr: 0, filesz: k, memsz: 3 * k},
			seg{typ: 1, off: 2 * k, paddr: 3 * k, filesz: k, memsz: k},
			seg{typ: 1, off: 3 * k, paddr: 4 * k, filesz: 0, memsz: 2 * k},
		).frames(k, 0, 1).frames(2*k, 3, 1), want: capturetest.Mem{0: pattern(0), 1: nil, 2: nil, 3: pattern(3), 4: nil, 5: nil}},
		{name: "p_filesz above p_memsz", core: newCore(
			seg{typ: 1, off: k, paddr: 7 * k, filesz: 3 * k, memsz: k},
			seg{typ: 1, off: k, paddr: 9 * k, filesz: k, memsz: 0},
		).frames(k, 7, 3), want: capturetest.Mem{7: pattern(7)}},
		{name: "a frame in three segments", core: newCore(
			seg{typ: 1, off: 2*k + 0x800, paddr: k + 0x800, filesz: 0x800, memsz: 0x800},
			seg{typ: 1, off: k, paddr: 0, filesz: k + 0x100, memsz: k + 0x100},
			seg{typ: 1, off: 2*k + 0x100, paddr: k + 0x100, filesz: 0x700, memsz: 0x700},
		).frames(k, 0, 2), want: capturetest.Mem{0: pattern(0), 1: pattern(1)}},
		{name: "/proc/kcore: no physical address for modules and vmalloc", core: newCore(
			seg{typ: 1, off: 9 * k, vaddr: 0xffffc90000000000, paddr: none, filesz: 1 << 45, memsz: 1 << 45},
			seg{typ: 1, off: k, vaddr: 0xffffffff81000000, paddr: k, filesz: 2 * k, memsz: 2 * k},
			seg{typ: 1, off: 9 * k, vaddr: 0xffffffffc0000000, paddr: none, filesz: 1 << 30, memsz: 1 << 30},
			seg{typ: 1, off: 3 * k, vaddr: 0xffff888000000000, paddr: 0, filesz: 4 * k, memsz: 4 * k},
		).frames(k, 1, 2).frames(3*k, 0, 4), want: capturetest.Mem{0: pattern(0), 1: pattern(1), 2: pattern(2), 3: pattern(3)},
			check: func(t *testing.T, f *File) {
				if f.NoPhys != 2 || f.Format() != "ELF core (kcore)" {
					t.Errorf("%d segments without address, format %q", f.NoPhys, f.Format())
				}
			}},
		{name: "PN_XNUM", core: func() *core {
			c := newCore(loadSeg(2*k, k, k), loadSeg(4*k, 2*k, k)).frames(k, 2, 1).frames(2*k, 4, 1)
			c.xnum = true
			return c
		}(), want: capturetest.Mem{2: pattern(2), 4: pattern(4)}},
		{name: "PN_XNUM in ELFCLASS32", core: func() *core {
			c := newCore(loadSeg(2*k, k, k)).frames(k, 2, 1)
			c.xnum, c.class, c.machine = true, 1, 3
			return c
		}(), want: capturetest.Mem{2: pattern(2)}},
		{name: "unknown segment types, empty segments", core: newCore(
			seg{typ: 0x6474e551, off: none, filesz: none, memsz: none},
			seg{typ: 1, off: none, paddr: 3 * k}, seg{typ: 4, off: none}, loadSeg(k, k, k),
		).frames(k, 1, 1), want: capturetest.Mem{1: pattern(1)}},
		{name: "two note segments, padded to 4 and to 8", core: func() *core {
			c := newCore(loadSeg(k, k, k)).frames(k, 1, 1)
			c.notes(2*k, elfnote.VMCoreInfoNote([]byte("OSRELEASE=x\n")))
			eight := "\x04\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00abc\x00x\x00\x00\x00\x00\x00\x00\x00" +
				"\x04\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00abc\x00y"
			c.data0[3*k] = []byte(eight)
			c.segs = append(c.segs, seg{typ: 4, off: 3 * k, filesz: uint64(len(eight)), align: 8})
			return c
		}(), want: capturetest.Mem{1: pattern(1)}, check: func(t *testing.T, f *File) {
			if len(f.Notes) != 3 || f.Notes[2].Type != 8 || string(f.Notes[2].Desc) != "y" || f.Notes[2].Off != 3*k+24 {
				t.Errorf("notes are %+v", f.Notes)
			}
			if string(f.VMCoreInfo) != "OSRELEASE=x\n" {
				t.Errorf("VMCOREINFO is %q", f.VMCoreInfo)
			}
		}},
		{name: "p_align 8, but notes padded to 4", core: func() *core {
			c := newCore(loadSeg(k, k, k)).frames(k, 1, 1)
			c.notes(2*k, elfnote.Note{Name: "abc", Type: 7, Desc: []byte("x")}, elfnote.Note{Name: "abcd", Type: 8, Desc: []byte("y")})
			c.segs[1].align = 8
			return c
		}(), want: capturetest.Mem{1: pattern(1)}, check: func(t *testing.T, f *File) {
			if len(f.Notes) != 2 || f.Notes[1].Name != "abcd" || string(f.Notes[1].Desc) != "y" {
				t.Errorf("notes are %+v", f.Notes)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.core.bytes()
			for _, size := range []int64{int64(len(b)), -1} {
				if size < 0 && c.sizeKnown {
					continue
				}
				f, err := Open(bytes.NewReader(b), size)
				if err != nil {
					t.Fatal(err)
				}
				capturetest.Same(t, f, c.want)
				capturetest.Probe(t, f)
				if c.check != nil {
					c.check(t, f)
				}
			}
		})
	}
}

// TestUnaligned: the memory map of a PC ends its first range inside a frame, so that frame is not whole.
func TestUnaligned(t *testing.T) {
	f, err := newCore(loadSeg(0x1000, 0x1000, 0x9ec00-0x1000)).frames(0x1000, 1, 0x9e).open()
	if err != nil {
		t.Fatal(err)
	}
	want := capturetest.Mem{}
	for pfn := x86.PFN(1); pfn < 0x9e; pfn++ {
		want[pfn] = pattern(pfn)
	}
	for pfn := range x86.PFN(0xa0) {
		capturetest.SameFrame(t, f, want, pfn)
	}
	if r := f.Ranges(); len(r) != 1 || r[0] != (physmem.Range{Start: 0x1000, End: 0x9ec00}) {
		t.Errorf("ranges are %v", r)
	}
}

// TestCutOff: of a file cut off anywhere, what is there reads right and what is not is an error at the end of the file.
func TestCutOff(t *testing.T) {
	const k = 4096
	whole := newCore(loadSeg(2*k, k, 2*k), loadSeg(9*k, 3*k, k)).frames(k, 2, 2).frames(3*k, 9, 1).bytes()
	for _, n := range []int{k, k + 1, 2*k - 1, 2 * k, 3 * k, 4*k - 1} {
		for _, size := range []int64{int64(n), -1} {
			f, err := Open(bytes.NewReader(whole[:n]), size)
			if err != nil {
				t.Fatalf("%#x bytes: %v", n, err)
			}
			if want := uint64(len(whole) - n); size >= 0 && f.Missing() != want {
				t.Errorf("%#x bytes: %#x missing, want %#x", n, f.Missing(), want)
			}
			for _, at := range []struct {
				pfn x86.PFN
				off int
			}{{2, k}, {3, 2 * k}, {9, 3 * k}} {
				var got physmem.Frame
				err := f.ReadFrame(at.pfn, &got)
				if at.off+k <= n {
					if err != nil || got != *pattern(at.pfn) {
						t.Errorf("%#x bytes: frame %d: %v", n, at.pfn, err)
					}
					continue
				}
				off := int64(at.off)
				if size >= 0 {
					off = max(off, int64(n)) // the first byte that is missing
				}
				capturetest.WantFormatError(t, err, off)
			}
		}
	}
}

func TestSegments(t *testing.T) {
	const k = 4096
	c := newCore(seg{typ: 1, off: 4 * k, paddr: 7 * k, filesz: k, memsz: 2 * k}, loadSeg(6*k, 3*k, k), loadSeg(4*k, k, 2*k))
	c.size = 4*k + 1
	f, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	want := []Segment{
		{Range: physmem.Range{Start: 4 * k, End: 7*k + 1}, Off: k}, // all three, for memory and file both go on
		{Range: physmem.Range{Start: 7*k + 1, End: 8 * k}, Off: 4*k + 1, CutOff: true},
		{Range: physmem.Range{Start: 8 * k, End: 9 * k}, Excluded: true},
	}
	var got []Segment
	for s := range f.Segments {
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("segments are %+v\nwant %+v", got, want)
	}
}

// synthetic is a file of many segments, of one frame each with a gap behind it, that exists only while it is read:
// file header, section header 0, program headers.
type synthetic struct{ segments int64 }

func (s synthetic) ReadAt(p []byte, off int64) (int, error) {
	const table = ehdr64 + shdr64
	head := newCore()
	head.xnum, head.shOff, head.phOff = true, ehdr64, table
	front := append(head.bytes()[:ehdr64], make([]byte, shdr64)...)
	binary.LittleEndian.PutUint32(front[ehdr64+44:], uint32(s.segments))

	n := 0
	if off < table {
		n = copy(p, front[off:])
	}
	for n < len(p) {
		i, in := (off+int64(n)-table)/phdr64, (off+int64(n)-table)%phdr64
		var h [phdr64]byte
		h[0] = 1
		binary.LittleEndian.PutUint64(h[24:], uint64(i)*2*4096)
		binary.LittleEndian.PutUint64(h[32:], 4096)
		binary.LittleEndian.PutUint64(h[40:], 4096)
		n += copy(p[n:], h[in:])
	}
	return n, nil
}

// TestMillionSegments: they open in bounded memory; more than MaxSegments do not.
func TestMillionSegments(t *testing.T) {
	capturetest.Small(t, func() {
		f, err := Open(synthetic{1_000_000}, -1)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(f.Ranges()); n != 1_000_000 {
			t.Fatalf("%d ranges", n)
		}
		capturetest.Probe(t, f)
	})
	capturetest.Small(t, func() {
		_, err := Open(synthetic{MaxSegments + 1}, -1)
		capturetest.WantFormatError(t, err, 64)
	})
}
