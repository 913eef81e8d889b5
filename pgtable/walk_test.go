package pgtable

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/internal/pttree"
	"ptemu/physmem"
)

const table = x86.PageTable // flags of a user table entry

func abiOf(levels int) *x86.ABI { return x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(levels)) }

// found is one entry in leaf position, as a test expects it.
type found struct {
	va     x86.Virt
	level  x86.Level
	raw    uint64
	access Access
}

func (f found) String() string { return fmt.Sprintf("%v %v %#x %v", f.va, f.level, f.raw, f.access) }

// collector keeps what a walk hands over, and checks the promises that hold for every walk.
type collector struct {
	t        testing.TB
	r        Range
	found    []found
	forget   bool // only check, for trees with very many leaves
	problems []Problem
	visits   int
	read     int      // visits of tables that could be read
	last     x86.Virt // last address handed over
	any      bool
	depth    int
	skip     func(*Table) bool
}

func (c *collector) at(first x86.Virt, size uint64) {
	last := first + x86.Virt(size-1)
	if c.any && first <= c.last {
		c.t.Errorf("%v follows %v: not ascending", first, c.last)
	}
	if last < c.r.First || first > c.r.Last {
		c.t.Errorf("%v is outside the range", first)
	}
	c.last, c.any = last, true
}

func (c *collector) Enter(t *Table) (bool, error) {
	if c.skip != nil && c.skip(t) {
		return false, nil
	}
	c.visits++
	c.depth++
	return true, nil
}

func (c *collector) Leave(t *Table) error {
	c.depth--
	if t.Entries != nil {
		c.read++
	}
	return nil
}

func (c *collector) Slot(t *Table, i int, s Slot) error {
	c.at(t.Addr(i), t.Level.Size())
	if s == SlotLeaf && !c.forget {
		c.found = append(c.found, found{t.Addr(i), t.Level, t.Entries[i], t.Access})
	}
	return nil
}

func (c *collector) PTEs(t *Table) error {
	if c.forget {
		c.at(t.Addr(t.First), uint64(t.Last-t.First+1)*x86.PageSize)
		return nil
	}
	for i := t.First; i <= t.Last; i++ {
		c.at(t.Addr(i), t.Level.Size())
		if t.Entries[i] != 0 {
			c.found = append(c.found, found{t.Addr(i), t.Level, t.Entries[i], t.Access})
		}
	}
	return nil
}

func (c *collector) Problem(p *Problem) error {
	if p.Size != 0 {
		c.at(p.VA, p.Size)
	}
	c.problems = append(c.problems, *p)
	return nil
}

func walkAll(t testing.TB, mem physmem.Reader, levels int, root x86.PFN, r Range) *collector {
	t.Helper()
	c := &collector{t: t, r: r}
	if err := Walk(mem, abiOf(levels), root, r, c); err != nil {
		t.Fatal(err)
	}
	if c.depth != 0 {
		t.Errorf("%d tables were entered and not left", c.depth)
	}
	return c
}

// TestLeaves puts one leaf of every level into both halves, at their first and last addresses, and wants exactly
// those back.
func TestLeaves(t *testing.T) {
	for _, levels := range []int{4, 5} {
		t.Run(fmt.Sprint(levels), func(t *testing.T) {
			m := pttree.New(100)
			root := m.Table()
			top := x86.DefaultPaging(levels).KernelHalf()
			full := Access{W: true, U: true, X: true}
			want := []found{
				{0, x86.LevelPTE, 0x1025, full},
				{0x1ff000, x86.LevelPTE, 0x2025, full},
				{0x200000, x86.LevelPMD, 0x4000e7, full},
				{0x400000, x86.LevelPMD, 0x4000e6, full},             // invalidated: PSE without P
				{0x600000, x86.LevelPMD, 0x7ffffffffffc00, full},     // swap-like
				{0x800000, x86.LevelPMD, 0xfffffbfe009e0, full},      // PROT_NONE
				{0x40000000, x86.LevelPUD, 0x800000c0000000e7, full}, // 1 GiB
				{0x80000000, x86.LevelPUD, 0x7ffffffffffc00, full},
				{^top - 0xfff, x86.LevelPTE, 0x3025, full},
				{top, x86.LevelPTE, 0x4161, full},
				{^x86.Virt(0) - 0xfff, x86.LevelPTE, 0x5161, full},
			}
			for _, f := range want {
				m.Map(root, levels, f.va, f.level, f.raw, table)
			}
			c := walkAll(t, m, levels, root, All)
			if !slices.Equal(c.found, want) || c.problems != nil {
				t.Errorf("got  %v %v\nwant %v", c.found, c.problems, want)
			}
		})
	}
}

