package runs

import (
	"io"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// KernelStyle writes what the kernel itself prints of a tree in debugfs, in page_tables/kernel (if Root
// is init_mm's) or in page_tables/current_kernel and current_user (a process's). Markers are those of
// the kernel's list, ascending from 0. Match does not apply.
//
// The kernel compares neighbouring entries by all bits outside the frame, A and D included, and by the effective
// USER, RW and NX; of both it prints a part, so that lines that look alike can follow one another. An entry without P
// prints as blanks, but its bits divide lines. A hole is printed at the level of the empty entry. What the kernel
// passes over (a non-present entry in a PMD or PUD without PSE) becomes a part of the line before. The cache bit of
// large pages is taken for a part of their frame and is not shown.
//
// What no kernel meets is a line that begins with "#": a part of the address space that could not be read.
//
// Linux: arch/x86/mm/dump_pagetables.c:note_page(), effective_prot(); mm/ptdump.c; mm/pagewalk.c
func KernelStyle(s *tree.Tree, f tree.Filter, markers []linux.Marker, w io.Writer) error {
	return kernelStyle(s, f, markers, w, false)
}

// kernelStyle is KernelStyle; everything says that no result is used twice.
func kernelStyle(s *tree.Tree, f tree.Filter, markers []linux.Marker, w io.Writer, everything bool) error {
	k := &kernelVisitor{abi: s.ABI, markers: markers, w: w}
	k.memo = tree.Memo[note]{Join: joinNotes, Move: (*note).move, Off: everything}
	r := f.Bounds()
	guard, guardLast := linux.GuardHole(s.ABI.Paging())
	for _, part := range [...]pgtable.Range{
		{First: r.First, Last: min(r.Last, guard-1)},
		{First: max(r.First, guardLast+1), Last: r.Last},
	} {
		if err := pgtable.Walk(s.Mem, s.ABI, s.Root.PFN(), part, k); err != nil {
			return err
		}
	}
	return k.finish(r.Last + 1)
}

// note is one thing that the kernel's dump takes note of: an entry, or an empty slot.
type note struct {
	va    x86.Virt
	level x86.Level
	prot  uint64 // the bits outside the frame
	eff   uint64 // the effective USER, RW and NX
}

func (n *note) move(by x86.Virt) { n.va += by }

func (n *note) same(o *note) bool { return n.level == o.level && n.prot == o.prot && n.eff == o.eff }

func joinNotes(last, next *note) bool { return last.same(next) }

// kernelVisitor is the state of the kernel's dump.
type kernelVisitor struct {
	abi     *x86.ABI
	markers []linux.Marker
	w       io.Writer
	buf     []byte
	memo    tree.Memo[note]

	line   note // the one that is open: where it starts and what it shows
	next   note // the one being taken
	state  lineState
	marker int // index of the current one
	lines  int // since the current marker
}

type lineState uint8

const (
	lineNone lineState = iota // before the first note
	lineOpen
	lineGap // after a problem
)

func (k *kernelVisitor) Enter(t *pgtable.Table) (bool, error) {
	known, ok := k.memo.Enter(t, k.due() > t.VA+x86.Virt(t.Level.Span()-1))
	if !ok {
		return true, nil
	}
	return false, k.memo.Replay(t, known, k.note)
}

func (k *kernelVisitor) Leave(t *pgtable.Table) error {
	k.memo.Leave(t)
	return nil
}

func (k *kernelVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	e := t.Entries[i]
	switch {
	case s == pgtable.SlotNone:
		e = 0
	case t.Level == x86.LevelPMD && !x86.PMD(e).Leaf(), t.Level == x86.LevelPUD && !x86.PUD(e).Leaf(k.abi):
		return nil
	}
	k.next = note{t.Addr(i), t.Level, e &^ k.frame(), effective(aboveBits(t.Access), e)}
	return k.note(&k.next)
}

func (k *kernelVisitor) PTEs(t *pgtable.Table) error {
	above, frame := aboveBits(t.Access), k.frame()
	for i := t.First; i <= t.Last; i++ {
		e, va := t.Entries[i], t.VA+x86.Virt(i*x86.PageSize)
		prot, eff := e&^frame, effective(above, e)
		if prot == k.line.prot && eff == k.line.eff && k.line.level == x86.LevelPTE && k.plain(va) {
			continue
		}
		k.next = note{va, x86.LevelPTE, prot, eff}
		if err := k.note(&k.next); err != nil {
			return err
		}
	}
	return nil
}

// plain reports that taking note of something like the open line at va changes nothing.
func (k *kernelVisitor) plain(va x86.Virt) bool {
	return va < k.due() && !k.memo.Recording() && k.state == lineOpen
}

// frame returns the bits that the kernel takes for the frame, whatever the level: those of a base page.
func (k *kernelVisitor) frame() uint64 { return k.abi.FrameMask(x86.LevelPTE) }

// aboveBits returns what the levels above permit, in the form of an entry.
func aboveBits(a pgtable.Access) (bits uint64) {
	if a.W {
		bits |= x86.PageRW
	}
	if a.U {
		bits |= x86.PageUser
	}
	if !a.X {
		bits |= x86.PageNX
	}
	return bits
}

// effective returns the effective rights of entry e as bits of an entry. P does not matter; an entry of zero has none.
func effective(above, e uint64) uint64 {
	if e == 0 {
		return 0
	}
	return above&e&(x86.PageRW|x86.PageUser) | (above|e)&x86.PageNX
}

// due returns the address from which on the next marker is to be printed.
func (k *kernelVisitor) due() x86.Virt {
	if k.marker+1 < len(k.markers) {
		return k.markers[k.marker+1].Addr
	}
	return ^x86.Virt(0)
}
