package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// still is a machine's memory that any number of goroutines may read. Frames in excluded were left out of the capture.
type still struct {
	*machineRAM
	excluded map[x86.PFN]bool
}

func (m still) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	f := m.frames[pfn]
	switch {
	case m.excluded[pfn]:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrExcluded}
	case f == nil:
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	*dst = *f
	return nil
}

// kernelOf detects a made-up kernel.
func kernelOf(t *testing.T, k fake, mem physmem.Reader) *System {
	t.Helper()
	s, err := Detect(mem, k.info(), nil, Options{})
	if err != nil || s.InitMM == nil {
		t.Fatal(err, s)
	}
	return s
}

var fake5 = fake{5, 0xff2c2fac40000000, 0xff61db26c0000000, 0xff93db26c0000000, 0xffffffffa6e00000, 0x2000000, 0}

// TestKernelMemory reads each area of the kernel half, and what is in none.
func TestKernelMemory(t *testing.T) {
	encrypted := fake4
	encrypted.enc = 1 << 47
	for _, k := range []fake{fake4, fake5, encrypted} {
		b := k.make()
		for pfn := x86.PFN(0x2000); pfn < 0x2010; pfn++ {
			for i := range x86.EntriesPerTable {
				b.set(pfn, i, uint64(pfn)<<32|uint64(i+7))
			}
		}
		b.mapLeaf(k.vmalloc+0x4000, 0x2003000, x86.LevelPTE, rw)
		b.mapLeaf(k.vmalloc+0x5000, 0x2001000, x86.LevelPTE, rw)
		b.mapLeaf(k.vmalloc+0x6000, 0x2002000, x86.LevelPTE, 0x100) // _PAGE_PROTNONE
		b.mapLeaf(k.vmalloc+0x40000000, 0x2000000, x86.LevelPUD, rw)
		b.mapLeaf(0x400000, 0x2004000, x86.LevelPTE, rw)
		mem := still{b.machineRAM, map[x86.PFN]bool{0x2005: true}}
		m, err := kernelOf(t, k, mem).Memory(mem)
		if err != nil {
			t.Fatal(err)
		}
		for va, want := range map[x86.Virt]uint64{
			k.direct + 0x2000008:      0x200000000008,
			k.vmalloc + 0x4ff8:        0x200300000206,
			k.vmalloc + 0x5010:        0x200100000009,
			k.vmalloc + 0x42000008:    0x200000000008,
			k.text + 0x400000 + 511*8: b.get(b.root, 511),
		} {
			got, err := m.Uint64(va)
			if err != nil || got != want {
				t.Errorf("%d levels: at %v is %#x, %v, want %#x", k.levels, va, got, err, want)
			}
			if low, err := m.Uint32(va); err != nil || low != uint32(want) {
				t.Errorf("%d levels: at %v is %#x, %v, want %#x", k.levels, va, low, err, uint32(want))
			}
		}
		if got, err := m.Uint64(k.vmalloc + 0x4ffc); err != nil || got != 0x700002003 { // across pages that are no neighbours in RAM
			t.Errorf("%d levels: across pages: %#x, %v", k.levels, got, err)
		}
		for va, want := range map[x86.Virt]error{
			k.direct + 0x2005000:       physmem.ErrExcluded,
			k.direct + 0x3ff0000:       physmem.ErrAbsent,
			k.vmalloc + 0x6000:         ErrNotMapped,
			k.vmalloc + 0x9000:         ErrNotMapped,
			k.vmalloc + 0x80000000:     ErrNotMapped,
			0x400000:                   ErrNotKernel,
			0:                          ErrNotKernel,
			0x7fffffffffffffff:         ErrNotKernel,
			0x8000000000000000:         ErrNotKernel,
			0xfe00000000000000:         ErrNotKernel,
			k.direct + 64<<20:          ErrNotMapped,
			k.vmalloc + 0x40000000 - 4: ErrNotMapped,
		} {
			var e *MemoryError
			_, err := m.Uint64(va)
			if !errors.Is(err, want) || !errors.As(err, &e) || e.Addr != va || !strings.Contains(err.Error(), va.String()) {
				t.Errorf("%d levels: at %v: %v, want %v", k.levels, va, err, want)
			}
		}
	}
}