// TestEmptySlots: A and D alone do not make an entry, except in a five-level root.
func TestEmptySlots(t *testing.T) {
	m := pttree.New(1)
	root := m.Table()
	m.Map(root, 5, 0, x86.LevelPMD, 0x60, table)
	m.Map(root, 5, 1<<30, x86.LevelPUD, 0x20, table)
	m.Map(root, 5, 1<<39, x86.LevelP4D, 0x40, table)
	c := walkAll(t, m, 5, root, All)
	if c.found != nil || c.problems != nil {
		t.Errorf("found %v, problems %v; want nothing", c.found, c.problems)
	}
	m.Map(root, 5, 1<<48, x86.LevelPGD, 0x20, table)
	c = walkAll(t, m, 5, root, All)
	if len(c.problems) != 1 || !errors.Is(c.problems[0].Err, ErrBadEntry) {
		t.Errorf("problems %v; want one ErrBadEntry", c.problems)
	}
}

// TestAccess takes RW, USER and NX away at each level in turn.
func TestAccess(t *testing.T) {
	for l := x86.LevelPMD; l <= x86.LevelPGD; l++ {
		for change, want := range map[uint64]Access{
			0:            {true, true, true},
			x86.PageRW:   {false, true, true},
			x86.PageUser: {true, false, true},
			x86.PageNX:   {true, true, false},
		} {
			m := pttree.New(1)
			root := m.Table()
			m.Map(root, 5, 0x1000, x86.LevelPTE, 0x1025, table)
			f := root
			for at := x86.LevelPGD; at > l; at-- {
				f = x86.Phys(m.At(f)[0]).PFN()
			}
			m.At(f)[0] ^= change
			c := walkAll(t, m, 5, root, All)
			if len(c.found) != 1 || c.found[0].access != want {
				t.Errorf("level %v, %#x changed: %+v, want access %+v", l, change, c.found, want)
			}
		}
	}
}

// TestEncryptionMask: the C-bit of a table entry is no part of the frame.
func TestEncryptionMask(t *testing.T) {
	p := x86.DefaultPaging(4)
	p.EncMask, p.PhysBits = 1<<47, 47
	m := pttree.New(1)
	root := m.Table()
	m.Map(root, 4, 0x1000, x86.LevelPTE, 0x1025, table)
	for f := root; f < root+3; f++ {
		m.At(f)[0] |= p.EncMask
	}
	c := &collector{t: t, r: All}
	if err := Walk(m, x86.MustABI(x86.Linux7_2(), p), root, All, c); err != nil {
		t.Fatal(err)
	}
	if len(c.found) != 1 || c.problems != nil {
		t.Errorf("found %v, problems %v", c.found, c.problems)
	}
}

