package pgtable_test

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// mapped returns a tree that maps as many pages as fill this many bytes of PTE tables, from 2^30 on.
func mapped(b *testing.B, k x86.Kernel, bytes uint64, prot x86.Prot) (*pgtable.Tree, pgtable.Range, *swapentry.Layout) {
	b.Helper()
	l := layoutFor(k)
	ram, err := physmem.NewRAM(0, bytes/x86.PageSize+2048)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ram.Close() })
	tree, err := pgtable.New(ram, l.ABI())
	if err != nil {
		b.Fatal(err)
	}
	r := pgtable.Range{First: 1 << 30, Last: 1<<30 + x86.Virt(bytes/8*x86.PageSize) - 1}
	if err := tree.Map(r, 0x100000, prot); err != nil {
		b.Fatal(err)
	}
	return tree, r, l
}

// thereAndBack measures two changes of r, in turn, per PTE.
func thereAndBack(b *testing.B, tree *pgtable.Tree, r pgtable.Range, there, back *pgtable.Protection) {
	b.Helper()
	var g pgtable.Gather
	pages := int64(r.Last-r.First+1) / x86.PageSize
	change := func(p *pgtable.Protection) {
		g.Start(tree, nil)
		n, err := tree.ChangeProtection(&g, r, p)
		if n != pages || err != nil {
			b.Fatal(n, err)
		}
		if err := g.Finish(); err != nil {
			b.Fatal(err)
		}
	}
	change(there)
	change(back)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			change(there)
		} else {
			change(back)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pages), "ns/PTE")
}

// BenchmarkChangeProtection changes whole address spaces from the root: lock, count, flush range and all.
func BenchmarkChangeProtection(b *testing.B) {
	for _, size := range []uint64{256 << 10, 8 << 20, 256 << 20} {
		for _, c := range []struct {
			name   string
			k      x86.Kernel
			there  [2]x86.ChangeFlags // and back
			prots  [2]x86.Prot
			excl   bool
			folios pgtable.Folios
		}{
			{"RW-RO/6.1", x86.Linux6_1(), [2]x86.ChangeFlags{}, [2]x86.Prot{ro, rw}, false, nil},
			{"RW-RO/6.12", x86.Linux6_12(), [2]x86.ChangeFlags{}, [2]x86.Prot{ro, rw}, false, nil},
			{"RW-RO/7.2", x86.Linux7_2(), [2]x86.ChangeFlags{}, [2]x86.Prot{ro, rw}, false, nil},
			{"RW-RO/7.2 folios", x86.Linux7_2(), [2]x86.ChangeFlags{}, [2]x86.Prot{ro, rw}, false, bigFolios(16)},
			{"RO-NONE/6.12", x86.Linux6_12(), [2]x86.ChangeFlags{}, [2]x86.Prot{x86.ProtNone, ro}, false, nil},
			{"RO-RW exclusive/6.12", x86.Linux6_12(), [2]x86.ChangeFlags{0, try}, [2]x86.Prot{ro, ro}, true, nil},
			{"wp-resolve/6.12", x86.Linux6_12(), [2]x86.ChangeFlags{wp, resolve}, [2]x86.Prot{ro, ro}, false, nil},
		} {
			b.Run(fmt.Sprintf("%s/%dKiB", c.name, size>>10), func(b *testing.B) {
				tree, r, l := mapped(b, c.k, size, rw)
				var p [2]*pgtable.Protection
				for i := range p {
					args := pgtable.ProtectionArgs{
						Prot: c.prots[i], Flags: c.there[i], Swap: l.Change(c.there[i], swapentry.BackingAnon, false), Anonymous: true,
						Folios: c.folios,
					}
					if c.excl {
						args.Exclusive = pgtable.Exclusive{Base: 0x100000, Bits: make([]uint64, size/8/64)}
						for j := range args.Exclusive.Bits {
							args.Exclusive.Bits[j] = ^uint64(0)
						}
					}
					var err error
					if p[i], err = pgtable.NewProtection(l.ABI(), args); err != nil {
						b.Fatal(err)
					}
				}
				thereAndBack(b, tree, r, p[0], p[1])
			})
		}
	}
}

// BenchmarkChangeProtectionSmall changes a few pages, from the root.
func BenchmarkChangeProtectionSmall(b *testing.B) {
	for _, n := range []x86.Virt{1, 8, 64, 512, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tree, _, l := mapped(b, x86.Linux6_12(), 8<<20, rw)
			there := protection(b, l, ro, 0, swapentry.BackingAnon, false, yes{})
			back := protection(b, l, rw, 0, swapentry.BackingAnon, false, yes{})
			const first = 1<<30 + 3<<21 + 5<<12
			thereAndBack(b, tree, pgtable.Range{First: first, Last: first + n<<12 - 1}, there, back)
		})
	}
}
