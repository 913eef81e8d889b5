package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func gz(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func zst(tb testing.TB, b []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func save(tb testing.TB, name string, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func mustOpen(tb testing.TB, path string, opt Options) *Capture {
	tb.Helper()
	c, err := Open(path, opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// sampleMem is a small machine with excluded frames and a hole.
func sampleMem() capturetest.Mem {
	mem := capturetest.Mem{3: nil}
	for _, pfn := range []x86.PFN{0, 1, 2, 4, 5, 0x100, 0x101, 0x100000} {
		mem[pfn] = capturetest.Pattern(pfn)
	}
	return mem
}

func sampleELF(tb testing.TB) []byte {
	tb.Helper()
	mem := sampleMem()
	cpu := elfnote.CPU{CR3: 0x1000}
	var b bytes.Buffer
	if err := elfcore.Write(&b, mem, mem.Ranges(), []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte("OSRELEASE=x\n"))}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func sampleLiME() ([]byte, capturetest.Mem) {
	mem := capturetest.Mem{1: capturetest.Pattern(1), 0x200: capturetest.Pattern(0x200)}
	var b []byte
	for _, pfn := range []x86.PFN{1, 0x200} {
		b = append(b, "EMiL\x01\x00\x00\x00"...)
		b = binary.LittleEndian.AppendUint64(b, uint64(pfn.Phys()))
		b = binary.LittleEndian.AppendUint64(b, uint64((pfn+1).Phys()-1))
		b = append(append(b, make([]byte, 8)...), mem[pfn][:]...)
	}
	return b, mem
}

// TestMachines: the real captures open as they are and compressed in every way, with the same frames and notes.
func TestMachines(t *testing.T) {
	for machine, frames := range capturetest.Machines {
		t.Run(machine, func(t *testing.T) {
			path := filepath.Join(capturetest.Dir(t), machine, "tables.elf")
			plain := mustOpen(t, path, Options{})
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if plain.Format != "ELF core (QEMU)" || plain.Size != int64(len(b)) || plain.Path != path || plain.Remarks != nil {
				t.Errorf("opened as %+v", plain)
			}
			if n := physmem.TotalLen(plain.Mem.Ranges()) / x86.PageSize; n != uint64(frames) {
				t.Errorf("%d frames, want %d", n, frames)
			}
			for name, packed := range map[string][]byte{
				"gzip": gz(t, b), "zstd": zst(t, b), "gzip in zstd": zst(t, gz(t, b)), "zstd in gzip": gz(t, zst(t, b)),
			} {
				// By content, not by name.
				c := mustOpen(t, save(t, "renamed.elf", packed), Options{})
				if want := name + ", ELF core (QEMU)"; c.Format != want || c.Size != int64(len(packed)) {
					t.Errorf("%s: format %q, size %d", name, c.Format, c.Size)
				}
				capturetest.Same(t, c.Mem, plain.Mem)
				if !slices.Equal(c.CPUs, plain.CPUs) || !bytes.Equal(c.VMCoreInfo, plain.VMCoreInfo) || len(c.Notes) != len(plain.Notes) {
					t.Errorf("%s: other notes", name)
				}
			}
			regs := capturetest.Registers(t, machine)
			if len(plain.CPUs) != len(regs) || plain.CPUs[0].CR3 != regs[0]["CR3"] || !strings.HasPrefix(string(plain.VMCoreInfo), "OSRELEASE=") {
				t.Errorf("CPUs %+v, VMCOREINFO %.20q", plain.CPUs, plain.VMCoreInfo)
			}
		})
	}
}

// TestFullAgreesWithTables: where a machine has both captures, every frame of the smaller is in the larger, read as
// it is and out of zstd.
func TestFullAgreesWithTables(t *testing.T) {
	for _, machine := range []string{"linux-6.1-4level", "linux-7.2-4level"} {
		dir := filepath.Join(capturetest.Dir(t), machine)
		tables := mustOpen(t, filepath.Join(dir, "tables.elf"), Options{})
		path := filepath.Join(dir, "full.kdump-zlib")
		full := mustOpen(t, path, Options{})
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		packed := mustOpen(t, save(t, "full", zst(t, b)), Options{})
		if packed.Format != "zstd, "+full.Format {
			t.Errorf("format %q of %q in zstd", packed.Format, full.Format)
		}
		checked := 0
		for _, r := range tables.Mem.Ranges() {
			first, end := r.Frames()
			for pfn := first; pfn < end; pfn++ {
				capturetest.SameFrame(t, full.Mem, tables.Mem, pfn)
				capturetest.SameFrame(t, packed.Mem, tables.Mem, pfn)
				checked++
			}
		}
		if checked != capturetest.Machines[machine] {
			t.Errorf("%s: %d frames compared", machine, checked)
		}
		if !bytes.Equal(full.VMCoreInfo, tables.VMCoreInfo) || !slices.Equal(full.CPUs, tables.CPUs) {
			t.Errorf("%s: the captures have different notes", machine)
		}
	}
}

// TestFormats opens every format, plain and packed, sniffed and named.
func TestFormats(t *testing.T) {
	lime, limeMem := sampleLiME()
	flat := slices.Concat(capturetest.Pattern(0)[:], capturetest.Pattern(1)[:])
	flatMem := capturetest.Mem{0x10: capturetest.Pattern(0), 0x11: capturetest.Pattern(1)}
	for _, c := range []struct {
		format string
		in     []byte
		opt    Options
		want   capturetest.Mem
	}{
		{"ELF core (QEMU)", sampleELF(t), Options{}, sampleMem()},
		{"ELF core (QEMU)", sampleELF(t), Options{Format: ELF}, sampleMem()},
		{"LiME", lime, Options{}, limeMem},
		{"LiME", lime, Options{Format: LiME}, limeMem},
		{"raw", flat, Options{Format: Raw, RawBase: 0x10000}, flatMem},
	} {
		for prefix, b := range map[string][]byte{"": c.in, "gzip, ": gz(t, c.in), "zstd, ": zst(t, c.in)} {
			got := mustOpen(t, save(t, "capture", b), c.opt)
			if got.Format != prefix+c.format {
				t.Errorf("format %q, want %q", got.Format, prefix+c.format)
			}
			capturetest.Same(t, got.Mem, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	elf := sampleELF(t)
	for _, c := range []struct {
		name string
		in   []byte
		opt  Options
		want string
	}{
		{"empty", nil, Options{}, "empty"},
		{"zeros", make([]byte, 8192), Options{}, "--input raw"},
		{"three bytes", []byte("abc"), Options{}, "616263"},
		{"zeros in gzip", gz(t, make([]byte, 8192)), Options{}, "--input raw"},
		{"nothing in gzip", gz(t, nil), Options{}, "empty"},
		{"xz", []byte("\xfd7zXZ\x00\x00\x04abcdefgh"), Options{}, "xz"},
		{"Windows", []byte("PAGEDU64abcdefgh"), Options{}, "Windows"},
		{"wrong format", elf, Options{Format: LiME}, "LiME: offset 0x0"},
		{"unheard of", elf, Options{Format: "tar"}, `"tar"`},
		{"raw base", elf, Options{Format: Raw, RawBase: 12}, "0xc"},
		{"three layers", gz(t, gz(t, gz(t, elf))), Options{}, "more than 2"},
		{"cut ELF", elf[:60], Options{}, "ELF core: offset 0x0: file ends early"},
		{"cut ELF in gzip", gz(t, elf[:60]), Options{}, "ELF core: offset 0x0: file ends early"},
		{"cut gzip", gz(t, elf)[:40], Options{}, "unpacked gzip: offset 0x"},
	} {
		path := save(t, "capture", c.in)
		got, err := Open(path, c.opt)
		if got != nil || err == nil {
			t.Errorf("%s: opened", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Open(save(t, "x", make([]byte, 100)), Options{}); !errors.Is(err, ErrUnknownFormat) {
		t.Errorf("unknown format: %v", err)
	}
}

func TestNotFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "missing"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestNotMapped: a file that cannot be mapped is read, and its stated size is not believed.
func TestNotMapped(t *testing.T) {
	path := save(t, "core", sampleELF(t))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Capture{Path: path}
	if err := c.open(&source{ReaderAt: f, Closer: f, size: 12}, Options{}); err != nil {
		t.Fatal(err)
	}
	capturetest.Same(t, c.Mem, sampleMem())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// procfs reports 0 for most of its files.
	if _, err := Open("/proc/self/maps", Options{}); err == nil || !errors.Is(err, ErrUnknownFormat) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("/proc/self/maps: %v", err)
	}
}

// TestFileShrinks: a mapped file that someone cuts off gives errors, where the processor gives a fault.
func TestFileShrinks(t *testing.T) {
	path := save(t, "core", sampleELF(t))
	c := mustOpen(t, path, Options{})
	if err := os.Truncate(path, 4096); err != nil {
		t.Skip(err)
	}
	var f physmem.Frame
	err := c.Mem.ReadFrame(0x100000, &f)
	var fe *FormatError
	if !errors.As(err, &fe) || !strings.Contains(err.Error(), "memory fault") {
		t.Errorf("error %v", err)
	}
}

// TestTruncated: a file cut off inside its memory opens, says so, and gives errors for what it lost.
func TestTruncated(t *testing.T) {
	b := sampleELF(t)
	c := mustOpen(t, save(t, "core", b[:len(b)-5000]), Options{})
	if len(c.Remarks) != 1 || !strings.Contains(c.Remarks[0], "5000 bytes") {
		t.Errorf("remarks are %q", c.Remarks)
	}
	var f physmem.Frame
	if err := c.Mem.ReadFrame(0x100000, &f); !errors.Is(err, ErrTruncated) {
		t.Errorf("lost frame: %v", err)
	}
	if err := c.Mem.ReadFrame(0, &f); err != nil {
		t.Errorf("frame at the front: %v", err)
	}

	// The same out of a cut gzip, whose error names the file.
	packed := gz(t, b)
	path := save(t, "core.gz", packed[:len(packed)-200])
	c = mustOpen(t, path, Options{})
	err := c.Mem.ReadFrame(0x100000, &f)
	if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), path) {
		t.Errorf("lost frame in gzip: %v", err)
	}
}

// TestTruncatedLiME: LiME has its headers between the memory, so a cut in the compressed file is found while opening.
func TestTruncatedLiME(t *testing.T) {
	b, mem := sampleLiME()
	for pfn, f := range mem {
		rnd := rand.New(rand.NewPCG(1, uint64(pfn))) // hard to compress: a cut loses about as many bytes as it takes
		for i := range f {
			f[i] = byte(rnd.Uint32())
		}
	}
	b = append(append(append(b[:32:32], mem[1][:]...), b[32+4096:2*32+4096]...), mem[0x200][:]...)
	packed := gz(t, b)

	c := mustOpen(t, save(t, "lime.gz", packed[:len(packed)-1000]), Options{})
	var f physmem.Frame
	if err := c.Mem.ReadFrame(1, &f); err != nil || f != *mem[1] {
		t.Errorf("frame at the front: %v", err)
	}
	if err := c.Mem.ReadFrame(0x200, &f); !errors.Is(err, ErrTruncated) {
		t.Errorf("lost frame: %v", err)
	}

	// Cut right before the second header, the file would seem to have one range.
	two := append(gz(t, b[:32+4096]), gz(t, b[32+4096:])[:5]...)
	_, err := Open(save(t, "lime.gz", two), Options{})
	capturetest.WantFormatError(t, err, 32+4096)
}

func TestUnpackRatio(t *testing.T) {
	mib := make([]byte, 1<<20)
	bomb := bytes.Repeat(gz(t, mib), 300)
	packed := zst(t, slices.Concat(gz(t, sampleELF(t)), bomb))
	path := save(t, "bomb", packed)
	capturetest.Small(t, func() {
		_, err := Open(path, Options{Format: Raw})
		var fe *FormatError
		if !errors.As(err, &fe) || fe.Off != 256<<20 || fe.Path != path {
			t.Errorf("error %v", err)
		}
	})
	c := mustOpen(t, path, Options{Format: Raw, MaxUnpackRatio: -1})
	if n := physmem.TotalLen(c.Mem.Ranges()); n < 300<<20 {
		t.Errorf("%d bytes", n)
	}
	// As an ELF core nothing of the bomb is ever unpacked.
	capturetest.Same(t, mustOpen(t, path, Options{}).Mem, sampleMem())
}

func TestConcurrent(t *testing.T) {
	mem := sampleMem()
	b := sampleELF(t)
	for name, in := range map[string][]byte{"plain": b, "gzip": gz(t, b)} {
		c := mustOpen(t, save(t, "core", in), Options{})
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 0))
				pfns := []x86.PFN{0, 1, 2, 4, 5, 0x100, 0x101, 0x100000}
				for range 200 {
					pfn := pfns[rnd.IntN(len(pfns))]
					var f physmem.Frame
					if err := c.Mem.ReadFrame(pfn, &f); err != nil || f != *mem[pfn] {
						t.Errorf("%s: frame %#x: %v", name, pfn, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func FuzzCompressed(f *testing.F) {
	elf := sampleELF(f)[:6000]
	lime, _ := sampleLiME()
	f.Add(gz(f, elf))
	f.Add(zst(f, elf))
	f.Add(zst(f, gz(f, lime)))
	f.Add(gz(f, []byte("makedumpfile\x00\x00\x00\x00\x01")))
	f.Add(bytes.Repeat(gz(f, lime[:40]), 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, format := range []Format{Auto, Raw} {
			c := &Capture{Path: "fuzz"}
			src := &source{ReaderAt: bytes.NewReader(b), size: int64(len(b)), mapped: true}
			err := c.open(src, Options{Format: format})
			if (err != nil) != (c.Mem == nil) {
				t.Fatalf("memory %v with error %v", c.Mem, err)
			}
			if err == nil {
				capturetest.Probe(t, c.Mem)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkReadFrame reads a mapped ELF core of 64 MiB, in order and here and there, beside a copy of the same size.
func BenchmarkReadFrame(b *testing.B) {
	const frames = 16384
	mem := capturetest.Mem{}
	for pfn := range x86.PFN(frames) {
		mem[pfn+pfn/64] = capturetest.Pattern(pfn) // 256 segments
	}
	var out bytes.Buffer
	if err := elfcore.Write(&out, mem, mem.Ranges(), nil); err != nil {
		b.Fatal(err)
	}
	c := mustOpen(b, save(b, "core", out.Bytes()), Options{})
	var f physmem.Frame
	for name, step := range map[string]x86.PFN{"sequential": 1, "scattered": 7919} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(x86.PageSize)
			pfn := x86.PFN(0)
			for b.Loop() {
				if err := c.Mem.ReadFrame(pfn+pfn/64, &f); err != nil {
					b.Fatal(err)
				}
				pfn = (pfn + step) % frames
			}
		})
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(x86.PageSize)
		src, off := out.Bytes(), 0
		for b.Loop() {
			copy(f[:], src[off:])
			off = (off + x86.PageSize) % (frames * x86.PageSize)
		}
	})
	if f == (physmem.Frame{}) {
		b.Fatal(fmt.Errorf("nothing was read"))
	}
}
