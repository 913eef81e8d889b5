package physmem_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/capture/elfcore"
	"ptemu/physmem"
)

const ramBase = 0x100000

func newRAM(t testing.TB, frames uint64) *physmem.RAM {
	t.Helper()
	r, err := physmem.NewRAM(ramBase, frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func alloc(t testing.TB, r *physmem.RAM, u physmem.Use) x86.PFN {
	t.Helper()
	pfn, err := r.Alloc(u)
	if err != nil {
		t.Fatal(err)
	}
	return pfn
}

func TestRAMArguments(t *testing.T) {
	for _, c := range []struct {
		base   x86.PFN
		frames uint64
	}{{1, 512}, {511, 512}, {0, 0}, {0, 1<<40 + 1}, {1 << 40, 512}, {^x86.PFN(511), 1024}} {
		if r, err := physmem.NewRAM(c.base, c.frames); err == nil {
			r.Close()
			t.Errorf("NewRAM(%#x, %#x) succeeded", uint64(c.base), c.frames)
		}
	}
}

// TestRAMContiguous: frames of one use come out side by side, whatever is allocated in between, and 2 MiB aligned.
func TestRAMContiguous(t *testing.T) {
	r := newRAM(t, 8192)
	first := alloc(t, r, physmem.UseTable)
	if first%physmem.BlockFrames != 0 {
		t.Errorf("first table in frame %#x", uint64(first))
	}
	if at := uintptr(unsafe.Pointer(r.Frame(first))); at%(2<<20) != 0 {
		t.Errorf("the arena is at %#x", at)
	}
	for i := range x86.PFN(511) {
		alloc(t, r, physmem.UsePage)
		if pfn := alloc(t, r, physmem.UseTable); pfn != first+i+1 {
			t.Fatalf("table %d in frame %#x, the first in %#x", i+1, uint64(pfn), uint64(first))
		}
	}
	huge, err := r.AllocHuge()
	if err != nil || huge%physmem.BlockFrames != 0 {
		t.Errorf("huge page at %#x, %v", uint64(huge), err)
	}
	// A block that was left empty begins anew, whatever the order in which it was left.
	for i := range x86.PFN(512) {
		if err := r.Free(first + i*5%512); err != nil {
			t.Fatal(err)
		}
	}
	again := alloc(t, r, physmem.UseTable)
	for i := range x86.PFN(511) {
		if pfn := alloc(t, r, physmem.UseTable); pfn != again+i+1 {
			t.Fatalf("table %d in frame %#x, the first in %#x", i+1, uint64(pfn), uint64(again))
		}
	}
}

func TestRAMLastFreedFirst(t *testing.T) {
	r := newRAM(t, 4096)
	var all []x86.PFN
	for range 1500 {
		all = append(all, alloc(t, r, physmem.UsePage))
	}
	for _, i := range []int{3, 1400, 600, 4} {
		if err := r.Free(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{4, 3, 600, 1400} {
		if pfn := alloc(t, r, physmem.UsePage); pfn != all[i] {
			t.Errorf("got %#x, want %#x", uint64(pfn), uint64(all[i]))
		}
	}
}

func TestRAMDoubleFree(t *testing.T) {
	r := newRAM(t, 1024)
	pfn := alloc(t, r, physmem.UsePage)
	if err := r.Free(pfn); err != nil {
		t.Fatal(err)
	}
	for _, pfn := range []x86.PFN{pfn, pfn + 1, ramBase - 1, ramBase + 1024, 0, ^x86.PFN(0)} {
		if err := r.Free(pfn); !errors.Is(err, physmem.ErrNotAllocated) {
			t.Errorf("free of %#x: %v", uint64(pfn), err)
		}
	}
	if r.Used() != 0 {
		t.Errorf("%d frames used", r.Used())
	}
}

func TestRAMLimit(t *testing.T) {
	r := newRAM(t, 1000) // the second block is short of a huge page
	r.SetLimit(700)
	var all []x86.PFN
	for {
		pfn, err := r.Alloc(physmem.Use(len(all) % 2))
		if errors.Is(err, physmem.ErrNoMemory) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, pfn)
	}
	if len(all) != 700 || r.Used() != 700 {
		t.Errorf("%d frames allocated, %d used, want 700", len(all), r.Used())
	}
	r.SetLimit(5000)
	for range 300 {
		alloc(t, r, physmem.UsePage) // also from the blocks of tables
	}
	if _, err := r.Alloc(physmem.UsePage); !errors.Is(err, physmem.ErrNoMemory) {
		t.Errorf("frame 1001: %v", err)
	}
	for pfn := range x86.PFN(1000) {
		if err := r.Free(ramBase + pfn); err != nil {
			t.Fatal(err)
		}
	}
	if pfn, err := r.AllocHuge(); err != nil || pfn != ramBase {
		t.Errorf("huge page at %#x, %v", uint64(pfn), err)
	}
	if _, err := r.AllocHuge(); !errors.Is(err, physmem.ErrNoMemory) {
		t.Errorf("second huge page: %v", err)
	}
	if err := r.FreeHuge(ramBase); err != nil {
		t.Error(err)
	}
	if err := r.FreeHuge(ramBase); !errors.Is(err, physmem.ErrNotAllocated) {
		t.Errorf("second FreeHuge: %v", err)
	}
}

// TestRAMModel allocates and frees at random, and compares with a set of frames. Each frame carries its number while
// it is in use and must be zero when it is handed out.
func TestRAMModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const frames = 2048 + 100
	r := newRAM(t, frames)
	used := map[x86.PFN]physmem.Use{}
	mark := func(pfn x86.PFN, u physmem.Use) {
		t.Helper()
		if _, ok := used[pfn]; ok || !r.Contains(pfn) {
			t.Fatalf("frame %#x handed out twice, or from outside", uint64(pfn))
		}
		if *r.Frame(pfn) != (physmem.Frame{}) || *r.Line(pfn) != (physmem.Line{}) {
			t.Fatalf("frame %#x is not zero", uint64(pfn))
		}
		used[pfn] = u
		r.Frame(pfn)[rnd.IntN(4096)] = 1
		if u == physmem.UseTable {
			r.Line(pfn)[rnd.IntN(8)] = 1
		}
	}
	var list []x86.PFN
	for range 20000 {
		switch k := rnd.IntN(100); {
		case k < 50:
			u := physmem.Use(rnd.IntN(2))
			pfn, err := r.Alloc(u)
			if (err != nil) != (len(used) == frames) {
				t.Fatalf("%d in use: %v", len(used), err)
			}
			if err == nil {
				mark(pfn, u)
				list = append(list, pfn)
			}
		case k < 52:
			pfn, err := r.AllocHuge()
			if err != nil {
				continue
			}
			if pfn%512 != 0 {
				t.Fatalf("huge page at %#x", uint64(pfn))
			}
			for i := range x86.PFN(512) {
				mark(pfn+i, physmem.UsePage)
				list = append(list, pfn+i)
			}
		case k < 53:
			for _, pfn := range list {
				if err := r.Free(pfn); err != nil {
					t.Fatal(err)
				}
			}
			list, used = nil, map[x86.PFN]physmem.Use{}
		case len(list) > 0:
			i := rnd.IntN(len(list))
			if err := r.Free(list[i]); err != nil {
				t.Fatal(err)
			}
			delete(used, list[i])
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
		}
		if r.Used() != uint64(len(used)) {
			t.Fatalf("%d used, want %d", r.Used(), len(used))
		}
	}
	n := 0
	r.EachAllocated(func(pfn x86.PFN, u physmem.Use) bool {
		if want, ok := used[pfn]; !ok || u != want {
			t.Errorf("frame %#x: use %d, want %d, %v", uint64(pfn), u, want, ok)
		}
		n++
		return true
	})
	if n != len(used) {
		t.Errorf("%d frames in use, want %d", n, len(used))
	}
	for pfn := x86.PFN(ramBase - 1); pfn <= ramBase+frames; pfn++ {
		want, wantOK := used[pfn]
		if u, ok := r.UseOf(pfn); ok != wantOK || ok && u != want {
			t.Errorf("UseOf(%#x) = %d, %v, want %d, %v", uint64(pfn), u, ok, want, wantOK)
		}
	}
}

func TestRAMConcurrent(t *testing.T) {
	r := newRAM(t, 4096)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var mine []x86.PFN
			for i := range 3000 {
				if pfn, err := r.Alloc(physmem.Use(i % 2)); err == nil {
					r.Table(pfn)[i%512] = uint64(g + 1)
					mine = append(mine, pfn)
					if u, used := r.UseOf(pfn); !used || u != physmem.Use(i%2) {
						t.Errorf("frame %#x: use %d, %v", uint64(pfn), u, used)
					}
				}
				if i%3 == 2 {
					if err := r.Free(mine[0]); err != nil {
						t.Error(err)
					}
					mine = mine[1:]
				}
			}
			for _, pfn := range mine {
				if err := r.Free(pfn); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if r.Used() != 0 {
		t.Errorf("%d frames used", r.Used())
	}
}

// TestRAMIsACapture: memory written out as an ELF core reads back as it was; free frames are excluded from both.
func TestRAMIsACapture(t *testing.T) {
	r := newRAM(t, 1024)
	var all []x86.PFN
	for i := range 700 {
		pfn := alloc(t, r, physmem.Use(i/600))
		r.Table(pfn)[i%512] = 0x0123456789abcdef + uint64(i)
		all = append(all, pfn)
	}
	for i := 0; i < 700; i += 3 {
		if err := r.Free(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	if err := elfcore.Write(&buf, r, r.Ranges(), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ram.elf")
	if err := os.WriteFile(path, buf.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := capture.Open(path, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read := 0
	for pfn := x86.PFN(ramBase - 1); pfn <= ramBase+1024; pfn++ {
		var want, got physmem.Frame
		wantErr, err := r.ReadFrame(pfn, &want), c.Mem.ReadFrame(pfn, &got)
		for _, sentinel := range []error{physmem.ErrAbsent, physmem.ErrExcluded} {
			if errors.Is(err, sentinel) != errors.Is(wantErr, sentinel) {
				t.Fatalf("frame %#x: %v, in memory %v", uint64(pfn), err, wantErr)
			}
		}
		if wantErr == nil {
			read++
			if got != want {
				t.Fatalf("frame %#x differs", uint64(pfn))
			}
		}
	}
	if read != int(r.Used()) {
		t.Errorf("%d frames read, %d used", read, r.Used())
	}
}
