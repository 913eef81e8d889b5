package runs

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// FuzzWalk takes arbitrary bytes for page tables: every way of looking at them ends, and all agree.
func FuzzWalk(f *testing.F) {
	table := func(entries ...uint64) []byte {
		b := make([]byte, x86.PageSize)
		for i, e := range entries {
			for j := range 8 {
				b[8*i+j] = byte(e >> (8 * j))
			}
		}
		return b
	}
	f.Add([]byte{}, uint8(0), uint32(0), uint32(1))
	f.Add(table(0x1067), uint8(1), uint32(0), uint32(100))
	nested := append(table(0x2067), table(0x3067, 0x80000000400000e7)...)
	nested = append(nested, table(0x4067, 0x4067, 0x4067, 0x4065, 0x800fffffbfe008e6, 0x07fffffffffffc00)...)
	nested = append(nested, table(0x5025, 0x6065, 0x000fffffedcba960, 0x07ffffffffdb960e, 0x07ffffffffdb940e, 0xfffffffffffff600,
		0x100, 0x100, 1<<52-0x1000+0x100, 0x800ffffff98de020, 0x800ffffff98dd020, 0x800ffffff98de020)...)
	f.Add(nested, uint8(2), uint32(0), uint32(32))
	f.Add(nested, uint8(0), uint32(0), uint32(0xffff))
	f.Fuzz(func(t *testing.T, data []byte, machine uint8, first, span uint32) {
		if len(data) > 16*x86.PageSize {
			return
		}
		// Frames are folded onto the few that there are, or every entry would lead nowhere.
		m := pttree.FromBytes(1, data)
		n := x86.PFN(len(data)/x86.PageSize + 2)
		for i := x86.PFN(1); i < n; i++ {
			t := m.At(i)
			for j, e := range t {
				t[j] = e&^(1<<52-4096) | uint64((x86.Phys(e).PFN() % (n + 1)).Phys())
			}
		}
		kernels := x86.Kernels()
		p := x86.DefaultPaging(4 + int(machine/3)%2)
		p.ShadowStack = machine&64 != 0
		s := capturetest.TreeOf(m, 1, kernels[machine%3], p)
		from := p.SignExtend(x86.Virt(first) << 25)
		filter := tree.Filter{First: from, Last: from + x86.Virt(span%2048+1)<<20 - 1}
		if filter.Last < filter.First {
			return
		}
		fuzzWalk(t, s, filter)
	})
}

func fuzzWalk(t *testing.T, s *tree.Tree, filter tree.Filter) {
	markers := []linux.Marker{
		{Addr: 0, Name: "low"}, {Addr: 0x40200000 + 0x5000, Name: "middle"}, {Addr: 1 << 40, Name: "high"},
		{Addr: s.ABI.Paging().KernelHalf(), Name: "kernel"},
	}
	var entries capturetest.Leaves
	if err := s.Walk(filter, &entries); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(entries.All); i++ {
		if a, b := &entries.All[i-1], &entries.All[i]; b.VA <= a.VA+x86.Virt(a.Level.Size()-1) {
			t.Fatalf("%v follows %v", b.VA, a.VA)
		}
	}
	var every, reused ranges
	if err := walk(s, filter, markers, &every, true); err != nil {
		t.Fatal(err)
	}
	if err := walk(s, filter, markers, &reused, false); err != nil {
		t.Fatal(err)
	}
	if entries.Problems == nil {
		sameRuns(t, every.all, naiveRuns(s.ABI, markers, entries.All), "everything")
	}
	var once, always bytes.Buffer
	if err := kernelStyle(s, filter, markers, &once, false); err != nil {
		t.Fatal(err)
	}
	if err := kernelStyle(s, filter, markers, &always, true); err != nil {
		t.Fatal(err)
	}
	// A table that is met below itself, or too often, stands in what a fresh walk of it gives, not in what was kept.
	for _, p := range entries.Problems {
		if errors.Is(p.Err, pgtable.ErrLoop) || errors.Is(p.Err, pgtable.ErrAliased) {
			return
		}
	}
	sameRuns(t, reused.all, every.all, "reuse")
	if !bytes.Equal(once.Bytes(), always.Bytes()) {
		t.Errorf("kernel style differs with reuse:\n%s\n%s", once.Bytes(), always.Bytes())
	}
	if err := KernelStyle(s, filter, nil, io.Discard); err != nil {
		t.Fatal(err)
	}
}
