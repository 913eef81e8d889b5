package elfcore

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ptemu/capture/elfnote"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestGolden opens what QEMU wrote. The segments wanted are those that readelf -l prints, the registers those that
// QEMU's monitor printed.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		file   string
		segs   []Segment
		cpu    elfnote.CPU
		status int // x86-64 NT_PRSTATUS notes
		broken int64
	}{
		{
			// readelf prints three segments. Two are aliases that go on beyond the end of a RAM block, where QEMU ends
			// p_filesz.
			file: "qemu-7.2-paging-on.head",
			segs: []Segment{
				{Range: physmem.Range{Start: 0, End: 0xa0000}, Off: 0x4d0},
				{Range: physmem.Range{Start: 0xa0000, End: 0x300000}, Excluded: true},
				{Range: physmem.Range{Start: 0x300000, End: 0x302000}, Off: 0x2e04d0},
				{Range: physmem.Range{Start: 0x302000, End: 0x400000}, Excluded: true},
			},
			cpu: elfnote.CPU{
				CR0: 0x80000011, CR3: 0x200000, CR4: 0x20, GSBase: 0xffff8880deadbeef, HasKernelGSBase: true,
				RIP: 0x1000e2, RSP: 0x12345, RFLAGS: 0x86, CS: 8,
			},
			status: 1,
			broken: 0x4d0,
		},
		{
			file: "qemu-7.2-firmware.head", // EM_386, e_ehsize 8
			segs: []Segment{
				{Range: physmem.Range{Start: 0, End: 0xa0000}, Off: 0x448},
				{Range: physmem.Range{Start: 0xc0000, End: 0x2000000}, Off: 0xa0448},
				{Range: physmem.Range{Start: 0xfd000000, End: 0xfe000000}, Off: 0x1fe0448},
				{Range: physmem.Range{Start: 0xfffc0000, End: 0x100000000}, Off: 0x2fe0448},
			},
			cpu: elfnote.CPU{
				CR0: 0x11, GSBase: 0x1ed0000, HasKernelGSBase: true, IDTBase: 0x1eeffb0, RIP: 0x7f6b, RSP: 0xa1f18, RFLAGS: 0x46, CS: 8,
			},
			broken: 0x448,
		},
	} {
		t.Run(c.file, func(t *testing.T) {
			b := golden(t, c.file)
			f, err := Open(bytes.NewReader(b), -1)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Collect(f.Segments); !slices.Equal(got, c.segs) {
				t.Errorf("segments are %+v\nwant %+v", got, c.segs)
			}
			if !slices.Equal(f.CPUs, []elfnote.CPU{c.cpu}) {
				t.Errorf("CPUs are %+v\nwant %+v", f.CPUs, c.cpu)
			}
			if n := len(elfnote.PRStatuses(f.Notes)); n != c.status || len(f.Notes) != 2 {
				t.Errorf("%d x86-64 NT_PRSTATUS of %d notes", n, len(f.Notes))
			}
			var frame physmem.Frame
			capturetest.WantFormatError(t, f.ReadFrame(0, &frame), c.broken)

			if f, err = Open(bytes.NewReader(b), int64(len(b))); err != nil {
				t.Fatal(err)
			}
			var inFile uint64
			for _, s := range c.segs {
				if !s.Excluded {
					inFile += s.Len()
				}
			}
			if f.Missing() != inFile {
				t.Errorf("%#x bytes missing, want %#x", f.Missing(), inFile)
			}
		})
	}
}
