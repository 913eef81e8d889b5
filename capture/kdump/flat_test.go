package kdump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
)

// model is what a flattened file means, byte by byte.
type model struct {
	data []byte
	held []bool
}

func newModel(recs []record) model {
	var m model
	for _, r := range recs {
		if end := int(r.off) + len(r.data); end > len(m.data) {
			m.data = append(m.data, make([]byte, end-len(m.data))...)
			m.held = append(m.held, make([]bool, end-len(m.held))...)
		}
		copy(m.data[r.off:], r.data)
		for i := range r.data {
			m.held[int(r.off)+i] = true
		}
	}
	return m
}

// read is what ReadAt(p, off) must return: bytes up to the first that no record holds.
func (m model) read(off, n int) (want []byte, whole bool) {
	end := off
	for end < off+n && end < len(m.data) && m.held[end] {
		end++
	}
	return m.data[min(off, end, len(m.data)):min(end, len(m.data))], end == off+n
}

func checkFlat(t *testing.T, recs []record, reads int, r *rand.Rand) {
	t.Helper()
	b := flatten(recs)
	m := newModel(recs)
	f, err := OpenFlat(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.size != int64(len(m.data)) {
		t.Fatalf("size %d, want %d", f.size, len(m.data))
	}
	for range reads {
		off, n := r.IntN(len(m.data)+10), 1+r.IntN(1+r.IntN(300))
		want, whole := m.read(off, n)
		got := make([]byte, n)
		done, err := f.ReadAt(got, int64(off))
		if done != len(want) || !bytes.Equal(got[:done], want) || (err == nil) != whole {
			t.Fatalf("ReadAt(%d bytes, %d): %d bytes, %v; want %d, whole %v", n, off, done, err, len(want), whole)
		}
		if off+done >= len(m.data) && !whole && err != io.EOF {
			t.Fatalf("ReadAt(%d bytes, %d): %v, want io.EOF", n, off, err)
		}
	}
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestFlatRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		space, longest := 1+r.IntN(2000), 1+r.IntN(200)
		var recs []record
		next := 0
		for range 1 + r.IntN(60) {
			off := r.IntN(space)
			if r.IntN(2) == 0 {
				off = next // continue the one before
			}
			recs = append(recs, record{int64(off), randomBytes(r, 1+r.IntN(longest))})
			next = off + len(recs[len(recs)-1].data)
		}
		checkFlat(t, recs, 200, r)
	}
}

// Enough records that runs are chains of many, in two interleaved streams as QEMU writes them, then some that cut
// into the chains.
func TestFlatChains(t *testing.T) {
	if testing.Short() {
		t.Skip("builds files of 400 thousand records")
	}
	r := rand.New(rand.NewPCG(5, 5))
	var recs []record
	low, high := int64(0), int64(1<<20)
	for range 400_000 {
		at := &high
		if r.IntN(40) == 0 {
			at = &low
		}
		recs = append(recs, record{*at, randomBytes(r, 1+r.IntN(6))})
		*at += int64(len(recs[len(recs)-1].data))
	}
	checkFlat(t, recs, 20_000, r)
	for range 500 {
		recs = append(recs, record{int64(1<<20 - 100 + r.IntN(int(high-1<<20))), randomBytes(r, 1+r.IntN(400))})
	}
	checkFlat(t, recs, 20_000, r)

	b := flatten(recs)
	f, err := OpenFlat(bytes.NewReader(b), -1)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.runs) > 8*rampRuns {
		t.Errorf("%d runs for %d records: chains were not joined", len(f.runs), len(recs))
	}
}

func TestFlatTooManyPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a file of a million records")
	}
	recs := make([]record, maxRuns+1)
	for i := range recs {
		recs[i] = record{int64(2 * i), []byte{1}}
	}
	b := flatten(recs)
	_, err := OpenFlat(bytes.NewReader(b), int64(len(b)))
	wantFormatError(t, err, int64(len(b)-16-17))
}

func TestFlatHostile(t *testing.T) {
	valid := flatten([]record{{0, make([]byte, 100)}})
	put := func(at int, v uint64) []byte {
		b := bytes.Clone(valid)
		binary.BigEndian.PutUint64(b[at:], v)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		off  int64
	}{
		{"type", put(16, 2), 16},
		{"version", put(24, 0), 24},
		{"negative offset", put(4096, ^uint64(1)), 4096},
		{"negative size", put(4104, ^uint64(0)), 4096},
		{"size zero", put(4104, 0), 4096},
		{"huge size", put(4104, 1<<63-1), 4096},
		{"huge size that leads back", put(4104, 1<<63-16-4096), 4096},
		{"offset and size beyond 2^63", put(4096, 1<<63-50), 4096},
		{"cut in the data", valid[:4150], 4096},
		{"cut in the second header", valid[:4096+16+100+8], 4096 + 16 + 100},
		{"no end", valid[:4096+16+100], 4096 + 16 + 100},
		{"cut in the file header", valid[:20], 0},
		{"header only", valid[:4096], 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(c.b), int64(len(c.b)))
			if f != nil {
				t.Error("a file and an error")
			}
			wantFormatError(t, err, c.off)
			if _, err := Open(bytes.NewReader(c.b), -1); err == nil {
				t.Error("no error with unknown size")
			}
		})
	}
}

// A hole in a flattened file is an error, not zeros.
func TestFlatHole(t *testing.T) {
	d := &dump{version: 6, max: 8}
	for pfn := range uint64(8) {
		d.pages = append(d.pages, page{pfn: pfn, data: testFrame(pfn)})
	}
	b := d.bytes(t)
	cut := len(b) - 3*4096 - 1000
	f := mustOpen(t, flatten([]record{{0, b[:cut]}, {int64(cut + 10), b[cut+10:]}}))
	for pfn := range uint64(8) {
		err := f.ReadFrame(x86.PFN(pfn), testFrame(99))
		if (err != nil) != (pfn == 4) {
			t.Errorf("frame %d: %v", pfn, err)
		}
		if pfn == 4 {
			wantFormatError(t, err, int64(cut))
		}
	}
}

func wantFormatError(t *testing.T, err error, off int64) {
	t.Helper()
	var fe *ferr.FormatError
	if !errors.As(err, &fe) {
		t.Fatalf("error %v, want a FormatError", err)
	}
	if fe.Off != off {
		t.Errorf("error %v, want offset %#x", err, off)
	}
}