// TestKernelMemoryEdges: the error names the first byte that is missing, and what is before it is read.
func TestKernelMemoryEdges(t *testing.T) {
	b := fake4.make()
	b.write(0x2000ffa, []byte("swapper/0\x00xyz"))
	b.write(0x2002000, []byte("no end"))
	b.frame(0x2003) // of zeros
	mem := still{b.machineRAM, map[x86.PFN]bool{0x2004: true}}
	m, err := kernelOf(t, fake4, mem).Memory(mem)
	if err != nil {
		t.Fatal(err)
	}
	var e *MemoryError
	buf := make([]byte, 0x2000)
	err = m.ReadAt(buf, fake4.direct+0x2002ffe)
	if !errors.As(err, &e) || e.Addr != fake4.direct+0x2004000 || !errors.Is(err, physmem.ErrExcluded) {
		t.Errorf("into an excluded page: %v", err)
	}
	err = m.ReadAt(buf, fake4.direct+0x2002000)
	if string(buf[:6]) != "no end" || err != nil {
		t.Errorf("%q, %v", buf[:6], err)
	}
	for _, c := range []struct {
		off   x86.Virt
		limit int
		want  string
		fails bool
	}{
		{0x2000ffa, 100, "swapper/0", false}, {0x2000ffa, 9, "swapper/0", false}, {0x2000ffa, 3, "swa", false},
		{0x2001003, 100, "", false}, {0x2000ffa, 0, "", false}, {0x2003ff0, 15, "", false}, {0x2004000, 15, "", true},
	} {
		got, err := m.CString(fake4.direct+c.off, c.limit)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%#x, at most %d: %q, %v", uint64(c.off), c.limit, got, err)
		}
	}
	b.write(0x2005ffd, []byte("end"))
	if got, err := m.CString(fake4.direct+0x2005ffd, 10); got != "end" || !errors.Is(err, physmem.ErrAbsent) {
		t.Errorf("text that reaches a missing page: %q, %v", got, err)
	}
	if _, err := (&System{Layout: &Layout{}}).Memory(mem); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v", err)
	}
	delete(b.frames, b.root)
	m, _ = (&System{Layout: &Layout{}, ABI: fake4.abi(), InitMM: &Roots{Kernel: b.root.Phys()}}).Memory(mem)
	if _, err := m.Uint64(fake4.text); !errors.Is(err, physmem.ErrAbsent) || !strings.Contains(err.Error(), "p4d table") {
		t.Errorf("without the root table: %v", err)
	}
}

// TestKernelMemoryForgets: a frame that cannot be read is never taken for the one that was kept in its place.
func TestKernelMemoryForgets(t *testing.T) {
	b := fake4.make()
	for pfn := x86.PFN(0x2000); pfn < 0x2100; pfn++ {
		b.frame(pfn)
	}
	mem := still{b.machineRAM, nil}
	m, err := kernelOf(t, fake4, mem).Memory(mem)
	if err != nil {
		t.Fatal(err)
	}
	for pfn := x86.PFN(0x2000); pfn < 0x4000; pfn++ {
		for range 2 {
			if _, err := m.Uint64(fake4.direct + x86.Virt(pfn.Phys())); (err == nil) != (b.frames[pfn] != nil) {
				t.Fatalf("frame %#x: %v", uint64(pfn), err)
			}
		}
	}
}

