package linux

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/truth"
	"ptemu/physmem"
)

// committed are the captures of testdata/captures, with what their README says of them.
var committed = []struct {
	dir           string
	kernel        string
	levels        int
	cpus          int
	devicePrivate bool
}{
	{"linux-6.1-4level", "6.1", 4, 1, false},
	{"linux-6.12-la57", "6.12", 5, 2, false},
	{"linux-7.2-4level", "7.2", 4, 1, true},
	{"kernel-ptdump-7.2-la57", "7.2", 5, 1, false},
}

const committedDir = "../testdata/captures"

// sharedCapture returns the path of a file of the captures outside the repository, or skips the test.
func sharedCapture(t testing.TB, dir, name string) string {
	t.Helper()
	return truth.Whole(t, "..", dir, name)
}

// openCapture opens a capture and takes from it what [Detect] wants.
func openCapture(t testing.TB, path string) (*capture.Capture, []CPU) {
	t.Helper()
	c, err := capture.Open(path, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var cpus []CPU
	for _, n := range c.CPUs {
		cpus = append(cpus, CPU{
			CR0: n.CR0, CR3: n.CR3, CR4: n.CR4, EFER: n.EFER, HasEFER: n.HasEFER,
			GSBase: x86.Virt(n.GSBase), KernelGSBase: x86.Virt(n.KernelGSBase),
		})
	}
	return c, cpus
}

func detect(t testing.TB, path string, opts Options) (*System, *capture.Capture) {
	t.Helper()
	c, cpus := openCapture(t, path)
	s, err := Detect(c.Mem, c.VMCoreInfo, cpus, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// eachLine calls f for every line of a file, which may be compressed.
func eachLine(t *testing.T, path string, f func(string)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	switch filepath.Ext(path) {
	case ".zst":
		z, err := zstd.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	case ".gz":
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	s := bufio.NewScanner(r)
	for s.Scan() {
		f(s.Text())
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
}

// symbols reads the lines "K address type name" and "V name value" of a guest's log.
func symbols(t *testing.T, path string) (addr, value map[string]uint64) {
	addr, value = map[string]uint64{}, map[string]uint64{}
	eachLine(t, path, func(line string) {
		w := strings.Fields(line)
		switch {
		case len(w) == 4 && w[0] == "K":
			addr[w[3]] = hex(t, w[1])
		case len(w) == 3 && w[0] == "V":
			value[w[1]] = hex(t, w[2])
		}
	})
	if len(addr) == 0 {
		t.Fatalf("%s: no K line", path)
	}
	return addr, value
}

func hex(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tlbLeaf is a line of QEMU's info tlb.
type tlbLeaf struct {
	va   x86.Virt
	pa   x86.Phys
	size uint64
}

// kernelLeaves reads the kernel half of QEMU's walk.
func kernelLeaves(t *testing.T, path string) []tlbLeaf {
	var out []tlbLeaf
	eachLine(t, path, func(line string) {
		w := strings.Fields(line)
		if len(w) != 3 || w[0][0] != 'f' {
			return
		}
		l := tlbLeaf{x86.Virt(hex(t, strings.TrimSuffix(w[0], ":"))), x86.Phys(hex(t, w[1])), x86.PageSize}
		if w[2][2] == 'P' {
			l.size = x86.LevelPMD.Size()
		}
		out = append(out, l)
	})
	if len(out) == 0 {
		t.Fatalf("%s: no line of the kernel half", path)
	}
	return out
}

// firstFrom returns the first leaf at or above va.
func firstFrom(t *testing.T, leaves []tlbLeaf, va x86.Virt) tlbLeaf {
	t.Helper()
	for _, l := range leaves {
		if l.va >= va {
			return l
		}
	}
	t.Fatalf("nothing is mapped from %v on", va)
	return tlbLeaf{}
}

func readWord(t *testing.T, mem physmem.Reader, pa x86.Phys) uint64 {
	t.Helper()
	var f physmem.Frame
	if err := mem.ReadFrame(pa.PFN(), &f); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(f[pa.Offset():])
}

// without is memory that lacks a frame.
type without struct {
	physmem.Reader
	pfn x86.PFN
}

func (w without) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if pfn == w.pfn {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	return w.Reader.ReadFrame(pfn, dst)
}
