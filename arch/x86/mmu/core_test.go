package mmu_test

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// TestBeforeCommit changes the leaf between a walk and its commit.
func TestBeforeCommit(t *testing.T) {
	leaf := place(4, 1, testVA4)
	for _, x := range []struct {
		what   string
		leaf   uint64 // before
		flush  bool
		want   string
		cached string
	}{
		{"A to set: the walk is made again", 7, false, "0x43", "0x43"},
		{"nothing to set: the walk counts, and its result is cached", warm, false, "0x42", "0x42"},
		{"a flush: the walk is made again", warm, true, "0x43", "0x43"},
	} {
		c, m := oneCore(t, x.leaf)
		for level := 2; level <= 4; level++ {
			at := place(4, level, testVA4)
			m.set(at, m.get(at)|a)
		}
		walks := 0
		c.BeforeCommit = func(w *mmu.Walk) {
			if walks++; walks > 1 {
				return
			}
			m.set(leaf, 0x43000|x.leaf)
			if x.flush {
				c.TLB.FlushPage(c.Tag, w.VA)
			}
		}
		expect(t, x.what, reach(c, m, testVA4, uRead), x.want)
		c.BeforeCommit = nil
		expect(t, x.what+", then", reach(c, m, testVA4, uRead), x.cached)
	}
}

// TestStuck: an access ends, whatever happens to the tables.
func TestStuck(t *testing.T) {
	c, m := oneCore(t, 7)
	c.BeforeCommit = func(w *mmu.Walk) { m.set(place(4, 1, testVA4), m.get(place(4, 1, testVA4))^1<<9) }
	if _, err := c.Access(m, m, testVA4, uRead); !errors.Is(err, mmu.ErrStuck) || !errors.Is(err, mmu.ErrStale) {
		t.Error(err)
	}
	c.BeforeCommit = nil
	delete(m, 1)
	var te *mmu.TableError
	if _, err := c.Access(m, m, testVA4, uRead); !errors.As(err, &te) {
		t.Error(err)
	}
	if n, tables := c.TLB.Len(); n != 0 || tables != 0 {
		t.Errorf("%d translations, %d tables cached", n, tables)
	}
	expect(t, "not canonical", reach(c, m, 1<<62, uRead), "#PF(0)")
}

// TestCoreAllocates keeps hits, misses and flushes off the heap.
func TestCoreAllocates(t *testing.T) {
	c, m := oneCore(t, 7)
	var mem physmem.Reader = flatten(m)
	step := func() {
		for range 2 {
			if _, err := c.Access(mem, quiet{}, testVA4, uWrite); err != nil {
				t.Fatal(err)
			}
		}
		c.TLB.FlushPage(c.Tag, testVA4)
		if _, err := c.Access(mem, quiet{}, testVA4, uRead); err != nil {
			t.Fatal(err)
		}
		c.TLB.FlushTag(c.Tag, false)
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// quiet is a Setter that has nothing to do.
type quiet struct{}

func (quiet) SetBits(x86.Phys, uint64, uint64) error { return nil }

func BenchmarkCore(b *testing.B) {
	c, m := oneCore(b, 7)
	var mem physmem.Reader = flatten(m)
	run := func(name string, between func(), pages uint64) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				if between != nil {
					between()
				}
				if _, err := c.Access(mem, quiet{}, virt(testVA4+i%pages<<12), uRead); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
	run("hit", nil, 1)
	run("miss/page", func() { c.TLB.FlushRange(c.Tag, testVA4, testVA4, 2, false) }, 1)
	run("miss/page+tables", func() { c.TLB.FlushPage(c.Tag, testVA4) }, 1)
	run("miss/tag", func() { c.TLB.FlushTag(c.Tag, false) }, 1)
	for i := range uint64(512) {
		m.set(0x1000+8*i, 0x40000000+i<<12|warm)
	}
	mem = flatten(m)
	run("hit/128 pages", nil, 128)
}
