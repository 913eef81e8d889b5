package kdump

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/physmem"
)

// sampleDump has every codec, stored pages, shared zeros, excluded and absent frames, in three bitmap blocks.
func sampleDump() *dump {
	codecs := []uint32{flagZlib, flagLZO, flagSnappy, flagZstd, 0}
	zero := new(physmem.Frame)
	d := &dump{version: 6, status: flagZlib | flagLZO | flagSnappy | flagZstd, max: 2*framesPerBlock + 77}
	for pfn := uint64(3); pfn < d.max; pfn++ {
		switch {
		case pfn >= 70 && pfn < 32700, pfn > 32900 && pfn < 65500: // absent
		case pfn%7 == 0:
			d.pages = append(d.pages, page{pfn: pfn, kind: excluded})
		case pfn%11 == 0:
			d.pages = append(d.pages, page{pfn: pfn, codec: flagZlib, data: zero})
		case pfn%13 == 0:
			d.pages = append(d.pages, page{pfn: pfn, kind: incomplete})
		default:
			d.pages = append(d.pages, page{pfn: pfn, codec: codecs[pfn%5], data: testFrame(pfn)})
		}
	}
	return d
}

// check holds every frame of f against d, and some beyond it.
func check(t *testing.T, f *File, d *dump) {
	t.Helper()
	want := map[uint64]page{}
	for _, p := range d.pages {
		want[p.pfn] = p
	}
	for pfn := uint64(0); pfn < d.max+100; pfn++ {
		p, had := want[pfn]
		if had && d.split != nil && (pfn < d.split[0] || pfn >= d.split[1]) {
			p.kind = excluded
		}
		var got physmem.Frame
		err := f.ReadFrame(x86.PFN(pfn), &got)
		switch {
		case !had:
			wantErr(t, err, pfn, physmem.ErrAbsent)
		case p.kind == excluded:
			wantErr(t, err, pfn, physmem.ErrExcluded)
			if errors.Is(err, ErrIncomplete) {
				t.Fatalf("frame %#x: %v, want excluded", pfn, err)
			}
		case p.kind == incomplete:
			wantErr(t, err, pfn, ErrIncomplete)
			wantErr(t, err, pfn, physmem.ErrExcluded)
		case err != nil:
			t.Fatal(err)
		case got != *p.data:
			t.Fatalf("frame %#x, codec %#x: wrong content", pfn, p.codec)
		}
	}
	wantErr(t, f.ReadFrame(1<<52-1, new(physmem.Frame)), 1<<52-1, physmem.ErrAbsent)
	wantErr(t, f.ReadFrame(^x86.PFN(0), new(physmem.Frame)), 1<<64-1, physmem.ErrAbsent)
}

func wantErr(t *testing.T, err error, pfn uint64, is error) {
	t.Helper()
	var fe *physmem.FrameError
	if !errors.As(err, &fe) || uint64(fe.PFN) != pfn || !errors.Is(err, is) {
		t.Fatalf("frame %#x: error %v, want %v", pfn, err, is)
	}
}

func TestReadFrame(t *testing.T) {
	for version := 1; version <= 6; version++ {
		d := sampleDump()
		d.version = version
		b := d.bytes(t)
		for name, b := range map[string][]byte{"plain": b, "flattened": flatten(shred(b, uint64(version)))} {
			t.Run(fmt.Sprintf("v%d/%s", version, name), func(t *testing.T) {
				check(t, mustOpen(t, b), d)
			})
		}
	}
}

func TestUnknownSize(t *testing.T) {
	d := sampleDump()
	b := d.bytes(t)
	for _, b := range [][]byte{b, flatten(shred(b, 9))} {
		f, err := Open(bytes.NewReader(b), -1)
		if err != nil {
			t.Fatal(err)
		}
		check(t, f, d)
	}
}

