// Package capturetest is what the tests of the capture formats share: the folder of real captures, memory made up for
// a test, and the laws that every reader must obey.
package capturetest

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// Dir returns the folder of real captures: $PTEMU_CAPTURES, else ../shared/captures beside the module. Without it
// the test is skipped.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("PTEMU_CAPTURES")
	if dir == "" {
		dir = filepath.Join(moduleRoot(tb), "..", "shared", "captures")
	}
	if _, err := os.Stat(dir); err != nil {
		tb.Skipf("no captures to test with (set PTEMU_CAPTURES): %v", err)
	}
	return dir
}

func moduleRoot(tb testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
	}
}

// Machines are the captured machines that have a tables.elf, with the number of frames in it as readelf shows them.
var Machines = map[string]int{
	"kernel-ptdump-7.2-la57": 147,
	"linux-6.1-4level":       167,
	"linux-6.12-la57":        162,
	"linux-7.2-4level":       171,
}

// Registers returns the values that QEMU's "info registers -a" printed for a captured machine, by register name
// ("CR3", "RIP"), one map for each CPU. Of a segment it is the selector under its name and the base under "GS base".
func Registers(tb testing.TB, machine string) []map[string]uint64 {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(tb), machine, "qemu-registers.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	var cpus []map[string]uint64
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "CPU#") {
			cpus = append(cpus, map[string]uint64{})
			continue
		}
		if len(cpus) == 0 {
			continue
		}
		regs := cpus[len(cpus)-1]
		for _, m := range register.FindAllStringSubmatch(line, -1) {
			v, err := strconv.ParseUint(m[2], 16, 64)
			if err != nil {
				tb.Fatalf("%q: %v", m[0], err)
			}
			regs[m[1]] = v
			if m[3] != "" {
				if regs[m[1]+" base"], err = strconv.ParseUint(m[3], 16, 64); err != nil {
					tb.Fatalf("%q: %v", m[0], err)
				}
			}
		}
	}
	if len(cpus) == 0 {
		tb.Fatalf("%s: no registers", machine)
	}
	return cpus
}

var register = regexp.MustCompile(`\b([A-Z][A-Z0-9]+) ?= *([0-9a-f]+)(?: ([0-9a-f]{16}))?`)

// Mem is memory made up for a test. A nil frame is excluded.
type Mem map[x86.PFN]*physmem.Frame

// ReadFrame implements [physmem.Reader].
func (m Mem) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	f, ok := m[pfn]
	switch {
	case !ok:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	case f == nil:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrExcluded}
	}
	*dst = *f
	return nil
}

// Ranges implements [physmem.Reader].
func (m Mem) Ranges() []physmem.Range {
	var rs []physmem.Range
	for _, pfn := range slices.Sorted(maps.Keys(m)) {
		rs = append(rs, physmem.Range{Start: pfn.Phys(), End: (pfn + 1).Phys()})
	}
	return physmem.Normalize(rs)
}

// Pattern is a frame whose every word tells which frame it is and which word.
func Pattern(pfn x86.PFN) *physmem.Frame {
	var f physmem.Frame
	for i := 0; i < len(f); i += 8 {
		binary.LittleEndian.PutUint64(f[i:], uint64(pfn)<<16|uint64(i)|0xa5<<56)
	}
	return &f
}

// Same fails the test unless got and want give the same result for every frame of want's ranges and the frames around them.
func Same(tb testing.TB, got, want physmem.Reader) {
	tb.Helper()
	if g, w := got.Ranges(), want.Ranges(); !slices.Equal(g, w) {
		tb.Fatalf("ranges are %v, want %v", g, w)
	}
	for _, r := range want.Ranges() {
		first, end := r.Frames()
		for pfn := max(first, 1) - 1; pfn <= end; pfn++ {
			SameFrame(tb, got, want, pfn)
		}
	}
}

// SameFrame fails the test unless got and want have the same content in frame pfn, or lack it for the same reason.
func SameFrame(tb testing.TB, got, want physmem.Reader, pfn x86.PFN) {
	tb.Helper()
	var g, w physmem.Frame
	gerr, werr := got.ReadFrame(pfn, &g), want.ReadFrame(pfn, &w)
	var fe *physmem.FrameError
	if gerr != nil && (!errors.As(gerr, &fe) || fe.PFN != pfn) {
		tb.Fatalf("frame %#x: error %v is not a FrameError of it", uint64(pfn), gerr)
	}
	for _, reason := range []error{physmem.ErrAbsent, physmem.ErrExcluded, ferr.ErrTruncated} {
		if errors.Is(gerr, reason) != errors.Is(werr, reason) {
			tb.Fatalf("frame %#x: error %v, want %v", uint64(pfn), gerr, werr)
		}
	}
	if (gerr == nil) != (werr == nil) {
		tb.Fatalf("frame %#x: error %v, want %v", uint64(pfn), gerr, werr)
	}
	if gerr == nil && g != w {
		tb.Fatalf("frame %#x: another content", uint64(pfn))
	}
}

// Probe reads frames at the bounds of every range, at most a few hundred, and at the ends of the address space. It
// fails the test if an error is not one that a [physmem.Reader] may give.
func Probe(tb testing.TB, m physmem.Reader) {
	tb.Helper()
	pfns := []x86.PFN{0, 1, 1<<40 - 1, 1<<52 - 1, 1 << 52, ^x86.PFN(0)}
	for i, r := range m.Ranges() {
		if r.End <= r.Start {
			tb.Fatalf("range %d is %v", i, r)
		}
		if i < 100 {
			pfns = append(pfns, r.Start.PFN(), (r.End - 1).PFN(), r.End.PFN(), r.Start.PFN()+x86.PFN(r.Len()>>13))
		}
	}
	var f physmem.Frame
	for _, pfn := range pfns {
		err := m.ReadFrame(pfn, &f)
		var frame *physmem.FrameError
		var format *ferr.FormatError
		switch {
		case pfn >= 1<<52 && !errors.Is(err, physmem.ErrAbsent):
			tb.Fatalf("frame %#x, beyond 2^64 bytes: %v", uint64(pfn), err)
		case err == nil:
		case !errors.As(err, &frame) || frame.PFN != pfn:
			tb.Fatalf("frame %#x: error without its frame: %v", uint64(pfn), err)
		case errors.Is(err, physmem.ErrAbsent), errors.Is(err, physmem.ErrExcluded), errors.As(err, &format):
		default:
			tb.Fatalf("frame %#x: error without a place: %v", uint64(pfn), err)
		}
	}
}

// WantFormatError fails the test unless err is a FormatError at off.
func WantFormatError(tb testing.TB, err error, off int64) {
	tb.Helper()
	var fe *ferr.FormatError
	if !errors.As(err, &fe) {
		tb.Fatalf("error %v, want a FormatError", err)
	}
	if fe.Off != off {
		tb.Fatalf("error at offset %#x, want %#x: %v", fe.Off, off, err)
	}
}

// Limit is the memory that no hostile file may make us exceed.
const Limit = 256 << 20

// Small runs f and fails the test if it allocated more than [Limit] in all, freed or not.
func Small(tb testing.TB, f func()) {
	tb.Helper()
	before := allocated()
	f()
	if n := allocated() - before; n > Limit {
		tb.Fatalf("allocated %d MiB", n>>20)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
