package kdump

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// BenchmarkReadFrame reads every frame of a dump in order. Bytes are those of the machine.
func BenchmarkReadFrame(b *testing.B) {
	names := map[uint32]string{0: "stored"}
	for _, c := range codecNames {
		names[c.flag] = c.name
	}
	for _, codec := range []uint32{0, flagZlib, flagLZO, flagSnappy, flagZstd} {
		d := &dump{version: 6, max: 4096}
		for pfn := range d.max {
			d.pages = append(d.pages, page{pfn: pfn, codec: codec, data: testFrame(pfn)})
		}
		plain := d.bytes(b)
		b.Run("synthetic/"+names[codec], func(b *testing.B) { readAll(b, mustOpen(b, plain)) })
	}
}

// BenchmarkCapture reads every frame of a real guest that QEMU dumped.
func BenchmarkCapture(b *testing.B) {
	for _, dir := range captureFolders(b) {
		b.Run(filepath.Base(dir), func(b *testing.B) { readAll(b, openFile(b, filepath.Join(dir, fullDump))) })
	}
}

func readAll(b *testing.B, f *File) {
	var pfns []x86.PFN
	for _, r := range f.Ranges() {
		for pfn := r.Start.PFN(); pfn < r.End.PFN(); pfn++ {
			pfns = append(pfns, pfn)
		}
	}
	var frame physmem.Frame
	b.SetBytes(x86.PageSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := f.ReadFrame(pfns[i%len(pfns)], &frame); err != nil && !errors.Is(err, physmem.ErrExcluded) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkOpen opens the dump of an empty machine: the time that bitmaps take.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name string
		max  uint64
	}{{"1TiB", 1 << 28}, {"64TiB", 1 << 34}} {
		file := bigHeader(b, c.max)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(file, file.size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	recs := make([]record, 200_000)
	for i := range recs {
		recs[i] = record{int64(8 * i), make([]byte, 8)}
	}
	flat := flatten(recs)
	b.Run("200k records", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := OpenFlat(bytes.NewReader(flat), int64(len(flat))); err != nil {
				b.Fatal(err)
			}
		}
	})
}
