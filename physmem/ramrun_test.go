package physmem_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestRAMFreeRun gives runs of frames back at once in one memory, one by one in another: both hand out the same frames
// ever after.
func TestRAMFreeRun(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const frames = 2048 + 100
	one, run := newRAM(t, frames), newRAM(t, frames)
	used := map[x86.PFN]physmem.Use{}
	both := func(u physmem.Use) {
		t.Helper()
		a, errA := one.Alloc(u)
		b, errB := run.Alloc(u)
		if a != b || (errA != nil) != (errB != nil) {
			t.Fatalf("one by one %#x, %v; in runs %#x, %v", uint64(a), errA, uint64(b), errB)
		}
		if errA == nil {
			used[a] = u
		}
	}
	for range 3000 {
		for range rnd.IntN(400) {
			both(physmem.Use(rnd.IntN(20) / 19))
		}
		first, n, most := ramBase+x86.PFN(rnd.IntN(frames)), x86.PFN(0), x86.PFN(rnd.IntN(1200))
		for ; n < most; n++ {
			if u, ok := used[first+n]; !ok || u != physmem.UsePage {
				break
			}
		}
		if rnd.IntN(10) == 0 { // one too many, of which nothing comes
			if u, ok := used[first+n]; ok && u == physmem.UsePage {
				continue
			}
			if err := run.FreeRun(first, uint64(n+1)); !errors.Is(err, physmem.ErrNotAllocated) {
				t.Fatalf("free of %d frames from %#x: %v", n+1, uint64(first), err)
			}
			continue
		}
		for i := range n {
			if err := one.Free(first + i); err != nil {
				t.Fatal(err)
			}
			delete(used, first+i)
		}
		if err := run.FreeRun(first, uint64(n)); err != nil {
			t.Fatal(err)
		}
		if one.Used() != run.Used() || run.Used() != uint64(len(used)) {
			t.Fatalf("%d used one by one, %d in runs, want %d", one.Used(), run.Used(), len(used))
		}
	}
	for len(used) < frames {
		both(physmem.UsePage)
	}
	for _, c := range []struct {
		pfn x86.PFN
		n   uint64
	}{{ramBase - 1, 2}, {ramBase, frames + 1}, {ramBase + frames, 1}, {^x86.PFN(0), 1}, {ramBase + 1, ^uint64(0)}} {
		if err := run.FreeRun(c.pfn, c.n); !errors.Is(err, physmem.ErrNotAllocated) {
			t.Errorf("free of %d frames from %#x: %v", c.n, uint64(c.pfn), err)
		}
	}
}

// TestRAMAllocStale: the frame is the one that Alloc would give, whatever it contains; the next owner gets zeros.
func TestRAMAllocStale(t *testing.T) {
	r := newRAM(t, 1024)
	first := alloc(t, r, physmem.UsePage)
	for _, content := range []int{0, 4095} {
		r.Frame(first)[content] = 1
		if err := r.Free(first); err != nil {
			t.Fatal(err)
		}
		pfn, err := r.AllocStale()
		if use, ok := r.UseOf(pfn); err != nil || pfn != first || use != physmem.UsePage || !ok {
			t.Fatalf("frame %#x, use %d, %v, %v, want %#x", uint64(pfn), use, ok, err, uint64(first))
		}
		if err := r.Free(first); err != nil {
			t.Fatal(err)
		}
		if pfn := alloc(t, r, physmem.UseTable); pfn != first || *r.Frame(pfn) != (physmem.Frame{}) {
			t.Fatalf("frame %#x, first byte %d, last %d", uint64(pfn), r.Frame(pfn)[0], r.Frame(pfn)[4095])
		}
	}
	r.SetLimit(1)
	if _, err := r.AllocStale(); !errors.Is(err, physmem.ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
}
