package mmu_test

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// SetBits makes ram a Setter.
func (m ram) SetBits(place x86.Phys, old, bits uint64) error {
	if m.get(uint64(place)) != old {
		return mmu.ErrStale
	}
	m.set(uint64(place), old|bits)
	return nil
}

const a, d = 1 << 5, 1 << 6

// TestMarks commits accesses and looks at the entries afterwards. Levels 4, 3, 2, 1 in this order.
func TestMarks(t *testing.T) {
	for _, c := range []struct {
		what   string
		before [4]uint64 // flags
		noWP   bool
		access mmu.Access
		after  [4]uint64
		marks  int
	}{
		{"read", [4]uint64{7, 7, 7, 7}, false, uRead, [4]uint64{7 | a, 7 | a, 7 | a, 7 | a}, 4},
		{"fetch", [4]uint64{7, 7, 7, 7}, false, uFetch, [4]uint64{7 | a, 7 | a, 7 | a, 7 | a}, 4},
		{"write", [4]uint64{7, 7, 7, 7}, false, uWrite, [4]uint64{7 | a, 7 | a, 7 | a, 7 | a | d}, 4},
		{"sticky", [4]uint64{7 | a, 7 | a | d, 7, 7 | d}, false, uRead, [4]uint64{7 | a, 7 | a | d, 7 | a, 7 | a | d}, 2},
		{"write, all set but D", [4]uint64{7 | a, 7 | a, 7 | a, 7 | a}, false, uWrite, [4]uint64{7 | a, 7 | a, 7 | a, 7 | a | d}, 1},
		{"nothing to do", [4]uint64{7 | a, 7 | a, 7 | a, 7 | a | d}, false, uWrite, [4]uint64{7 | a, 7 | a, 7 | a, 7 | a | d}, 0},
		{"write without WP", [4]uint64{7, 7, 7, 5}, true, kWrite, [4]uint64{7 | a, 7 | a, 7 | a, 5 | a | d}, 4},
		{"refused write", [4]uint64{7, 7, 7, 5}, false, uWrite, [4]uint64{7 | a, 7 | a, 7 | a, 5}, 3},
		{"refused at the top", [4]uint64{3, 7, 7, 7}, false, uRead, [4]uint64{3 | a, 7 | a, 7 | a, 7}, 3},
		{"leaf not present", [4]uint64{7, 7, 7, 6}, false, uRead, [4]uint64{7 | a, 7 | a, 7 | a, 6}, 3},
		{"table not present", [4]uint64{7, 6, 7, 7}, false, uRead, [4]uint64{7 | a, 6, 7, 7}, 1},
		{"root not present", [4]uint64{6, 7, 7, 7}, false, uRead, [4]uint64{6, 7, 7, 7}, 0},
		{"reserved", [4]uint64{7, 7, 7 | 1<<51, 7}, false, uRead, [4]uint64{7 | a, 7 | a, 7 | 1<<51, 7}, 2},
		{"shadow write", [4]uint64{7, 7, 7, 5 | d}, false, uCall, [4]uint64{7 | a, 7 | a, 7 | a, 5 | a | d}, 4},
	} {
		r := linux(4)
		if c.noWP {
			r.CR0 &^= 1 << 16
		}
		m := build(4, 1, testVA4, 0x42000, [6]uint64{1: c.before[3], 2: c.before[2], 3: c.before[1], 4: c.before[0]})
		want := build(4, 1, testVA4, 0x42000, [6]uint64{1: c.after[3], 2: c.after[2], 3: c.after[1], 4: c.after[0]})
		w := newMMU(t, r, 40, 0).Walk(m, testVA4)
		if n := len(w.Marks(c.access, nil)); n != c.marks {
			t.Errorf("%s: %d marks, want %d", c.what, n, c.marks)
		}
		if err := w.Commit(c.access, m); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		for pfn, f := range want {
			if *m[pfn] != *f {
				for level := 4; level >= 1; level-- {
					at := place(4, level, testVA4)
					t.Logf("level %d: %#x, want %#x", level, m.get(at), want.get(at))
				}
				t.Errorf("%s: wrong bits", c.what)
			}
		}
	}
}

// TestMarksLarge checks that D goes to a large leaf and to no table.
func TestMarksLarge(t *testing.T) {
	m := build(4, 3, testVA4, 0x40000000, [6]uint64{3: 0x87, 4: 7})
	w := newMMU(t, linux(4), 40, 0).Walk(m, testVA4)
	if err := w.Commit(kWrite, m); err != nil {
		t.Fatal(err)
	}
	if top, leaf := m.get(place(4, 4, testVA4)), m.get(place(4, 3, testVA4)); top != 0x3027 || leaf != 0x400000e7 {
		t.Errorf("%#x, %#x", top, leaf)
	}
}

// TestCommitStale changes an entry between walk and commit.
func TestCommitStale(t *testing.T) {
	m := build(4, 1, testVA4, 0x42000, [6]uint64{1: 7, 2: 7, 3: 7, 4: 7})
	w := newMMU(t, linux(4), 40, 0).Walk(m, testVA4)
	leaf := place(4, 1, testVA4)
	m.set(leaf, 0x42005)
	if err := w.Commit(uWrite, m); !errors.Is(err, mmu.ErrStale) {
		t.Fatalf("%v", err)
	}
	if m.get(leaf) != 0x42005 {
		t.Errorf("leaf %#x was written over", m.get(leaf))
	}
}

// TestMarksSelfReference: one entry at all levels is marked once, with the leaf's D.
func TestMarksSelfReference(t *testing.T) {
	m := ram{}
	m.set(rootCR3+8*511, rootCR3|7)
	w := newMMU(t, linux(4), 40, 0).Walk(m, 0xffff_ffff_ffff_fff8)
	marks := w.Marks(uWrite, nil)
	if len(marks) != 1 || marks[0].Set != a|d {
		t.Fatalf("%+v", marks)
	}
	if err := w.Commit(uWrite, m); err != nil || m.get(rootCR3+8*511) != rootCR3|7|a|d {
		t.Errorf("%v, %#x", err, m.get(rootCR3+8*511))
	}
}
