package ptdump

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/pttree"
)

// runAsPtdump makes this test binary be ptdump, so that a test can see how a whole process ends.
const runAsPtdump = "PTEMU_TEST_IS_PTDUMP"

func TestMain(m *testing.M) {
	peak := os.Getenv(runAsPtdump)
	if peak == "" {
		os.Exit(m.Run())
	}
	exit := Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	// What the system says of an ended child counts its parent's memory too: only the child knows its own.
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		if err := os.WriteFile(peak, status, 0o600); err != nil {
			panic(err)
		}
	}
	os.Exit(exit)
}

// peakMemory returns the most memory that ptdump has held, as it wrote it down.
func peakMemory(t *testing.T, peak string) uint64 {
	t.Helper()
	status, err := os.ReadFile(peak)
	if err != nil {
		t.Skip("the system does not say how much memory a process has used")
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("no VmHWM in %q", status)
	return 0
}

const (
	hostileMemory = 256 << 20        // bytes that no capture may make ptdump use
	hangs         = 90 * time.Second // after this it counts as a hang
)

// survive runs ptdump on a file and fails if it crashes, hangs, uses too much memory, or gives up without a word.
func survive(t *testing.T, what string, args ...string) (exit int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	peak := filepath.Join(t.TempDir(), "peak")
	cmd.Env = append(os.Environ(), runAsPtdump+"="+peak)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &errs
	err := cmd.Run()
	var gone *exec.ExitError
	if err != nil && !errors.As(err, &gone) {
		t.Fatalf("%s: ptdump %v: %v", what, args, err)
	}
	exit, stderr = cmd.ProcessState.ExitCode(), errs.String()
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s: ptdump %v hangs", what, args)
	case strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") || exit < 0 || exit > exitUnreadable:
		t.Errorf("%s: ptdump %v crashed, exit %d:\n%.2000s", what, args, exit, stderr)
	case exit == exitUnreadable && len(stderr) < 20:
		t.Errorf("%s: ptdump %v gives up without a reason: %q", what, args, stderr)
	}
	if use := peakMemory(t, peak); use > hostileMemory {
		t.Errorf("%s: ptdump %v used %d MiB", what, args, use>>20)
	}
	return exit, stderr
}