// TestRefusedEntries: what the processor refuses is not descended, and reported with its place.
func TestRefusedEntries(t *testing.T) {
	small := x86.DefaultPaging(5)
	small.PhysBits = 46
	noNX := x86.DefaultPaging(5)
	noNX.NX = false
	for _, c := range []struct {
		name   string
		paging x86.Paging
		level  x86.Level
		change uint64 // what is added to an ordinary table entry
		want   error
	}{
		{"frame beyond the physical width", small, x86.LevelPMD, 1 << 46, ErrReserved},
		{"same, higher up", small, x86.LevelPGD, 1 << 51, ErrReserved},
		{"frame within it", small, x86.LevelPMD, 1 << 45, physmem.ErrAbsent},
		{"NX with EFER.NXE off", noNX, x86.LevelPUD, x86.PageNX, ErrReserved},
		{"PSE in a P4D", x86.DefaultPaging(5), x86.LevelP4D, x86.PagePSE, ErrReserved},
		{"PSE in a PGD", x86.DefaultPaging(5), x86.LevelPGD, x86.PagePSE, ErrReserved},
		{"bits that all ignore", x86.DefaultPaging(5), x86.LevelPGD, 0x7ff << 52, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pttree.New(16)
			root := m.Table()
			va := x86.Virt(0x1234567890000) & (1<<56 - 1)
			m.Map(root, 5, va, x86.LevelPTE, 0x1025, table)
			f := root
			for at := x86.LevelPGD; at > c.level; at-- {
				f = x86.Phys(m.At(f)[va.Index(at)]).PFN()
			}
			e := &m.At(f)[va.Index(c.level)]
			*e |= c.change
			col := &collector{t: t, r: All}
			if err := Walk(m, x86.MustABI(x86.Linux7_2(), c.paging), root, All, col); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if len(col.found) != 1 || col.problems != nil {
					t.Fatalf("found %v, problems %v; want one leaf", col.found, col.problems)
				}
				return
			}
			if len(col.problems) != 1 || len(col.found) != 0 {
				t.Fatalf("found %v, problems %v; want one problem", col.found, col.problems)
			}
			p := col.problems[0]
			wantVA := va &^ x86.Virt(c.level.Size()-1)
			place := f.Phys() + x86.Phys(va.Index(c.level)*8)
			if !errors.Is(p.Err, c.want) || p.VA != wantVA || p.Size != c.level.Size() || p.Level != c.level ||
				p.Entry != place || p.Raw != *e {
				t.Errorf("problem %+v; want %v at %v, entry at %v", p, c.want, wantVA, place)
			}
		})
	}
}

// TestUnreadable: a missing table is a problem in its place, and the walk goes on; a missing root is an error.
func TestUnreadable(t *testing.T) {
	m := pttree.New(1)
	root := m.Table()
	for va := x86.Virt(0); va < 4<<21; va += 1 << 21 {
		m.Map(root, 4, va, x86.LevelPTE, 0x1025, table)
	}
	pmd := x86.Phys(m.At(x86.Phys(m.At(root)[0]).PFN())[0]).PFN()
	lost := x86.Phys(m.At(pmd)[2]).PFN()
	m.Fail(lost, physmem.ErrExcluded)
	c := walkAll(t, m, 4, root, All)
	if len(c.found) != 3 || len(c.problems) != 1 {
		t.Fatalf("found %v, problems %v", c.found, c.problems)
	}
	p := c.problems[0]
	var fe *physmem.FrameError
	if !errors.Is(p.Err, physmem.ErrExcluded) || !errors.As(p.Err, &fe) || fe.PFN != lost ||
		p.VA != 2<<21 || p.Size != 1<<21 || p.Level != x86.LevelPMD || p.Entry != pmd.Phys()+16 {
		t.Errorf("problem %+v", p)
	}

	m.Fail(root, physmem.ErrExcluded)
	err := Walk(m, abiOf(4), root, All, &collector{t: t, r: All})
	if !errors.Is(err, physmem.ErrExcluded) {
		t.Errorf("unreadable root: %v", err)
	}
}

