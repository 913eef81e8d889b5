package lime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

// header makes a LiME header by hand.
func header(magic string, version uint32, first, last uint64) []byte {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint64(b, last)
	return append(b, make([]byte, 8)...)
}

// sample is two ranges: frames 1 and 2, and frames 0x100 and half of 0x101.
func sample() ([]byte, capturetest.Mem) {
	mem := capturetest.Mem{1: capturetest.Pattern(1), 2: capturetest.Pattern(2), 0x100: capturetest.Pattern(0x100)}
	b := header("EMiL", 1, 0x1000, 0x2fff)
	b = append(append(b, mem[1][:]...), mem[2][:]...)
	b = append(b, header("EMiL", 1, 0x100000, 0x1017ff)...)
	b = append(b, mem[0x100][:]...)
	return append(b, make([]byte, 0x800)...), mem
}

// TestHeader compares with the bytes that AVML's own test expects of its LiME header.
func TestHeader(t *testing.T) {
	b := []byte("\x45\x4d\x69\x4c\x01\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := []physmem.Range{{Start: 0x1000, End: 0x20001}}
	if !slices.Equal(f.Ranges(), want) || f.Missing() != 0x1f001 {
		t.Errorf("ranges %v, %#x missing, want %v", f.Ranges(), f.Missing(), want)
	}
}

func TestOpen(t *testing.T) {
	b, mem := sample()
	for _, size := range []int64{int64(len(b)), -1} {
		f, err := Open(bytes.NewReader(b), size)
		if err != nil {
			t.Fatal(err)
		}
		for pfn := range x86.PFN(0x110) {
			capturetest.SameFrame(t, f, mem, pfn)
		}
		want := []physmem.Range{{Start: 0x1000, End: 0x3000}, {Start: 0x100000, End: 0x101800}}
		if !slices.Equal(f.Ranges(), want) {
			t.Errorf("ranges are %v, want %v", f.Ranges(), want)
		}
		capturetest.Probe(t, f)
	}
}

func TestHostile(t *testing.T) {
	good, _ := sample()
	const second = 32 + 0x2000
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, c := range []struct {
		name string
		in   []byte
		off  int64
	}{
		{"empty", nil, 0},
		{"half a header", good[:31], 0},
		{"another magic", header("LiME", 1, 0, 0), 0},
		{"version 2", header("EMiL", 2, 0, 0), 0},
		{"last below first", header("EMiL", 1, 1, 0), 0},
		{"2^64 bytes", header("EMiL", 1, 0, math.MaxUint64), 0},
		{"2^63 bytes", header("EMiL", 1, 0, math.MaxInt64), 0},
		{"2^63-1 bytes", header("EMiL", 1, 1, math.MaxInt64), 0},
		{"ends at 2^64", header("EMiL", 1, math.MaxUint64, math.MaxUint64), 0},
		{"half of the second header", good[:second+31], second},
		{"no second header", join(good[:second], make([]byte, 100)), second},
		{"second version", join(good[:second], header("EMiL", 3, 0, 0)), second},
	} {
		for _, size := range []int64{int64(len(c.in)), -1} {
			f, err := Open(bytes.NewReader(c.in), size)
			if f != nil {
				t.Errorf("%s: opened", c.name)
			}
			capturetest.WantFormatError(t, err, c.off)
		}
	}
}

func TestTruncated(t *testing.T) {
	whole, mem := sample()
	for n := 0; n < len(whole); n++ {
		if n > 64 && n%0x100 > 40 {
			continue
		}
		for _, size := range []int64{int64(n), -1} {
			f, err := Open(bytes.NewReader(whole[:n]), size)
			inHeader := n < 32 || n > 32+0x2000 && n < 2*32+0x2000
			if (err != nil) != inHeader || (f == nil) != (err != nil) {
				t.Fatalf("%#x bytes: %v", n, err)
			}
			if err != nil {
				continue
			}
			for pfn, off := range map[x86.PFN]int{1: 32, 2: 32 + 0x1000, 0x100: 2*32 + 0x2000} {
				var got physmem.Frame
				err := f.ReadFrame(pfn, &got)
				switch {
				case n >= off+0x1000:
					if err != nil || got != *mem[pfn] {
						t.Fatalf("%#x bytes: frame %#x: %v", n, pfn, err)
					}
				case n <= 32+0x2000 && pfn == 0x100: // its header is lost as well
					if !errors.Is(err, physmem.ErrAbsent) {
						t.Fatalf("%#x bytes: frame %#x: %v", n, pfn, err)
					}
				case !errors.Is(err, ferr.ErrTruncated):
					t.Fatalf("%#x bytes: frame %#x: %v", n, pfn, err)
				}
			}
		}
	}
}

// TestManyRanges: one byte each, in a file that ends nowhere.
func TestManyRanges(t *testing.T) {
	capturetest.Small(t, func() {
		_, err := Open(endless{}, -1)
		var fe *ferr.FormatError
		if !errors.As(err, &fe) {
			t.Fatalf("error %v", err)
		}
	})
}

type endless struct{}

func (endless) ReadAt(p []byte, off int64) (int, error) {
	copy(p, "EMiL\x01")
	binary.LittleEndian.PutUint64(p[8:], uint64(off)<<12)
	binary.LittleEndian.PutUint64(p[16:], uint64(off)<<12)
	return len(p), nil
}

func FuzzLiME(f *testing.F) {
	b, _ := sample()
	f.Add(b[:0x100])
	f.Add(append(header("EMiL", 1, 0x1000, 0x1003), "abcdEMiL"...))
	f.Add(append(append(header("EMiL", 1, 0x1ffe, 0x2001), "abcd"...), header("EMiL", 1, 0, 1<<62)...))
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
