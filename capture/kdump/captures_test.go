package kdump

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/exp/mmap"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/physmem"
)

const fullDump = "full.kdump-zlib"

// captureFolders returns the folders of real captures that have a kdump file, or skips the test.
func captureFolders(t testing.TB) []string {
	t.Helper()
	roots := filepath.SplitList(os.Getenv("PTEMU_CAPTURES"))
	if len(roots) == 0 {
		roots = []string{filepath.Join("..", "..", "..", "shared", "captures")}
	}
	var dirs []string
	for _, root := range roots {
		found, _ := filepath.Glob(filepath.Join(root, "*", fullDump))
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	if len(dirs) == 0 {
		t.Skipf("no */%s below %v: set PTEMU_CAPTURES", fullDump, roots)
	}
	return dirs
}

func openFile(t testing.TB, path string) *File {
	t.Helper()
	r, err := mmap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	f, err := Open(r, int64(r.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// memory is the content of an ELF core file, read by debug/elf.
type memory struct {
	loads []*elf.Prog
	notes []elfnote.Note
}

func openELF(t *testing.T, path string) memory {
	t.Helper()
	e, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	var m memory
	for _, p := range e.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			m.loads = append(m.loads, p)
		case elf.PT_NOTE:
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			if m.notes, err = elfnote.Parse(b, int64(p.Off)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// each calls f for every whole frame in m.
func (m memory) each(t *testing.T, f func(x86.PFN, *physmem.Frame)) (frames int) {
	t.Helper()
	var frame physmem.Frame
	for _, p := range m.loads {
		for off := uint64(0); off+x86.PageSize <= p.Filesz; off += x86.PageSize {
			if _, err := p.ReadAt(frame[:], int64(off)); err != nil {
				t.Fatal(err)
			}
			f(x86.Phys(p.Paddr+off).PFN(), &frame)
			frames++
		}
	}
	return frames
}

// compare holds every frame of m against f. Frames that f may lack, as excluded says, are counted.
func compare(t *testing.T, m memory, f *File, excluded func(x86.PFN) bool) (same, lacking int) {
	t.Helper()
	m.each(t, func(pfn x86.PFN, want *physmem.Frame) {
		var got physmem.Frame
		err := f.ReadFrame(pfn, &got)
		switch {
		case err == nil && got == *want:
			same++
		case err == nil:
			t.Fatalf("frame %#x differs", pfn)
		case errors.Is(err, physmem.ErrExcluded) && excluded != nil && excluded(pfn):
			lacking++
		default:
			t.Fatal(err)
		}
	})
	return same, lacking
}

func sameNotes(t *testing.T, f *File, notes []elfnote.Note) {
	t.Helper()
	cpus, err := elfnote.CPUs(notes)
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) == 0 || cpus[0].CR3 == 0 || !reflect.DeepEqual(f.CPUs, cpus) {
		t.Errorf("CPUs %+v\nwant %+v", f.CPUs, cpus)
	}
	if want := elfnote.VMCoreInfo(notes); len(want) == 0 || !bytes.Equal(f.VMCoreInfo, want) {
		t.Errorf("VMCOREINFO of %d bytes, want %d", len(f.VMCoreInfo), len(want))
	}
}

// The whole guest as QEMU wrote it, flattened, holds the same tables and the same notes as the ELF core beside it.
func TestCaptures(t *testing.T) {
	for _, dir := range captureFolders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := openELF(t, filepath.Join(dir, "tables.elf"))
			path := filepath.Join(dir, fullDump)
			f := openFile(t, path)
			if got, want := f.Format(), "kdump-compressed, flattened, zlib"; got != want {
				t.Errorf("Format() = %q, want %q", got, want)
			}
			same, _ := compare(t, m, f, nil)
			sameNotes(t, f, m.notes)
			t.Logf("%d frames of tables are the same; ranges %v", same, f.Ranges())

			// The same, rearranged by our own reading of the records.
			r, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			plain := mustOpen(t, rearrange(t, r))
			if got, want := plain.Format(), "kdump-compressed, zlib"; got != want {
				t.Errorf("Format() = %q, want %q", got, want)
			}
			compare(t, m, plain, nil)
			sameNotes(t, plain, m.notes)
		})
	}
}

// rearrange does what makedumpfile -R does: write each record where it belongs.
func rearrange(t *testing.T, b []byte) []byte {
	t.Helper()
	var recs []record
	for b = b[4096:]; ; {
		off, n := int64(binary.BigEndian.Uint64(b)), int(binary.BigEndian.Uint64(b[8:]))
		if off == -1 {
			return newModel(recs).data
		}
		recs = append(recs, record{off, b[16 : 16+n]})
		b = b[16+n:]
	}
}

// makedumpfile runs the real tool, or skips the test.
func makedumpfile(t *testing.T, stdin io.Reader, stdout io.Writer, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("makedumpfile")
	if err != nil {
		t.Skip("makedumpfile is not installed")
	}
	cmd := exec.Command(tool, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("makedumpfile %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
}

// What makedumpfile itself makes of the same memory: rearranged, as LZO, with all that it can exclude, split.
func TestMakedumpfile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs makedumpfile on a whole guest")
	}
	dir := captureFolders(t)[0]
	tables := openELF(t, filepath.Join(dir, "tables.elf"))
	flat := filepath.Join(dir, fullDump)
	tmp := t.TempDir()
	path := func(name string) string { return filepath.Join(tmp, name) }
	full := openFile(t, flat)
	const zlibName, lzoName = "kdump-compressed, zlib", "kdump-compressed, lzo"

	t.Run("rearranged", func(t *testing.T) {
		in, err := os.Open(flat)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		makedumpfile(t, in, nil, "-R", path("plain"))
		f := openFile(t, path("plain"))
		if f.Format() != zlibName || f.Header != full.Header {
			t.Errorf("%s: header %+v, want %+v", f.Format(), f.Header, full.Header)
		}
		compare(t, tables, f, nil)
		sameNotes(t, f, tables.notes)
	})

	// makedumpfile follows QEMU's wrong phys_base into nowhere when it reads the kdump file, so it gets an ELF core.
	writeELF(t, path("core"), full)
	core := openELF(t, path("core"))
	release := regexp.MustCompile(`OSRELEASE=(.*)`).FindSubmatch(full.VMCoreInfo)[1]
	base := regexp.MustCompile(`NUMBER\(phys_base\)=(.*)`).FindSubmatch(full.VMCoreInfo)[1]
	header := func(t *testing.T, f *File, format string, dumpLevel int) {
		t.Helper()
		h := f.Header
		if f.Format() != format || h.Release != string(release) || fmt.Sprint(int64(h.PhysBase)) != string(base) || h.DumpLevel != dumpLevel {
			t.Errorf("%s, %+v\nwant %s, release %s, base %s, dump level %d", f.Format(), h, format, release, base, dumpLevel)
		}
	}
	// It leaves out what is beyond the memory that the kernel knows: video memory and firmware.
	beyond := func(f *File) func(x86.PFN) bool {
		return func(pfn x86.PFN) bool { return pfn >= f.Header.MaxPFN }
	}
	knownTo := func(f *File, m memory) memory {
		var known memory
		for _, p := range m.loads {
			if !beyond(f)(x86.Phys(p.Paddr).PFN()) {
				known.loads = append(known.loads, p)
			}
		}
		return known
	}

	t.Run("lzo", func(t *testing.T) {
		makedumpfile(t, nil, nil, "-l", "-d", "0", path("core"), path("lzo"))
		f := openFile(t, path("lzo"))
		header(t, f, lzoName, 0)
		// Whatever the level, it leaves out hardware-poisoned pages, of which this guest has one.
		same, lacking := compare(t, knownTo(f, core), f, func(x86.PFN) bool { return true })
		sameNotes(t, f, tables.notes)
		if same == 0 || lacking > 1 {
			t.Errorf("%d frames are the same, %d excluded", same, lacking)
		}
		t.Logf("%d frames are the same, %d excluded", same, lacking)
	})

	t.Run("excluded, flattened", func(t *testing.T) {
		out, err := os.Create(path("d31"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		makedumpfile(t, nil, out, "-F", "-l", "-d", "31", path("core"))
		f := openFile(t, path("d31"))
		header(t, f, "kdump-compressed, flattened, lzo", 31)
		compare(t, knownTo(f, tables), f, nil) // page tables are never excluded
		same, lacking := compare(t, knownTo(f, core), f, func(x86.PFN) bool { return true })
		if same == 0 || lacking == 0 {
			t.Errorf("%d frames are the same, %d excluded", same, lacking)
		}
		t.Logf("%d frames are the same, %d excluded", same, lacking)
	})

	t.Run("ELF, flattened", func(t *testing.T) {
		out, err := os.Create(path("flat-elf"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		makedumpfile(t, nil, out, "-F", "-E", "-d", "31", path("core"))
		flat, err := OpenFlat(out, -1)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elfcore.Open(flat, flat.Size())
		if err != nil {
			t.Fatal(err)
		}
		same, lacking := 0, 0
		core.each(t, func(pfn x86.PFN, want *physmem.Frame) {
			var got physmem.Frame
			switch err := f.ReadFrame(pfn, &got); {
			case errors.Is(err, physmem.ErrExcluded), errors.Is(err, physmem.ErrAbsent):
				lacking++
			case err != nil || got != *want:
				t.Fatalf("frame %#x: %v", pfn, err)
			default:
				same++
			}
		})
		if same == 0 || lacking == 0 {
			t.Errorf("%d frames are the same, %d excluded", same, lacking)
		}
		t.Logf("%d frames are the same, %d excluded", same, lacking)
	})

	t.Run("split", func(t *testing.T) {
		parts := []string{path("part0"), path("part1"), path("part2")}
		makedumpfile(t, nil, nil, append([]string{"--split", "--splitblock-size", "1024", "-c", "-d", "1", path("core")}, parts...)...)
		next := x86.PFN(0)
		var zero physmem.Frame
		for i, part := range parts {
			f := openFile(t, part)
			h := f.Header
			header(t, f, zlibName+", part of a split dump", 1)
			if !h.Split || h.StartPFN != next || h.EndPFN <= next || i == len(parts)-1 && h.EndPFN != h.MaxPFN {
				t.Fatalf("part %d after %#x: %+v", i, next, h)
			}
			next = h.EndPFN
			same, lacking := 0, 0
			knownTo(f, core).each(t, func(pfn x86.PFN, want *physmem.Frame) {
				inPart := pfn >= h.StartPFN && pfn < h.EndPFN
				if inPart && pfn%5 != 0 && *want != zero {
					return // some are enough
				}
				var got physmem.Frame
				err := f.ReadFrame(pfn, &got)
				switch {
				case inPart && (*want != zero || err == nil): // not every page of zeros is excluded
					if err != nil || got != *want {
						t.Fatalf("part %d, frame %#x: %v", i, pfn, err)
					}
					same++
				case !errors.Is(err, physmem.ErrExcluded):
					t.Fatalf("part %d, frame %#x: %v, want excluded", i, pfn, err)
				default:
					lacking++
				}
			})
			if same == 0 || lacking == 0 {
				t.Errorf("part %d: %d frames are the same, %d excluded", i, same, lacking)
			}
		}
	})
}

// writeELF writes all memory of f as an ELF core that makedumpfile reads.
func writeELF(t *testing.T, path string, f *File) {
	t.Helper()
	var notes []byte
	for _, n := range f.Notes {
		notes = elfnote.Append(notes, n)
	}
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_CORE), Machine: uint16(elf.EM_X86_64),
		Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(1 + len(f.Ranges())),
	}
	align := func(n uint64) uint64 { return (n + 4095) &^ 4095 }
	off := align(64 + 56*uint64(h.Phnum))
	progs := []elf.Prog64{{Type: uint32(elf.PT_NOTE), Off: off, Filesz: uint64(len(notes)), Memsz: uint64(len(notes))}}
	memoryAt := align(off + uint64(len(notes)))
	off = memoryAt
	for _, r := range f.Ranges() {
		progs = append(progs, elf.Prog64{Type: uint32(elf.PT_LOAD), Off: off, Vaddr: 0xffff888000000000 + uint64(r.Start),
			Paddr: uint64(r.Start), Filesz: r.Len(), Memsz: r.Len()})
		off += r.Len()
	}
	var head bytes.Buffer
	binary.Write(&head, binary.LittleEndian, h)
	binary.Write(&head, binary.LittleEndian, progs)

	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	write := func(b []byte, at uint64) {
		if _, err := out.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	write(head.Bytes(), 0)
	write(notes, progs[0].Off)
	at := memoryAt
	var frame physmem.Frame
	for _, r := range f.Ranges() {
		for pfn := r.Start.PFN(); pfn < r.End.PFN(); pfn++ {
			if err := f.ReadFrame(pfn, &frame); err != nil {
				t.Fatal(err)
			}
			write(frame[:], at)
			at += x86.PageSize
		}
	}
}