// TestUnreadableNeighbours: missing tables side by side are one problem as long as the reason is the same; anything
// between them, also the hole in the address space, parts them.
func TestUnreadableNeighbours(t *testing.T) {
	m := pttree.New(1)
	root := m.Table()
	m.Map(root, 4, 0x1000, x86.LevelPTE, 0x1025, table)
	pmd := x86.Phys(m.At(x86.Phys(m.At(root)[0]).PFN())[0]).PFN()
	pte := m.At(pmd)[0]
	const absent = 0xdead000
	for i := 1; i < 10; i++ {
		m.At(pmd)[i] = uint64(absent+i<<12) | table
	}
	m.At(pmd)[4] = 0                           // nothing
	m.At(pmd)[7] = pte                         // a table that is there
	m.At(pmd)[10] = uint64(pmd.Phys()) | table // another reason
	m.At(pmd)[12] = uint64(absent) | table
	m.At(pmd)[511] = uint64(absent) | table
	m.At(root)[255] = uint64(absent) | table
	m.At(root)[256] = uint64(absent) | table
	m.Fail(absent>>12+9, physmem.ErrExcluded)
	c := walkAll(t, m, 4, root, All)
	var got []string
	for _, p := range c.problems {
		var fe *physmem.FrameError
		frame := "no frame"
		if errors.As(p.Err, &fe) {
			frame = fmt.Sprintf("%#x", uint64(fe.PFN))
		}
		got = append(got, fmt.Sprintf("%v+%#x %v at %v: %s", p.VA, p.Size, p.Level, p.Entry-pmd.Phys(), frame))
		if e := p.Raw; p.Level == x86.LevelPMD && e != m.At(pmd)[p.VA.Index(x86.LevelPMD)] {
			t.Errorf("%v has entry %#x", p.VA, e)
		}
	}
	top := func(i int) x86.Phys { return root.Phys() + x86.Phys(8*i) - pmd.Phys() }
	want := []string{
		"0x0000000000200000+0x600000 pmd at 0x8: 0xdeae",
		"0x0000000000a00000+0x400000 pmd at 0x28: 0xdeb2",
		"0x0000000001000000+0x200000 pmd at 0x40: 0xdeb5",
		"0x0000000001200000+0x200000 pmd at 0x48: 0xdeb6",
		"0x0000000001400000+0x200000 pmd at 0x50: no frame",
		"0x0000000001800000+0x200000 pmd at 0x60: 0xdead",
		"0x000000003fe00000+0x200000 pmd at 0xff8: 0xdead",
		fmt.Sprintf("0x00007f8000000000+0x8000000000 p4d at %v: 0xdead", top(255)),
		fmt.Sprintf("0xffff800000000000+0x8000000000 p4d at %v: 0xdead", top(256)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(c.found) != 2 {
		t.Errorf("found %v", c.found)
	}
}

// TestAbsentBomb: shared tables that lead to frames that are not there, every other slot, end at the bound too.
func TestAbsentBomb(t *testing.T) {
	for _, frames := range []x86.PFN{1, 512} {
		m := pttree.New(1)
		root, pud, pmd := m.Table(), m.Table(), m.Table()
		m.Fill(root, uint64(pud.Phys())|table)
		m.Fill(pud, uint64(pmd.Phys())|table)
		for i := x86.PFN(0); i < 512; i += 2 {
			m.At(pmd)[i] = uint64((0x10000 + i%frames).Phys()) | table
		}
		c := &counter{}
		failed := 0
		m.OnRead = func(f x86.PFN) {
			if f >= 0x10000 {
				failed++
			}
		}
		if err := Walk(m, abiOf(4), root, All, c); err != nil {
			t.Fatal(err)
		}
		const bound = freeRepeats + 3*repeatsPerTable + 512
		if failed == 0 || failed > bound {
			t.Errorf("%d frames: %d reads that fail", frames, failed)
		}
		if len(c.problems) > bound+512 {
			t.Errorf("%d frames: %d problems", frames, len(c.problems))
		}
	}
}

// TestOneAbsentFrame: one frame that is not there, named again and again by tables that all differ, is read no more often
// than shared tables are visited.
func TestOneAbsentFrame(t *testing.T) {
	m := pttree.New(1)
	root, pud := m.Table(), m.Table()
	m.At(root)[0] = uint64(pud.Phys()) | table
	for i := range 512 {
		pmd := m.Table()
		m.At(pud)[i] = uint64(pmd.Phys()) | table
		for j := 0; j < 512; j += 2 {
			m.At(pmd)[j] = 0xdead000 | table
		}
	}
	reads := map[x86.PFN]int{}
	m.OnRead = func(f x86.PFN) { reads[f]++ }
	c := &counter{}
	if err := Walk(m, abiOf(4), root, All, c); err != nil {
		t.Fatal(err)
	}
	const tables = 2 + 512
	if n := reads[0xdead]; n != 1+freeRepeats+tables*repeatsPerTable || len(c.problems) != 512*256 || len(reads) != tables+1 {
		t.Errorf("%d reads that fail, %d problems, %d frames", n, len(c.problems), len(reads))
	}
}

// TestLoops: a table that leads back to an ancestor, from every level to every level above.
func TestLoops(t *testing.T) {
	for from := x86.LevelPMD; from <= x86.LevelPGD; from++ {
		for to := from; to <= x86.LevelPGD; to++ {
			m := pttree.New(1)
			root := m.Table()
			m.Map(root, 5, 0x1000, x86.LevelPTE, 0x1025, table)
			path := map[x86.Level]x86.PFN{x86.LevelPGD: root}
			for l := x86.LevelPGD; l > x86.LevelPMD; l-- {
				path[l-1] = x86.Phys(m.At(path[l])[0]).PFN()
			}
			for i := 7; i < 20; i++ {
				m.At(path[from])[i] = uint64(path[to].Phys()) | table
			}
			c := walkAll(t, m, 5, root, All)
			want := Problem{
				VA: 7 << from.Shift(), Size: 13 * from.Size(), Level: from,
				Entry: path[from].Phys() + 7*8, Raw: uint64(path[to].Phys()) | table, Err: ErrLoop,
			}
			if len(c.found) != 1 || len(c.problems) != 1 || c.problems[0] != want {
				t.Errorf("%v to %v: found %v, problems %+v; want %+v", from, to, c.found, c.problems, want)
			}
		}
	}
}

// bomb returns a tree in which every slot of every level leads to the same next table: 512^levels leaves.
func bomb(levels int) (*pttree.Mem, x86.PFN) {
	m := pttree.New(1)
	root := m.Table()
	f := root
	for range levels - 1 {
		next := m.Table()
		m.Fill(f, uint64(next.Phys())|table)
		f = next
	}
	m.Fill(f, 0x5025)
	return m, root
}

// TestBomb: the visits of a tree of shared tables stay within the promise, and what is left out is reported once
// for each level.
func TestBomb(t *testing.T) {
	for _, levels := range []int{4, 5} {
		m, root := bomb(levels)
		c := &counter{}
		if err := Walk(m, abiOf(levels), root, All, c); err != nil {
			t.Fatal(err)
		}
		bound := freeRepeats + (repeatsPerTable+1)*levels
		if c.visits != bound {
			t.Errorf("%d levels: %d visits, want all %d that are allowed", levels, c.visits, bound)
		}
		for _, p := range c.problems {
			if !errors.Is(p.Err, ErrAliased) {
				t.Errorf("problem %+v", p)
			}
		}
		if len(c.problems) == 0 || len(c.problems) > levels {
			t.Errorf("%d levels: %d problems", levels, len(c.problems))
		}
		left := uint64(0)
		for _, p := range c.problems {
			left += p.Size
		}
		if whole := uint64(1) << x86.DefaultPaging(levels).VirtBits(); c.leaves<<12+left != whole {
			t.Errorf("%d levels: leaves and problems cover %#x of %#x bytes", levels, c.leaves<<12+left, whole)
		}
	}
}

// TestReuse: a visitor that uses a kept result is not shown the table again, nor is it read again.
func TestReuse(t *testing.T) {
	m, root := bomb(4)
	reads := 0
	m.OnRead = func(x86.PFN) { reads++ }
	c := &counter{skip: func(t *Table) bool { return t.Repeat }}
	if err := Walk(m, abiOf(4), root, All, c); err != nil {
		t.Fatal(err)
	}
	if c.visits != 4 || c.leaves != 512 || reads != 4 || c.problems != nil {
		t.Errorf("%d visits, %d leaves, %d reads, problems %v", c.visits, c.leaves, reads, c.problems)
	}
}

// TestPassedOverIsFree: visits that the visitor declines leave the allowance to the others.
func TestPassedOverIsFree(t *testing.T) {
	m := pttree.New(1)
	root, pud, pmd, pte, other := m.Table(), m.Table(), m.Table(), m.Table(), m.Table()
	m.At(root)[0] = uint64(pud.Phys()) | table
	m.Fill(pud, uint64(pmd.Phys())|table)
	m.Fill(pmd, uint64(pte.Phys())|table)
	for i := range 256 {
		m.At(pmd)[i] = uint64(other.Phys()) | table
	}
	m.Fill(pte, 0x5025)
	m.Fill(other, 0x5025)
	shown := 0
	c := &counter{skip: func(t *Table) bool {
		if t.PFN == other && shown < 256 {
			shown++
			return false
		}
		return t.Repeat && t.Level == x86.LevelPTE
	}}
	if err := Walk(m, abiOf(4), root, All, c); err != nil {
		t.Fatal(err)
	}
	if want := 1 + 1 + 512 + 256 + 1; c.problems != nil || c.visits != want {
		t.Errorf("%d visits, want %d; problems %v", c.visits, want, c.problems)
	}
}

// TestRangeReadsNothingElse walks single pages, and lets every read of a table that does not translate them fail.
func TestRangeReadsNothingElse(t *testing.T) {
	const levels = 5
	m := pttree.New(1)
	root := m.Table()
	vas := []x86.Virt{0, 0x1000, 0x200000, 1 << 30, 1<<39 + 0x5000, 1 << 48, 1<<56 - 0x1000, 0xff00 << 48, ^x86.Virt(0xfff)}
	for i, va := range vas {
		m.Map(root, levels, va, x86.LevelPTE, uint64(i)<<12|0x25, table)
	}
	for _, va := range vas {
		allowed := map[x86.PFN]bool{}
		for f, l := root, x86.LevelPGD; ; l-- {
			allowed[f] = true
			if l == x86.LevelPTE {
				break
			}
			f = x86.Phys(m.At(f)[va.Index(l)]).PFN()
		}
		m.OnRead = func(f x86.PFN) {
			if !allowed[f] {
				t.Errorf("range of %v: read frame %#x", va, f)
			}
		}
		c := walkAll(t, m, levels, root, Range{va + 0x123, va + 0x456})
		if len(c.found) != 1 || c.found[0].va != va {
			t.Errorf("range of %v: found %v", va, c.found)
		}
	}
	m.OnRead = nil
	if c := walkAll(t, m, levels, root, Range{1, 0}); c.visits != 0 {
		t.Error("an empty range was walked")
	}
	if c := walkAll(t, m, levels, root, Range{0x1000, 0x200000}); len(c.found) != 2 {
		t.Errorf("range over two tables: found %v", c.found)
	}
	hole := Range{1 << 60, 1<<60 + 1<<40}
	if c := walkAll(t, m, levels, root, hole); c.found != nil || c.visits != 1 {
		t.Errorf("range in the hole: found %v, %d visits", c.found, c.visits)
	}
}

// TestMapsComeBack: a tree made from any set of mappings gives exactly that set, and a range of it exactly the
// mappings that the range touches.
func TestMapsComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		levels := rapid.IntRange(4, 5).Draw(rt, "levels")
		p := x86.DefaultPaging(levels)
		m := pttree.New(1 << 30)
		root := m.Table()
		leaves := map[x86.Level]uint64{x86.LevelPTE: 0x25, x86.LevelPMD: 0xa5, x86.LevelPUD: 0xa5}
		want := map[x86.Virt]found{}
		var taken []Range
		for i := range rapid.IntRange(0, 40).Draw(rt, "mappings") {
			l := x86.Level(rapid.IntRange(1, 3).Draw(rt, "level"))
			// Few different slots at each level, so that mappings share tables.
			va := x86.Virt(0)
			for at := l; at <= p.Root(); at++ {
				va |= x86.Virt(rapid.SampledFrom([]uint64{0, 1, 255, 256, 511}).Draw(rt, "slot") << at.Shift())
			}
			va = p.SignExtend(va)
			r := Range{va, va + x86.Virt(l.Size()-1)}
			if slices.ContainsFunc(taken, func(o Range) bool { return r.First <= o.Last && o.First <= r.Last }) {
				continue
			}
			taken = append(taken, r)
			f := found{va, l, uint64(i+1)<<30 | leaves[l], FullAccess}
			want[va] = f
			m.Map(root, levels, va, l, f.raw, table)
		}
		r := All
		if len(taken) > 0 && rapid.Bool().Draw(rt, "limited") {
			a := rapid.SampledFrom(taken).Draw(rt, "from").First
			b := rapid.SampledFrom(taken).Draw(rt, "to").Last
			r = Range{min(a, b), max(a, b)}
		}
		var list []found
		for _, va := range slices.Sorted(maps.Keys(want)) {
			f := want[va]
			if f.va <= r.Last && f.va+x86.Virt(f.level.Size()-1) >= r.First {
				list = append(list, f)
			}
		}
		if c := walkAll(t, m, levels, root, r); !slices.Equal(c.found, list) || c.problems != nil {
			rt.Fatalf("got %v\nwant %v\nproblems %v", c.found, list, c.problems)
		}
	})
}

