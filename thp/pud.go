package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// PUDPages is the number of base pages in a 1 GiB page. Linux: include/linux/huge_mm.h:HPAGE_PUD_NR
const PUDPages = Pages * Pages

var _ pgtable.HugePUDs = (*Huge)(nil)

// LeafPUD returns the PUD of the 1 GiB at frame pfn as the area maps it, before it is made special, device memory,
// dirty or writable. Only files and devices have such pages.
//
// Linux: mm/huge_memory.c:insert_pfn_pud()
func (v *Area) LeafPUD(pfn x86.PFN) x86.PUD { return x86.MkPUD(v.abi(), pfn, v.Prot).MkHuge() }

// hugePUD reports whether e is a leaf or stands in the place of one.
func hugePUD(e x86.PUD) bool { return e&x86.PagePSE != 0 }

// pudSpan returns the 1 GiB that holds va.
func pudSpan(va x86.Virt) pgtable.Range {
	mask := x86.Virt(x86.LevelPUD.Size() - 1)
	return pgtable.Range{First: va &^ mask, Last: va | mask}
}

func pudError(va x86.Virt, e x86.PUD, err error) error {
	return &Error{VA: va, PUD: e, Level: x86.LevelPUD, Err: err}
}

// MapPUD puts the 1 GiB leaf e in the empty slot at va. No table is deposited for it. The error is, or wraps,
// ErrOccupied or physmem.ErrNoMemory.
//
// Linux: mm/huge_memory.c:insert_pfn_pud()
func (v *Area) MapPUD(t *pgtable.Tree, va x86.Virt, e x86.PUD) error {
	c, err := t.LockPUDs(va, true)
	if err != nil {
		return pudError(va, e, err)
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPUD)
	if old := c.Get(i); !old.None() {
		return pudError(va, old, ErrOccupied)
	}
	c.Set(i, e)
	return nil
}

// takePUD empties the slot at va, which holds something huge, and returns what was there.
func takePUD(t *pgtable.Tree, va x86.Virt) (x86.PUD, error) {
	c, err := t.LockPUDs(va, false)
	if err != nil {
		return 0, pudError(va, 0, err)
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPUD)
	if e := c.Get(i); !hugePUD(e) {
		return 0, pudError(va, e, ErrNotHuge)
	}
	return c.GetAndClear(i), nil
}

// ZapPUD empties the slot at va, which holds a 1 GiB leaf, and returns what was there. The flush is owed to g.
//
// Linux: mm/huge_memory.c:zap_huge_pud()
func (v *Area) ZapPUD(g *pgtable.Gather, va x86.Virt) (x86.PUD, error) {
	old, err := takePUD(g.Tree(), va)
	if err == nil {
		g.Range(pudSpan(va), x86.LevelPUD)
	}
	return old, err
}

// MovePUD takes the 1 GiB leaf at from to the empty slot at to, as it is: not even soft-dirty changes. The flush is
// owed to g.
//
// Linux: mm/mremap.c:move_huge_pud()
func (v *Area) MovePUD(g *pgtable.Gather, from, to x86.Virt) error {
	t := g.Tree()
	e, err := takePUD(t, from)
	if err != nil {
		return err
	}
	if err := v.MapPUD(t, to, e); err != nil {
		if back := v.MapPUD(t, from, e); back != nil {
			return back
		}
		return err
	}
	g.Range(pudSpan(from), x86.LevelPUD)
	return nil
}

// CopiedPUD returns what fork gives the child for the 1 GiB leaf e, and what it leaves in the parent. cow: the mapping
// is private and may be written.
//
// Linux: mm/huge_memory.c:copy_huge_pud()
func (v *Area) CopiedPUD(e x86.PUD, cow bool) (child, parent x86.PUD) {
	if cow && e.Write() {
		e = e.WrProtect(v.abi())
	}
	return e.MkOld(), e
}

// ChangedPUD returns what a change of protection makes of the 1 GiB leaf e, and what the kernel's function returns: 1
// for "left alone" or [PUDPages]. 6.1 has no such function.
//
// Linux: mm/huge_memory.c:change_huge_pud()
func (v *Area) ChangedPUD(e x86.PUD, prot x86.Prot, f x86.ChangeFlags) (x86.PUD, int) {
	if f&(x86.ChangeNUMA|x86.ChangeUffdWP|x86.ChangeUffdWPResolve) != 0 {
		return e, 1
	}
	return e.Modify(v.abi(), prot), PUDPages
}

// ChangePUD implements [pgtable.HugePUDs]. Processors are told twice: at once, and when g finishes.
//
// Linux: mm/huge_memory.c:change_huge_pud()
func (h *Huge) ChangePUD(g *pgtable.Gather, va x86.Virt, p *pgtable.Protection) (int, error) {
	t := g.Tree()
	c, err := t.LockPUDs(va, false)
	if err != nil {
		return 0, pudError(va, 0, err)
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPUD)
	e := c.Get(i)
	if !hugePUD(e) {
		return 0, nil
	}
	n, count := h.ChangedPUD(e, p.Prot, p.Flags)
	if count == PUDPages {
		c.Invalidate(i)
		h.flushPUD(t, va)
		c.Set(i, n)
		g.Range(pudSpan(va), x86.LevelPUD)
	}
	return count, nil
}

// SplitPUD implements [pgtable.HugePUDs]: the pages are mapped again by faults.
//
// Linux: mm/huge_memory.c:__split_huge_pud_locked()
func (h *Huge) SplitPUD(g *pgtable.Gather, va x86.Virt) error {
	return h.clearPUD(g.Tree(), va, true)
}

// BadPUD implements [pgtable.HugePUDs].
//
// Linux: mm/pgtable-generic.c:pud_clear_bad()
func (h *Huge) BadPUD(t *pgtable.Tree, va x86.Virt) error { return h.clearPUD(t, va, false) }

func (h *Huge) clearPUD(t *pgtable.Tree, va x86.Virt, flush bool) error {
	c, err := t.LockPUDs(va, false)
	if err != nil {
		return pudError(va, 0, err)
	}
	i := va.Index(x86.LevelPUD)
	if !hugePUD(c.Get(i)) {
		c.Unlock()
		return nil
	}
	old := c.GetAndClear(i)
	if flush {
		h.flushPUD(t, va)
	}
	c.Unlock()
	h.clearedPUD(va, old)
	return nil
}

// flushPUD tells processors at once. Linux: flush_pud_tlb_range()
func (v *Area) flushPUD(t *pgtable.Tree, va x86.Virt) {
	if v.Flusher != nil {
		v.Flusher.FlushTLB(t, pgtable.Flush{Range: pudSpan(va), Levels: 1 << x86.LevelPUD})
	}
}

func (h *Huge) clearedPUD(va x86.Virt, old x86.PUD) {
	if h.Cleared != nil {
		h.Cleared(va, old)
	}
}
