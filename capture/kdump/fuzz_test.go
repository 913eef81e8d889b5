package kdump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// tryAll opens b and reads some frames of it, and holds the answers against what is promised of any input.
func tryAll(t *testing.T, b []byte) {
	t.Helper()
	for _, size := range []int64{int64(len(b)), -1} {
		f, err := Open(bytes.NewReader(b), size)
		if (err != nil) != (f == nil) {
			t.Fatalf("Open: %v, %v", f, err)
		}
		var fe *ferr.FormatError
		if err != nil {
			if !errors.As(err, &fe) {
				t.Fatalf("Open: %v names no place", err)
			}
			continue
		}
		pfns := []x86.PFN{0, 1, 2, 3, 4, 5, 63, 64, 99, f.Header.MaxPFN, f.Header.MaxPFN - 1, f.Header.StartPFN, f.Header.EndPFN}
		last := x86.Phys(0)
		for i, r := range f.Ranges() {
			if r.Start >= r.End || i > 0 && r.Start <= last || r.End > f.Header.MaxPFN.Phys() {
				t.Fatalf("range %d is %v, the one before ends at %v", i, r, last)
			}
			last = r.End
			if i < 20 {
				pfns = append(pfns, r.Start.PFN(), r.End.PFN()-1, r.End.PFN())
			}
		}
		for _, pfn := range pfns {
			var frame physmem.Frame
			if err := f.ReadFrame(pfn, &frame); err != nil {
				if !errors.As(err, &fe) && !errors.Is(err, physmem.ErrAbsent) && !errors.Is(err, physmem.ErrExcluded) {
					t.Fatalf("frame %#x: %v names no place", pfn, err)
				}
			}
		}
	}
}

func FuzzKdump(f *testing.F) {
	small := func(d *dump) []byte {
		b := d.bytes(f)
		for len(b) > 0 && b[len(b)-1] == 0 {
			b = b[:len(b)-1]
		}
		return b
	}
	d := tinyDump()
	d.pages = d.pages[1:]
	plain := small(d)
	f.Add(plain)
	f.Add(flatten([]record{{0, plain[:464]}, {4096, plain[4096:4200]}, {8192, plain[8192:]}}))
	f.Add(flatten(shred(plain, 1)))
	d.split = &[2]uint64{1, 4}
	f.Add(small(d))
	d.version = 2
	f.Add(small(d))
	f.Add(flatten(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			t.Skip()
		}
		tryAll(t, b)
	})
}

// FuzzCodec unpacks anything as one page, beside a sentinel that no decoder may touch.
func FuzzCodec(f *testing.F) {
	for _, codec := range []uint32{flagZlib, flagLZO, flagSnappy, flagZstd} {
		f.Add(byte(codec), pack(f, codec, testFrame(1)))
		f.Add(byte(codec), pack(f, codec, new(physmem.Frame)))
	}
	f.Fuzz(func(t *testing.T, codec byte, packed []byte) {
		if len(packed) > blockSize {
			packed = packed[:blockSize]
		}
		var out struct {
			frame physmem.Frame
			guard [16]uint64
		}
		for i := range out.guard {
			out.guard[i] = 0x5ca1ab1e
		}
		s := new(scratch)
		err := s.unpack(uint32(codec), packed, &out.frame)
		for _, g := range out.guard {
			if g != 0x5ca1ab1e {
				t.Fatal("wrote past the page")
			}
		}
		again := out.frame
		if err2 := s.unpack(uint32(codec), packed, &again); (err == nil) != (err2 == nil) || err == nil && again != out.frame {
			t.Fatalf("first %v, then %v", err, err2)
		}
	})
}

// FuzzFlat holds flattened files against a byte-by-byte model. The input is a list of records: two bytes offset, one
// byte length.
func FuzzFlat(f *testing.F) {
	f.Add([]byte{0, 0, 5, 0, 5, 5, 0, 3, 9})
	f.Add([]byte{0, 9, 200, 0, 0, 10, 0, 5, 255, 0, 20, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var recs []record
		for i := 0; i+3 <= len(b) && len(recs) < 200; i += 3 {
			data := bytes.Repeat([]byte{byte(len(recs) + 1)}, 1+int(b[i+2]))
			recs = append(recs, record{int64(binary.BigEndian.Uint16(b[i:]) % 3000), data})
		}
		m := newModel(recs)
		file := flatten(recs)
		flat, err := OpenFlat(bytes.NewReader(file), int64(len(file)))
		if err != nil || flat.size != int64(len(m.data)) {
			t.Fatalf("size %d, %v; want %d", flat.size, err, len(m.data))
		}
		for off := 0; off < len(m.data); off += 37 {
			want, whole := m.read(off, 100)
			got := make([]byte, 100)
			n, err := flat.ReadAt(got, int64(off))
			if !bytes.Equal(got[:n], want) || (err == nil) != whole {
				t.Fatalf("ReadAt(100 bytes, %d): %d bytes, %v; want %d", off, n, err, len(want))
			}
		}
	})
}
