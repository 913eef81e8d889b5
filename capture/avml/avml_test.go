package avml

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func header(magic string, version uint32, first, last uint64) []byte {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint64(b, last)
	return append(b, make([]byte, 8)...)
}

// block is the memory from first on, as AVML writes it: the library's own snappy stream with its length behind.
func block(t testing.TB, first uint64, mem []byte, flushEvery int) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := snappy.NewBufferedWriter(&packed)
	for len(mem) > 0 {
		n := min(len(mem), flushEvery)
		if _, err := w.Write(mem[:n]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		first, mem = first+uint64(n), mem[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.AppendUint64(packed.Bytes(), uint64(packed.Len()))
}

// sample has two blocks: 3 MiB and a bit at 1 MiB, in full chunks, half of it random (stored as it is); and 20 frames at
// 1 GiB in chunks that split frames.
func sample(t testing.TB) ([]byte, capturetest.Mem) {
	mem := capturetest.Mem{}
	rnd := rand.New(rand.NewPCG(1, 2))
	fill := func(first x86.PFN, n int) []byte {
		var b []byte
		for i := range n {
			pfn := first + x86.PFN(i)
			f := capturetest.Pattern(pfn)
			if i > n/2 {
				for j := 0; j < len(f); j += 8 {
					binary.LittleEndian.PutUint64(f[j:], rnd.Uint64())
				}
			}
			mem[pfn] = f
			b = append(b, f[:]...)
		}
		return b
	}
	low, high := fill(0x100, 800), fill(0x40000, 20)
	b := header("AVML", 2, 0x100000, 0x100000+800*4096-1)
	b = append(b, block(t, 0x100000, low, 1<<30)...)
	b = append(b, header("AVML", 2, 0x40000000, 0x40000000+20*4096-1)...)
	return append(b, block(t, 0x40000000, high, 5000)...), mem
}

func TestOpen(t *testing.T) {
	b, mem := sample(t)
	for _, size := range []int64{int64(len(b)), -1} {
		f, err := Open(bytes.NewReader(b), size)
		if err != nil {
			t.Fatal(err)
		}
		capturetest.Same(t, f, mem)
		capturetest.Probe(t, f)
		if f.Missing() != 0 {
			t.Errorf("%#x missing", f.Missing())
		}
	}
}

func TestConcurrent(t *testing.T) {
	b, mem := sample(t)
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			for range 2000 {
				pfn := x86.PFN(0x100 + rnd.IntN(800))
				var got physmem.Frame
				if err := f.ReadFrame(pfn, &got); err != nil || got != *mem[pfn] {
					t.Errorf("frame %#x: %v", pfn, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestHostile(t *testing.T) {
	good := append(header("AVML", 2, 0x1000, 0x1fff), block(t, 0x1000, capturetest.Pattern(1)[:], 1<<30)...)
	if _, err := Open(bytes.NewReader(good), int64(len(good))); err != nil {
		t.Fatal(err)
	}
	spoil := func(off int, b ...byte) []byte {
		out := slices.Clone(good)
		copy(out[off:], b)
		return out
	}
	const stream, chunkAt = 32, 32 + 10
	one := []byte{1, 5, 0, 0, 0, 0, 0, 0, 7} // a stored chunk of one byte
	for _, c := range []struct {
		name string
		in   []byte
		off  int64
	}{
		{"empty", nil, 0},
		{"half a header", good[:31], 0},
		{"LiME magic", spoil(0, []byte("EMiL")...), 0},
		{"version 1", spoil(4, 1), 0},
		{"last below first", header("AVML", 2, 1, 0), 0},
		{"ends at 2^64", header("AVML", 2, 0, math.MaxUint64), 0},
		{"chunk of an unknown type", spoil(chunkAt, 2), chunkAt},
		{"chunk without checksum", spoil(chunkAt, 0, 4, 0, 0), chunkAt},
		{"chunk of 2^24-1 bytes", spoil(chunkAt, 0, 255, 255, 255), chunkAt},
		{"snappy block of 2^32 bytes", spoil(chunkAt+8, 0xff, 0xff, 0xff, 0xff, 0x0f), chunkAt},
		{"snappy block of no bytes", spoil(chunkAt+8, 0), chunkAt},
		{"chunk beyond the block", spoil(16, 0xfe, 0x1f), chunkAt},
		{"length of the block", spoil(len(good)-8, 0), int64(len(good) - 8)},
		{"memory twice", append(slices.Clone(good), good...), int64(len(good) + chunkAt)},
		{"only skipped chunks", append(header("AVML", 2, 0, 4095), bytes.Repeat([]byte{0x80, 0, 0, 0}, 5000)...), stream + 4*maxIdle},
		{"rest is no header", append(slices.Clone(good), one...), int64(len(good))},
	} {
		for _, size := range []int64{int64(len(c.in)), -1} {
			f, err := Open(bytes.NewReader(c.in), size)
			if f != nil {
				t.Errorf("%s: opened", c.name)
				continue
			}
			var fe *ferr.FormatError
			if !errors.As(err, &fe) || fe.Off != c.off {
				t.Errorf("%s: error %v, want one at %#x", c.name, err, c.off)
			}
		}
	}

	// What only reading finds.
	for name, in := range map[string][]byte{
		"checksum": spoil(chunkAt+4, good[chunkAt+4]^1),
		"data":     spoil(chunkAt+20, good[chunkAt+20]^0x10),
	} {
		f, err := Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			t.Fatal(err)
		}
		var frame physmem.Frame
		var fe *ferr.FormatError
		if err := f.ReadFrame(1, &frame); !errors.As(err, &fe) || fe.Off != chunkAt+8 {
			t.Errorf("%s: error %v, want one at %#x", name, err, chunkAt+8)
		}
	}
}

func TestTruncated(t *testing.T) {
	whole, mem := sample(t)
	ref, err := Open(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		n := rnd.IntN(len(whole))
		f, err := Open(bytes.NewReader(whole[:n]), int64(n))
		if err != nil {
			if f != nil || !errors.Is(err, ferr.ErrTruncated) {
				t.Fatalf("%#x bytes: %v", n, err)
			}
			continue
		}
		lost := 0
		for pfn := range mem {
			var got, want physmem.Frame
			err := f.ReadFrame(pfn, &got)
			if err == nil {
				if werr := ref.ReadFrame(pfn, &want); werr != nil || got != want {
					t.Fatalf("%#x bytes: frame %#x differs", n, pfn)
				}
				continue
			}
			lost++
			inFirst := pfn < 0x40000
			if errors.Is(err, physmem.ErrAbsent) && inFirst || !errors.Is(err, physmem.ErrAbsent) && !errors.Is(err, ferr.ErrTruncated) {
				t.Fatalf("%#x bytes: frame %#x: %v", n, pfn, err)
			}
		}
		if lost == 0 && n < len(whole)-8 {
			t.Fatalf("%#x of %#x bytes: nothing is lost", n, len(whole))
		}
	}
}

func FuzzAVML(f *testing.F) {
	good := append(header("AVML", 2, 0x1000, 0x1fff), block(f, 0x1000, capturetest.Pattern(1)[:], 1000)...)
	f.Add(good)
	f.Add(append(header("AVML", 2, 0, 4095), 0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y', 1, 5, 0, 0, 1, 2, 3, 4, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, size := range []int64{int64(len(b)), -1} {
			m, err := Open(bytes.NewReader(b), size)
			if err != nil {
				var fe *ferr.FormatError
				if m != nil || !errors.As(err, &fe) {
					t.Fatalf("%v with error %v", m, err)
				}
				continue
			}
			capturetest.Probe(t, m)
		}
	})
}