func TestSplit(t *testing.T) {
	for _, version := range []int{2, 5, 6} {
		for _, part := range [][2]uint64{{0, 40}, {40, 65537}, {37, 32769}, {65537, 65613}, {10, 10}, {0, 65613}} {
			d := sampleDump()
			d.version, d.split = version, &part
			f := mustOpen(t, d.bytes(t))
			check(t, f, d)
			h := f.Header
			if !h.Split || uint64(h.StartPFN) != part[0] || uint64(h.EndPFN) != part[1] {
				t.Fatalf("part %v: header %+v", part, h)
			}
			if got := f.Format(); !strings.HasSuffix(got, ", part of a split dump") {
				t.Fatalf("Format() = %q", got)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		max    uint64
		frames [][2]uint64
		want   []physmem.Range
	}{
		{0, nil, nil},
		{100, nil, nil},
		{100, [][2]uint64{{0, 100}}, []physmem.Range{pfnRange(0, 100)}},
		{128, [][2]uint64{{0, 128}}, []physmem.Range{pfnRange(0, 128)}},
		{200, [][2]uint64{{3, 4}, {5, 64}, {65, 127}, {128, 192}}, []physmem.Range{
			pfnRange(3, 4), pfnRange(5, 64), pfnRange(65, 127), pfnRange(128, 192)}},
		{1 << 17, [][2]uint64{{100, 32768}, {98304, 98310}}, []physmem.Range{pfnRange(100, 32768), pfnRange(98304, 98310)}},
		{1 << 21, [][2]uint64{{63, 65}, {32767, 32769}, {1<<19 - 1, 1<<19 + 1}, {1<<21 - 1, 1 << 21}}, []physmem.Range{
			pfnRange(63, 65), pfnRange(32767, 32769), pfnRange(1<<19-1, 1<<19+1), pfnRange(1<<21-1, 1<<21)}},
	} {
		d := &dump{version: 6, max: c.max}
		zero := new(physmem.Frame)
		for _, r := range c.frames {
			for pfn := r[0]; pfn < r[1]; pfn++ {
				d.pages = append(d.pages, page{pfn: pfn, kind: pageKind(pfn % 2), codec: flagZlib, data: zero})
			}
		}
		f := mustOpen(t, d.bytes(t))
		if !reflect.DeepEqual(f.Ranges(), c.want) {
			t.Errorf("frames %v: ranges %v, want %v", c.frames, f.Ranges(), c.want)
		}
	}
}

// A frame that was dumped is memory, even if the 1st bitmap says that there is none.
func TestDumpedButNoMemory(t *testing.T) {
	d := &dump{version: 6, max: 100, pages: []page{{pfn: 70, data: testFrame(70)}, {pfn: 71, kind: excluded}}}
	b := d.bytes(t)
	b[2*4096+70/8] &^= 1 << (70 % 8)
	f := mustOpen(t, b)
	check(t, f, d)
	if want := []physmem.Range{pfnRange(70, 72)}; !reflect.DeepEqual(f.Ranges(), want) {
		t.Errorf("ranges %v, want %v", f.Ranges(), want)
	}
}

// Bits past max_mapnr are not frames, and shift no descriptor.
func TestBitsPastTheEnd(t *testing.T) {
	d := &dump{version: 6, max: 10}
	for pfn := uint64(5); pfn < 10; pfn++ {
		d.pages = append(d.pages, page{pfn: pfn, data: testFrame(pfn)})
	}
	b := d.bytes(t)
	for i := range 8 {
		b[2*4096+2+i], b[3*4096+2+i] = 0xff, 0xff
	}
	b[2*4096+1] |= 0xfc
	b[3*4096+1] |= 0xfc
	f := mustOpen(t, b)
	check(t, f, d)
	if want := []physmem.Range{pfnRange(5, 10)}; !reflect.DeepEqual(f.Ranges(), want) {
		t.Errorf("ranges %v, want %v", f.Ranges(), want)
	}
}

func TestHeader(t *testing.T) {
	d := sampleDump()
	d.status |= statusIncomplete
	f := mustOpen(t, d.bytes(t))
	want := Header{
		Version: 6, Release: "6.99-test", Machine: "x86_64", Status: 0x2f, Incomplete: true, MaxPFN: 65613, NrCPUs: 2,
	}
	if f.Header != want {
		t.Errorf("header %+v\nwant   %+v", f.Header, want)
	}
	for status, want := range map[uint32]string{
		0:                  "kdump-compressed, not compressed",
		1:                  "kdump-compressed, zlib",
		2:                  "kdump-compressed, lzo",
		4 | 8:              "kdump-compressed, snappy, incomplete",
		0x20:               "kdump-compressed, zstd",
		0x20 | 0x10 | 1<<9: "kdump-compressed, zstd",
	} {
		d.status = status
		b := d.bytes(t)
		if got := mustOpen(t, b).Format(); got != want {
			t.Errorf("status %#x: Format() = %q, want %q", status, got, want)
		}
		want = strings.Replace(want, "d,", "d, flattened,", 1)
		if got := mustOpen(t, flatten(shred(b, 1))).Format(); got != want {
			t.Errorf("status %#x: Format() = %q, want %q", status, got, want)
		}
	}
}

// TestMachineName: QEMU 11 does not name the machine.
func TestMachineName(t *testing.T) {
	for _, name := range []string{"x86_64", "Unknown", ""} {
		b := sampleDump().bytes(t)
		field := b[12+4*65:][:65]
		clear(field)
		copy(field, name)
		if got := mustOpen(t, b).Header.Machine; got != name {
			t.Errorf("machine %q, want %q", got, name)
		}
	}
}

func TestNotes(t *testing.T) {
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: 0x12345000, CR4: 0x1000, HasKernelGSBase: true, KernelGSBase: 7}
	info := []byte("OSRELEASE=6.99-test\n")
	notes := elfnote.Append(nil, cpu.Note())
	withInfo := elfnote.Append(notes[:len(notes):len(notes)], elfnote.VMCoreInfoNote(info))
	for _, c := range []struct {
		version           int
		notes, vmcoreinfo []byte
		wantCPUs          []elfnote.CPU
		wantNotes         int
		wantInfo          []byte
	}{
		{2, notes, info, nil, 0, nil},
		{3, notes, info, nil, 0, info},
		{4, notes, info, []elfnote.CPU{cpu}, 1, info},
		{6, withInfo, []byte("the sub-header's wins"), []elfnote.CPU{cpu}, 2, []byte("the sub-header's wins")},
		{6, withInfo, nil, []elfnote.CPU{cpu}, 2, info},
		{6, nil, nil, nil, 0, nil},
	} {
		d := &dump{version: c.version, max: 10, notes: c.notes, vmcoreinfo: c.vmcoreinfo}
		f := mustOpen(t, d.bytes(t))
		if !reflect.DeepEqual(f.CPUs, c.wantCPUs) || len(f.Notes) != c.wantNotes || !bytes.Equal(f.VMCoreInfo, c.wantInfo) {
			t.Errorf("version %d: CPUs %v, %d notes, VMCOREINFO %q", c.version, f.CPUs, len(f.Notes), f.VMCoreInfo)
		}
	}
}

func TestConcurrentReads(t *testing.T) {
	d := sampleDump()
	f := mustOpen(t, flatten(shred(d.bytes(t), 4)))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var got physmem.Frame
			for i := range d.pages {
				p := d.pages[(i*(2*g+1))%len(d.pages)]
				if p.kind != stored {
					continue
				}
				if err := f.ReadFrame(x86.PFN(p.pfn), &got); err != nil {
					t.Error(err)
				} else if got != *p.data {
					t.Errorf("frame %#x: wrong content", p.pfn)
				}
			}
		})
	}
	wg.Wait()
}
