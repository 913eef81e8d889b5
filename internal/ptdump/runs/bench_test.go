package runs

import (
	"encoding/binary"
	"io"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// flat is memory that begins at frame 0, the fastest that a capture could be: what it costs is copying a frame.
type flat []byte

func (m flat) ReadFrame(f x86.PFN, dst *physmem.Frame) error {
	if uint64(f) >= uint64(len(m)/x86.PageSize) {
		return &physmem.FrameError{PFN: f, Err: physmem.ErrAbsent}
	}
	copy(dst[:], m[f.Phys():])
	return nil
}

func (m flat) Ranges() []physmem.Range {
	return []physmem.Range{{Start: 0, End: x86.Phys(len(m))}}
}

// dense returns a four-level tree that maps so many PTE tables' worth of pages. Entries change their meaning
// every run pages.
func dense(tables, run int) *tree.Tree {
	upper := 2 + (tables+511)/512
	m := make(flat, (upper+tables)*x86.PageSize)
	put := func(f, i int, e uint64) { binary.LittleEndian.PutUint64(m[f*x86.PageSize+8*i:], e) }
	put(0, 0, 1<<12|x86.PageTable)
	for i := range upper - 2 {
		put(1, i, uint64(i+2)<<12|x86.PageTable)
	}
	for i := range tables {
		put(2+i/512, i%512, uint64(upper+i)<<12|x86.PageTable)
		for j := range 512 {
			n := i*512 + j
			put(upper+i, j, uint64(n+1)<<12|x86.PageTable&^x86.PageRW|uint64(n/run%2)<<1)
		}
	}
	abi := x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4))
	return &tree.Tree{Mem: m, ABI: abi, Layout: swapentry.NewLayout(abi)}
}

// drop is every kind of sink, and counts.
type drop struct{ leaves, runs int }

func (d *drop) Leaf(*tree.Leaf) error            { d.leaves++; return nil }
func (d *drop) Run(*Run) error                   { d.runs++; return nil }
func (d *drop) Marker(linux.Marker) error        { return nil }
func (d *drop) Problem(p *pgtable.Problem) error { return p.Err }

// benchSession measures, on one session, what it takes to read its tables once, and what everything else takes.
// MB/s are bytes of different tables; the other figures are entries.
func benchSession(b *testing.B, s *tree.Tree, markers []linux.Marker) {
	list := &capturetest.TableList{Seen: map[x86.PFN]bool{}}
	if err := s.Visit(tree.Filter{}, list); err != nil {
		b.Fatal(err)
	}
	bytes := int64(len(list.Frames) * x86.PageSize)
	b.Run("read-only", func(b *testing.B) {
		b.SetBytes(bytes)
		var t physmem.Table
		for b.Loop() {
			for _, f := range list.Frames {
				if err := physmem.ReadTable(s.Mem, f, &t); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	measure := func(name string, do func(*drop) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(bytes)
			b.ReportAllocs()
			var d drop
			for b.Loop() {
				d = drop{}
				if err := do(&d); err != nil {
					b.Fatal(err)
				}
			}
			per := b.Elapsed().Seconds() / float64(b.N)
			if d.leaves > 0 {
				b.ReportMetric(float64(d.leaves)/per/1e6, "Mentries/s")
			}
			if d.runs > 0 {
				b.ReportMetric(float64(d.runs), "ranges")
			}
		})
	}
	measure("entries", func(d *drop) error { return s.Walk(tree.Filter{}, d) })
	measure("dump", func(d *drop) error { return Walk(s, tree.Filter{}, markers, d) })
	measure("kernel-style", func(*drop) error { return KernelStyle(s, tree.Filter{}, markers, io.Discard) })
}

func BenchmarkDense(b *testing.B) {
	for _, c := range []struct {
		name        string
		tables, run int
	}{
		{"256KiB/uniform", 64, 1 << 30}, {"256KiB/runs-of-16", 64, 16}, {"64MiB/uniform", 16384, 1 << 30},
		{"64MiB/runs-of-64", 16384, 64},
	} {
		b.Run(c.name, func(b *testing.B) { benchSession(b, dense(c.tables, c.run), nil) })
	}
}

func BenchmarkCaptures(b *testing.B) {
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range folders {
		for _, dump := range f.Dumps() {
			b.Run(f.Name(), func(b *testing.B) {
				s := capturetest.Open(b, dump, "cr3")
				benchSession(b, s.Tree, s.System.Markers())
			})
		}
	}
}