// TestVisitorErrors: an error from any method stops the walk there and comes back as it is.
func TestVisitorErrors(t *testing.T) {
	m := pttree.New(1)
	root := m.Table()
	m.Map(root, 4, 0x1000, x86.LevelPTE, 0x1025, table)
	m.Map(root, 4, 1<<39, x86.LevelP4D, uint64(root.Phys())|table, table)
	m.Map(root, 4, 2<<39, x86.LevelP4D, 0xdead000|table, table)
	calls := &stopper{at: -1}
	if err := Walk(m, abiOf(4), root, All, calls); err != nil {
		t.Fatal(err)
	}
	for at := range calls.calls {
		s := &stopper{at: at}
		if err := Walk(m, abiOf(4), root, All, s); !errors.Is(err, errStop) || s.calls != at+1 {
			t.Errorf("stopped at call %d: %v after %d calls", at, err, s.calls)
		}
	}
}

var errStop = errors.New("stop")

// stopper counts the calls and fails the one numbered at.
type stopper struct{ calls, at int }

func (s *stopper) call() error {
	s.calls++
	if s.calls == s.at+1 {
		return errStop
	}
	return nil
}

func (s *stopper) Enter(*Table) (bool, error)   { return true, s.call() }
func (s *stopper) Slot(*Table, int, Slot) error { return s.call() }
func (s *stopper) PTEs(*Table) error            { return s.call() }
func (s *stopper) Leave(*Table) error           { return s.call() }
func (s *stopper) Problem(*Problem) error       { return s.call() }

// counter counts only, for trees with very many leaves.
type counter struct {
	visits   int
	leaves   uint64 // in base pages
	problems []Problem
	skip     func(*Table) bool
}

func (c *counter) Enter(t *Table) (bool, error) {
	if c.skip != nil && c.skip(t) {
		return false, nil
	}
	c.visits++
	return true, nil
}

func (c *counter) Slot(t *Table, _ int, s Slot) error {
	if s == SlotLeaf {
		c.leaves += t.Level.Size() / x86.PageSize
	}
	return nil
}

func (c *counter) PTEs(t *Table) error {
	for _, e := range t.Entries[t.First : t.Last+1] {
		if e != 0 {
			c.leaves++
		}
	}
	return nil
}

func (c *counter) Leave(*Table) error       { return nil }
func (c *counter) Problem(p *Problem) error { c.problems = append(c.problems, *p); return nil }
