package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

// flatten writes b as makedumpfile -F does, in records of at most size bytes, without those that left says.
func flatten(b []byte, size int, left func(off int) bool) []byte {
	out := make([]byte, 4096)
	copy(out, "makedumpfile")
	binary.BigEndian.PutUint64(out[16:], 1)
	binary.BigEndian.PutUint64(out[24:], 1)
	for off := 0; off < len(b); off += size {
		if left != nil && left(off) {
			continue
		}
		part := b[off:min(off+size, len(b))]
		out = binary.BigEndian.AppendUint64(out, uint64(off))
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return append(out, bytes.Repeat([]byte{0xff}, 16)...)
}

// TestFlattenedELF: what makedumpfile -F -E writes.
func TestFlattenedELF(t *testing.T) {
	elf := sampleELF(t)
	plain := mustOpen(t, save(t, "elf", elf), Options{})
	flat := flatten(elf, 1000, nil)
	for name, b := range map[string][]byte{"": flat, "gzip, ": gz(t, flat), "zstd, ": zst(t, flat)} {
		c := mustOpen(t, save(t, "flat", b), Options{})
		if want := name + plain.Format + ", flattened"; c.Format != want {
			t.Errorf("format %q, want %q", c.Format, want)
		}
		capturetest.Same(t, c.Mem, plain.Mem)
		if !bytes.Equal(c.VMCoreInfo, plain.VMCoreInfo) || len(c.CPUs) != 1 || len(c.Notes) != len(plain.Notes) {
			t.Errorf("%sother notes", name)
		}
	}

	// A byte of memory that no record holds is an error at its place, as is a file without its end.
	c := mustOpen(t, save(t, "hole", flatten(elf, 64, func(off int) bool { return off == len(elf)/64*64-64*64 })), Options{})
	var frame physmem.Frame
	holes := 0
	for _, r := range c.Mem.Ranges() {
		for pfn, end := r.Frames(); pfn < end; pfn++ {
			if err := c.Mem.ReadFrame(pfn, &frame); err != nil && !errors.Is(err, physmem.ErrExcluded) {
				capturetest.WantFormatError(t, err, int64(len(elf)/64*64-64*64))
				holes++
			}
		}
	}
	if holes != 1 {
		t.Errorf("%d frames have a hole", holes)
	}
	for _, cut := range [][]byte{flat[:len(flat)-16], flat[:len(flat)/2], flat[:4096+8], flat[:20]} {
		_, err := Open(save(t, "cut", cut), Options{})
		if !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "flattened kdump: offset 0x") {
			t.Errorf("cut to %d bytes: %v", len(cut), err)
		}
	}
}