// TestKernelMemoryTogether: many goroutines read more frames than are kept.
func TestKernelMemoryTogether(t *testing.T) {
	b := fake4.make()
	const first, frames = 0x2000, 2 * memorySlots
	b.size = 256 << 20
	for pfn := range x86.PFN(frames) {
		b.set(first+pfn, 0, uint64(first+pfn))
	}
	for pa := x86.Phys(64 << 20); pa < 256<<20; pa += 2 << 20 {
		b.mapLeaf(fake4.direct+x86.Virt(pa), pa, x86.LevelPMD, rw)
	}
	mem := still{b.machineRAM, nil}
	m, err := kernelOf(t, fake4, mem).Memory(mem)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 5000 {
				pfn := x86.PFN(first + r.IntN(frames))
				if got, err := m.Uint64(fake4.direct + x86.Virt(pfn.Phys())); err != nil || got != uint64(pfn) {
					t.Errorf("frame %#x: %#x, %v", uint64(pfn), got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestFindBytes: patterns in a frame, across frames, across chunks, and beside missing frames.
func TestFindBytes(t *testing.T) {
	b := newRAM(8 << 20)
	want := []x86.Phys{0, 0x3ff8, 0x5008, 0xffff8, 0x200000, 0x7ffff0}
	pattern := []byte("swapper/0\x00\x00\x00\x00\x00\x00\x00")
	for _, pa := range []x86.Phys{0x6fff0, 0x300000} { // at the end of what there is, changed below
		b.write(pa, pattern[:8])
	}
	b.write(0x300008, []byte("1"))
	for _, pa := range want {
		b.write(pa, pattern)
	}
	b.write(0x9ff8, pattern) // its end is excluded
	b.write(0x5101, pattern) // not aligned
	mem := still{b, map[x86.PFN]bool{0xa: true}}
	var told []float64
	got, err := FindBytes(context.Background(), mem, pattern, 8, 100, func(done float64) { told = append(told, done) })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if !slices.IsSorted(told) || len(told) != 8 || told[7] != 1 {
		t.Errorf("progress %v", told)
	}
	if got, err = FindBytes(context.Background(), mem, pattern[:8], 1, 100, nil); err != nil || len(got) != len(want)+4 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = FindBytes(context.Background(), mem, []byte{0}, 1, 100, nil); !errors.Is(err, ErrTooManyPlaces) || len(got) < 100 {
		t.Errorf("%d places, %v", len(got), err)
	}
	if _, err = FindBytes(context.Background(), mem, nil, 1, 1, nil); err == nil {
		t.Error("an empty pattern was searched for")
	}
	ctx, stop := context.WithCancel(context.Background())
	if got, err = FindBytes(ctx, mem, pattern, 8, 100, func(float64) { stop() }); got != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v, %v", got, err)
	}
	if got, err := FindBytes(context.Background(), newRAM(0), pattern, 8, 100, nil); err != nil || len(got) != 0 {
		t.Errorf("in no memory: %v, %v", got, err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]byte, 1<<20+123)
	for i := range all {
		all[i] = byte(r.IntN(3))
	}
	b = newRAM(4 << 20)
	b.write(0, all)
	var places []x86.Phys
	for i := 0; i+9 <= len(all); i++ {
		if bytes.Equal(all[i:i+9], all[77:86]) {
			places = append(places, x86.Phys(i))
		}
	}
	if got, err = FindBytes(context.Background(), still{b, nil}, all[77:86], 1, 10000, nil); err != nil || !slices.Equal(got, places) {
		t.Errorf("%d places, %v; want %d", len(got), err, len(places))
	}
}

func ExampleKernelMemory() {
	mem := still{fake4.make().machineRAM, nil}
	s, _ := Detect(mem, fake4.info(), nil, Options{})
	m, _ := s.Memory(mem)
	word, _ := m.Uint64(s.VMCoreInfo.symbolOrZero("init_top_pgt") + 8*511)
	var b [8]byte
	_ = m.ReadAt(b[:], fake4.direct+x86.Virt(s.InitMM.Kernel)+8*511)
	fmt.Println(word == binary.LittleEndian.Uint64(b[:]))
	_, err := m.Uint64(0xffffffffc0001000)
	fmt.Println(err)
	// Output:
	// true
	// kernel address 0xffffffffc0001000: not mapped
}

func (v *VMCoreInfo) symbolOrZero(name string) x86.Virt {
	va, _ := v.Symbol(name)
	return va
}
