package thp

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// MovedPMD returns what mremap() makes of the huge entry e; see [Area.Move].
//
// Linux: mm/huge_memory.c:move_soft_dirty_pmd(), clear_uffd_wp_pmd()
func (v *Area) MovedPMD(e x86.PMD, clearWP bool) x86.PMD {
	if e.Present() {
		e = e.MkSoftDirty()
		if clearWP {
			e = e.ClearUffdWP()
		}
		return e
	}
	e = swapentry.SwpMkSoftDirty(e)
	if clearWP {
		e = swapentry.SwpClearUffdWP(e)
	}
	return e
}

// ClearSoftDirtyPMD returns what resetting the soft-dirty bits makes of the huge entry e. Pinned pages are not spared.
//
// Linux: fs/proc/task_mmu.c:clear_soft_dirty_pmd()
func (v *Area) ClearSoftDirtyPMD(e x86.PMD) x86.PMD {
	switch {
	case e.Present():
		n := e
		if e.Dirty(v.abi()) {
			n = n.MkDirty(v.abi())
		}
		if e.Young() {
			n = n.MkYoung()
		}
		return n.WrProtect(v.abi()).ClearSoftDirty()
	case v.Layout.PMDMigration(e):
		return swapentry.SwpClearSoftDirty(e)
	}
	return e
}

// UffdWPPMD returns what PAGEMAP_SCAN makes of a present leaf that it write-protects. An entry that is not present
// gets its flag set.
//
// Linux: fs/proc/task_mmu.c:make_uffd_wp_pmd()
func (v *Area) UffdWPPMD(e x86.PMD) x86.PMD {
	if e.Present() {
		return e.MkUffdWP(v.abi())
	}
	return swapentry.SwpMkUffdWP(e)
}
