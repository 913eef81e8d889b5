package pgtable

import "ptemu/arch/x86"

// Leaf returns the last of the entries that lead to va, and its level: a PTE, a leaf above, or the first entry that leads
// nowhere; no entry beyond the limit. What [Tree.Walk] says about locks is true here, too.
func (t *Tree) Leaf(va x86.Virt) (uint64, x86.Level) {
	pfn, shift, l := t.root, t.shift, t.top
	if va >= t.limit {
		return 0, l
	}
	for ; ; l-- {
		e := loadEntry(&t.ram.Table(pfn)[uint64(va)>>shift%x86.EntriesPerTable])
		if l == x86.LevelPTE || !pointsToTable(l, e) {
			return e, l
		}
		pfn, shift = t.abi.TableFrame(e), shift-9
	}
}
