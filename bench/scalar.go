package bench

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// The plain loops: one entry after the other, in ordinary Go, without locks and without the tree. They decide with the
// masks of arch/x86 (PTEChange and its like), held in local variables, which is faster than the entry methods
// (PTE.Modify and its like) and gives the same result.

// scalarChange is [pgtable.Tree.ChangeProtection] for whole tables, with what it reports. It leaves out
// x86.PTEChange.Blank, which none of the cases has.
type scalarChange struct {
	pte  x86.PTEChange
	swap x86.SwapChange
	excl exclusive
	a    *x86.ABI
	// lo and hi enclose what processors must be told of.
	lo, hi int
}

// exclusive has a bit for each frame from firstFrame on.
type exclusive []uint64

func (e exclusive) has(pfn x86.PFN) bool {
	i := uint64(pfn - firstFrame)
	return i/64 < uint64(len(e)) && e[i/64]>>(i%64)&1 != 0
}

// tables changes all entries and returns how many the kernel would count.
func (c *scalarChange) tables(all []*physmem.Table) (count int64) {
	c.lo, c.hi = len(all)*x86.EntriesPerTable, -1
	for n, t := range all {
		count += c.table(t, n*x86.EntriesPerTable)
	}
	return count
}

func (c *scalarChange) table(t *physmem.Table, at int) (count int64) {
	p := &c.pte
	sel, exists, valid, keep, set, invert := p.Select, p.Exists, p.Valid, p.Keep, p.Set, p.Invert
	moveMask, moveWant, moveFrom, moveTo := p.MoveMask, p.MoveWant, p.MoveFrom, p.MoveTo
	changed, cleared := p.FlushChanged, p.FlushCleared
	asks := p.Upgrade != x86.UpgradeNone
	for i, old := range t {
		if old&sel == 0 {
			if old != 0 && old&exists == 0 {
				count += c.other(t, i)
			}
			continue
		}
		count++
		v := old&keep | set
		if (v^old)&valid != 0 {
			v ^= invert
		}
		if moveMask != 0 && old&moveMask == moveWant {
			v = v&^moveFrom | moveTo
		}
		if asks && p.Writable(v) && (p.Upgrade == x86.UpgradeAll || c.excl.has(x86.PTE(v).PFN(c.a))) {
			v = p.MkWrite(v)
		}
		if v == old {
			continue
		}
		t[i] = v
		if old&valid != 0 && (old^v)&(changed|old&cleared) != 0 {
			c.lo, c.hi = min(c.lo, at+i), at+i
		}
	}
	return count
}

// other changes an entry that is neither page nor none.
func (c *scalarChange) other(t *physmem.Table, i int) int64 {
	v, _ := c.swap.Apply(t[i])
	if v == t[i] {
		return 0
	}
	t[i] = v
	return 1
}

// scalarHarvest is the aging scan of whole tables.
func scalarHarvest(h x86.PTEHarvest, all []*physmem.Table) (found int64) {
	exists, report, take := h.Exists, h.Report, h.Clear
	for _, t := range all {
		for i, e := range t {
			if e&exists == 0 {
				continue
			}
			if e&report != 0 {
				found++
			}
			if e&take != 0 {
				t[i] = e &^ take
			}
		}
	}
	return found
}

// scalarZap empties pages and returns how many there were.
func scalarZap(z x86.PTEZap, all []*physmem.Table) (zapped int64) {
	for _, t := range all {
		for i, e := range t {
			if e&z.Exists != 0 {
				t[i] = 0
				zapped++
			}
		}
	}
	return zapped
}

// scalarCopy copies pages to the tables of a child.
func scalarCopy(c x86.PTECopy, from, to []*physmem.Table) (copied int64) {
	keep, mask, want, moveFrom, moveTo, childKeep := c.Keep, c.MoveMask, c.MoveWant, c.MoveFrom, c.MoveTo, c.ChildKeep
	for n, t := range from {
		child := to[n]
		for i, e := range t {
			if e&c.Exists == 0 {
				continue
			}
			v := e & keep
			if mask != 0 && e&mask == want {
				v = v&^moveFrom | moveTo
			}
			if v != e {
				t[i] = v
			}
			child[i] = v & childKeep
			copied++
		}
	}
	return copied
}

// scalarRuns counts the runs of entries with equal attributes, and the entries.
func scalarRuns(p x86.PTERuns, all []*physmem.Table) (runs int64) {
	var prev uint64
	for _, t := range all {
		for _, e := range t {
			if (prev^e)&p.Attributes != 0 {
				runs++
			}
			prev = e
		}
	}
	return runs
}

// scalarMap maps frames in order.
func scalarMap(e x86.PTE, all []*physmem.Table) (mapped int64) {
	for _, t := range all {
		for i, old := range t {
			if old != 0 {
				continue
			}
			t[i] = uint64(e)
			e = e.AdvancePFN(1)
			mapped++
		}
	}
	return mapped
}