func committed(t *testing.T, folder string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(capturetest.Repository(), "testdata", "captures", folder, "tables.elf.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTruncated: a capture that ends early, anywhere, is reported and never crashes.
func TestTruncated(t *testing.T) {
	whole := committed(t, "linux-6.1-4level")
	path := filepath.Join(t.TempDir(), "cut")
	sizes := []int{0, 1, 4, 16, 63, 64, 100, 1000, 4095, 4096, 5000, len(whole) - 1, len(whole) - 4096}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		sizes = append(sizes, rng.IntN(len(whole)))
	}
	// An empty file, and the first bytes of one that is nothing known, say where by themselves.
	place := regexp.MustCompile(`file is empty|starts with [0-9a-f]|0x[0-9a-f]+|\d+ (B|KiB|MiB|bytes?)\b|(offset|frame|byte) \d+`)
	for _, n := range sizes {
		write(t, path, whole[:n])
		for _, cmd := range []string{"dump", "info"} {
			exit, stderr := survive(t, fmt.Sprintf("first %d bytes", n), cmd, path)
			if exit == exitUnreadable && !place.MatchString(stderr) {
				t.Errorf("first %d bytes: %s names no place: %s", n, cmd, stderr)
			}
			if cmd == "dump" && exit == exitOK {
				t.Errorf("first %d of %d bytes: dump finds nothing wrong", n, len(whole))
			}
		}
	}
}

// TestFlipped: a capture with wrong bits in it is explained as far as it goes.
func TestFlipped(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	path := filepath.Join(t.TempDir(), "flipped")
	for _, folder := range []string{"linux-6.1-4level", "linux-6.12-la57"} {
		whole := committed(t, folder)
		for seed := range rounds {
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			b := bytes.Clone(whole)
			end := len(b)
			if seed%2 == 0 {
				end = min(end, 8192) // headers and notes
			}
			for range 1 << rng.IntN(8) {
				b[rng.IntN(end)] ^= 1 << rng.IntN(8)
			}
			write(t, path, b)
			survive(t, fmt.Sprintf("%s, seed %d", folder, seed), []string{"dump", "info", "entries"}[seed%3], path)
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBombs: trees that mean billions of pages, and files that unpack to terabytes.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	const table = x86.PageTable
	capture := func(name string, build func(m *pttree.Mem)) string {
		m := pttree.New(1)
		build(m)
		var b bytes.Buffer
		if err := elfcore.Write(&b, m, m.Ranges(), nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		write(t, path, b.Bytes())
		return path
	}
	self := capture("self", func(m *pttree.Mem) {
		root := m.Table()
		m.Fill(root, uint64(root.Phys())|table)
	})
	ring := capture("ring", func(m *pttree.Mem) {
		a, b, c := m.Table(), m.Table(), m.Table()
		m.Fill(a, uint64(b.Phys())|table)
		m.Fill(b, uint64(c.Phys())|table)
		m.Fill(c, uint64(a.Phys())|table)
	})
	dag := capture("dag", func(m *pttree.Mem) { // in four levels the last tables are pages, all alike: one range
		root := m.Table()
		upper := root
		for range 4 {
			next := m.Table()
			m.Fill(upper, uint64(next.Phys())|table)
			upper = next
		}
		for i := range m.At(upper) { // no two neighbours mean the same
			m.At(upper)[i] = uint64(i)<<x86.PageShift | x86.PagePresent | uint64(i%2)*x86.PageRW
		}
	})
	for _, path := range []string{self, ring, dag} {
		for _, levels := range []string{"4", "5"} {
			for _, cmd := range []string{"dump", "entries", "info"} {
				exit, _ := survive(t, filepath.Base(path)+", "+levels+" levels", cmd, "--cr3", "0x1000", "--levels", levels, path)
				if cmd != "info" && exit != exitFinding && !(path == dag && levels == "4" && cmd == "dump") {
					t.Errorf("%s of %s, %s levels: exit %d, want a finding", cmd, path, levels, exit)
				}
			}
			survive(t, filepath.Base(path), "dump", "--style", "kernel", "--cr3", "0x1000", "--levels", levels, path)
		}
	}

	zeros := filepath.Join(dir, "zeros.gz")
	f, err := os.Create(zeros)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	head := committed(t, "linux-6.1-4level")[:4096]
	for i, block := 0, make([]byte, 1<<20); i < 600 && err == nil; i++ {
		if i == 0 {
			_, err = z.Write(head)
		}
		_, err = z.Write(block)
	}
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []string{"dump", "info"} {
		if exit, _ := survive(t, "a bomb", cmd, zeros); exit == exitOK && cmd == "dump" {
			t.Error("600 MiB of zeros: dump finds nothing wrong")
		}
	}
}

// TestInfoOfMillionRanges: a file with as many memory segments as are read is described in bounded memory, and what is not
// listed is counted.
func TestInfoOfMillionRanges(t *testing.T) {
	const segments, head = 1_000_000, 64 + 64
	le := binary.LittleEndian
	b := make([]byte, head, head+56*segments)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 4)      // a core
	le.PutUint16(b[18:], 62)     // of x86-64
	le.PutUint64(b[32:], head)   // program headers
	le.PutUint64(b[40:], 64)     // section headers, of which the first has their number
	le.PutUint16(b[54:], 56)     // bytes each
	le.PutUint16(b[56:], 0xffff) // how many: see there
	le.PutUint32(b[64+44:], segments)
	for i := range uint64(segments) {
		b = le.AppendUint32(b, 1) // memory
		b = le.AppendUint32(b, 6)
		for _, v := range []uint64{64, 0, i << 13, 4096, 4096, 4096} { // offset, virtual, physical, sizes, alignment
			b = le.AppendUint64(b, v)
		}
	}
	path := filepath.Join(t.TempDir(), "million.elf")
	write(t, path, b)
	b = nil
	for _, format := range formatNames {
		if exit, stderr := survive(t, "a million segments", "info", "--format", format, path); exit != exitOK {
			t.Errorf("%s: exit %d, %s", format, exit, stderr)
		}
	}
	_, stdout, _ := run(t, "info", "--format", "json", path)
	var i info
	if err := json.Unmarshal([]byte(stdout), &i); err != nil {
		t.Fatal(err)
	}
	if i.Memory != segments<<12 || len(i.Ranges)+i.MoreRanges != segments || i.MoreRanges == 0 {
		t.Errorf("%d bytes in %d ranges and %d more", i.Memory, len(i.Ranges), i.MoreRanges)
	}
	if _, stdout, _ := run(t, "info", path); !strings.Contains(stdout, "in 1000000 ranges") {
		t.Errorf("%.300s", stdout)
	}
}
