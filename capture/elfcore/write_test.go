package elfcore

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func sampleNotes() []elfnote.Note {
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: 0x2000, CR4: 0x6f0, GSBase: 0xffff888000000000, RIP: 1, RSP: 2, RFLAGS: 2, CS: 0x10}
	return []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte("OSRELEASE=7.2.13\nPAGESIZE=4096\n"))}
}

func write(t *testing.T, mem physmem.Reader, ranges []physmem.Range, notes []elfnote.Note) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, mem, ranges, notes); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteRoundTrip(t *testing.T) {
	mem := capturetest.Mem{0: pattern(0), 1: pattern(1), 2: nil, 3: nil, 4: pattern(4), 5: pattern(5), 9: nil, 10: pattern(10), 1 << 40: pattern(1 << 40)}
	b := write(t, mem, mem.Ranges(), sampleNotes())
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	capturetest.Same(t, f, mem)
	notes := sampleNotes()
	for i := range notes {
		notes[i].Off = f.Notes[i].Off
	}
	if !reflect.DeepEqual(f.Notes, notes) {
		t.Errorf("notes are %+v\nwant %+v", f.Notes, notes)
	}
	if len(f.CPUs) != 1 || f.CPUs[0].CR3 != 0x2000 || !strings.HasPrefix(string(f.VMCoreInfo), "OSRELEASE=7.2.13\n") {
		t.Errorf("CPUs %+v, VMCOREINFO %q", f.CPUs, f.VMCoreInfo)
	}

	// Written again from what was read, it is the same file.
	if again := write(t, f, f.Ranges(), f.Notes); !bytes.Equal(again, b) {
		t.Error("writing what was read gives another file")
	}
	checkReadelf(t, b, 1+5, 2)
}

// TestWriteParts: ranges may overlap, cut frames, and name memory that is not there.
func TestWriteParts(t *testing.T) {
	mem := capturetest.Mem{}
	for pfn := range x86.PFN(10) {
		mem[pfn] = pattern(pfn)
	}
	b := write(t, mem, []physmem.Range{{Start: 0x7000, End: 0x8000}, {Start: 0x1800, End: 0x4800}, {Start: 0x2000, End: 0x3000}, {Start: 0x9000, End: 1 << 52}}, nil)
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	capturetest.Same(t, f, capturetest.Mem{2: pattern(2), 3: pattern(3), 7: pattern(7), 9: pattern(9)})
}

// TestWriteManySegments: at 65535 program headers the count moves into section header 0. One below, it does not.
func TestWriteManySegments(t *testing.T) {
	for _, loads := range []int{65533, 65534} {
		mem := capturetest.Mem{}
		frame := pattern(1)
		for i := range loads {
			pfn := x86.PFN(i * 2)
			mem[pfn] = nil // excluded: the file stays small
			if i%1000 == 0 {
				mem[pfn] = frame
			}
		}
		b := write(t, mem, mem.Ranges(), sampleNotes())
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(f.Ranges()); n != loads {
			t.Fatalf("%d ranges, want %d", n, loads)
		}
		capturetest.Same(t, f, mem)
		extended := b[56] == 0xff && b[57] == 0xff
		if want := loads+1 >= 0xffff; extended != want {
			t.Errorf("%d segments: PN_XNUM is %v", loads, extended)
		}
		checkReadelf(t, b, loads+1, 2)
	}
}

func TestWriteErrors(t *testing.T) {
	mem := capturetest.Mem{1: pattern(1)}
	full := errors.New("disk full")
	if err := Write(failing{full}, mem, mem.Ranges(), nil); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	// Memory that cannot be read for another reason than not being there must not turn into a hole.
	f, err := newCore(loadSeg(0, 4096, 8192)).frames(4096, 0, 1).open()
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(&bytes.Buffer{}, f, f.Ranges(), nil); !errors.Is(err, ferr.ErrTruncated) {
		t.Errorf("error %v, want %v", err, ferr.ErrTruncated)
	}
}

type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

// TestWriteStandardLibrary: another reader finds the same segments.
func TestWriteStandardLibrary(t *testing.T) {
	mem := capturetest.Mem{3: pattern(3), 4: nil, 8: pattern(8)}
	f, err := elf.NewFile(bytes.NewReader(write(t, mem, mem.Ranges(), sampleNotes())))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_CORE || f.Machine != elf.EM_X86_64 || len(f.Progs) != 3 || f.Progs[0].Type != elf.PT_NOTE {
		t.Fatalf("%+v", f.FileHeader)
	}
	for i, want := range []struct {
		pfn           x86.PFN
		filesz, memsz uint64
	}{{3, 4096, 8192}, {8, 4096, 4096}} {
		p := f.Progs[i+1]
		got := make([]byte, p.Filesz)
		if _, err := p.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if p.Type != elf.PT_LOAD || p.Paddr != uint64(want.pfn.Phys()) || p.Filesz != want.filesz || p.Memsz != want.memsz || !bytes.Equal(got, pattern(want.pfn)[:]) {
			t.Errorf("segment %d is %+v", i, p.ProgHeader)
		}
	}
}

// checkReadelf asks binutils, where they are installed, whether they can read b: its segments and notes.
func checkReadelf(t *testing.T, b []byte, segments, notes int) {
	t.Helper()
	readelf, err := exec.LookPath("readelf")
	if err != nil {
		t.Log("readelf is not installed: not asked")
		return
	}
	path := filepath.Join(t.TempDir(), "core")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(readelf, "-lnW", path)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil || strings.Contains(stderr.String(), "Error") {
		t.Fatalf("readelf: %v\n%s", err, stderr.String())
	}
	if n := strings.Count(out.String(), "\n  LOAD ") + strings.Count(out.String(), "\n  NOTE "); n != segments {
		t.Errorf("readelf finds %d segments, want %d", n, segments)
	}
	if n := strings.Count(out.String(), "\n  QEMU ") + strings.Count(out.String(), "\n  VMCOREINFO "); n != notes {
		t.Errorf("readelf finds %d notes, want %d:\n%s%s", n, notes, out.String()[max(0, out.Len()-600):], stderr.String())
	}
}
