package x86

// ChangeFlags say which change of protection is meant, and what of its area (VMA) decides about single entries.
type ChangeFlags uint16

// The kinds of change: none (mprotect), or one of the first three. ChangeTryWritable goes with any; it may only be
// given for an area that allows writing.
//
// Linux: include/linux/mm.h:MM_CP_PROT_NUMA, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE, MM_CP_TRY_CHANGE_WRITABLE
const (
	ChangeNUMA          ChangeFlags = 1 << iota // NUMA hint: skips what is PROT_NONE already
	ChangeUffdWP                                // write-protect through userfaultfd
	ChangeUffdWPResolve                         // end that protection
	ChangeTryWritable                           // give write permission back where no fault is needed to decide
)

// Facts about the area. They matter with ChangeTryWritable only.
//
// Linux: VM_SHARED; userfaultfd_wp(vma); vma_soft_dirty_enabled(vma); VM_SHADOW_STACK
const (
	ChangeShared           ChangeFlags = 1 << (8 + iota) // a shared mapping
	ChangeAreaUffdWP                                     // registered for userfaultfd write protection
	ChangeSoftDirtyTracked                               // soft-dirty tracking is on
	ChangeShadowStack                                    // holds a shadow stack
)

// Upgrade says what becomes of an entry that may turn writable (see [PTEChange]).
type Upgrade uint64

const (
	UpgradeNone Upgrade = iota // nothing: there is no such entry
	UpgradeAsk                 // it depends on the page: ask
	UpgradeAll                 // it becomes writable
)

// PTEChange is a change of present PTEs, worked out as masks, so that a loop over a table need not know what a bit
// means. An entry is a page if it has a bit of Exists, and is changed if it has a bit of Select. Then
//
//	new = old&Keep | Set
//	if old and new differ in Valid:       the bits Invert of new are inverted
//	if old&MoveMask == MoveWant:          new = new&^MoveFrom | MoveTo
//	if new&WritableMask == WritableWant and new has a bit of WritableAny:
//	                                      new may become writable, as Upgrade says. If it does:
//	                                      if new has UpgradeFrom: new = new&^UpgradeFrom | UpgradeTo
//	                                      new |= UpgradeSet
//
// (MoveWant and what follows it look at old and at new as the lines above left it.) A processor that caches old must
// be told (pte_needs_flush) if old has Valid and new differs in FlushChanged, or lacks a bit of FlushCleared that old
// had. The frame never differs.
//
// Linux: mm/mprotect.c:change_pte_range(), can_change_pte_writable()
type PTEChange struct {
	Exists uint64 // any of these bits: a page
	Select uint64 // any of these bits: a page to be changed; part of Exists
	Stray  uint64 // bits that an empty entry may have
	Valid  uint64 // one bit, part of Select: the processor may use and cache the entry, its frame is not inverted

	Frame      uint64 // where an entry with Valid has its frame number, and how far to the left
	FrameShift uint64

	Keep   uint64
	Set    uint64
	Invert uint64 // 0 if the change does not touch Valid
	// Blank is 0, except for a protection without any bit of its own. An old entry without a bit of Blank then
	// turns into an empty one, which is never inverted.
	Blank uint64

	MoveMask, MoveWant uint64 // both 0: nothing moves
	MoveFrom, MoveTo   uint64

	FlushChanged, FlushCleared uint64

	Upgrade                    Upgrade
	WritableMask, WritableWant uint64
	WritableAny                uint64 // 0: no such condition
	UpgradeFrom, UpgradeTo     uint64
	UpgradeSet                 uint64
}

// Change works out a change of protection to prot, the area's vm_page_prot or what the caller of
// change_protection() passes in its place.
//
// Linux: mm/mprotect.c:change_pte_range(), can_change_pte_writable()
func (a *ABI) Change(prot Prot, f ChangeFlags) PTEChange {
	c := a.noChange()
	c.Keep = a.pteChange
	c.Set = uint64(prot.Massage(a)) &^ a.pteChange
	c.Invert = a.pteFrame
	if c.Set == 0 {
		c.Blank = a.pteChange
	}
	if a.savedDirty != 0 {
		if c.Set&PageRW != 0 {
			c.moveBit(PageRW|a.savedDirty, a.savedDirty, a.savedDirty, PageDirty)
		} else {
			c.moveBit(PageRW|PageDirty, PageRW|PageDirty, PageDirty, a.savedDirty)
		}
	}
	switch {
	case f&ChangeNUMA != 0:
		c.Select = PagePresent
		if a.kernel.numaKeepsWrite() {
			c.Keep |= PageRW &^ c.Set
		}
	case f&ChangeUffdWP != 0:
		a.changeWrProtect(&c)
		c.Keep &^= PageUffdWP
		c.Set |= PageUffdWP
	case f&ChangeUffdWPResolve != 0:
		c.Keep &^= PageUffdWP
	}
	if f&ChangeTryWritable != 0 {
		a.changeTryWritable(&c, f)
	}
	return c
}

// ChangeClearSoftDirty is what resetting the soft-dirty bits does to an entry that is not pinned: it loses write
// permission and SOFT_DIRTY.
//
// Linux: fs/proc/task_mmu.c:clear_soft_dirty()
func (a *ABI) ChangeClearSoftDirty() PTEChange {
	c := a.noChange()
	a.changeWrProtect(&c)
	c.Keep &^= PageSoftDirty
	return c
}

// ChangeUffdWPAsync is what PAGEMAP_SCAN with PM_SCAN_WP_MATCHING does to a present entry: pte_mkuffd_wp() and nothing
// else.
//
// Linux: fs/proc/task_mmu.c:make_uffd_wp_pte()
func (a *ABI) ChangeUffdWPAsync() PTEChange {
	c := a.noChange()
	if a.kernel.UffdWPProtects {
		a.changeWrProtect(&c)
	}
	c.Keep &^= PageUffdWP
	c.Set |= PageUffdWP
	return c
}

// ChangeMkYoung sets A; ChangeMkOld clears it.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_mkyoung(), pte_mkold()
func (a *ABI) ChangeMkYoung() PTEChange {
	c := a.noChange()
	c.Keep &^= PageAccessed
	c.Set = PageAccessed
	return c
}

// ChangeMkOld clears A. Linux: arch/x86/include/asm/pgtable.h:pte_mkold()
func (a *ABI) ChangeMkOld() PTEChange {
	c := a.noChange()
	c.Keep &^= PageAccessed
	return c
}

func (a *ABI) noChange() PTEChange {
	return PTEChange{
		Exists: PagePresent | PageProtnone, Select: PagePresent | PageProtnone,
		Stray: PageKnlErratumMask, Valid: PagePresent, Frame: a.pteFrame, FrameShift: PageShift,
		Keep:         ^uint64(0),
		FlushChanged: flushIfChanged &^ a.pteFrame,
		FlushCleared: flushIfCleared,
	}
}

// Apply returns the changed form of the page old, before any upgrade.
func (c *PTEChange) Apply(old uint64) uint64 {
	v := old&c.Keep | c.Set
	inverted := v&c.Valid == 0 && (c.Blank == 0 || old&c.Blank != 0)
	if inverted != (old&c.Valid == 0) {
		v ^= c.Invert
	}
	if old&c.MoveMask == c.MoveWant {
		v = v&^c.MoveFrom | c.MoveTo
	}
	return v
}

// Writable reports whether v, which [PTEChange.Apply] returned, may become writable as far as bits decide.
func (c *PTEChange) Writable(v uint64) bool {
	return c.Upgrade != UpgradeNone && v&c.WritableMask == c.WritableWant && (c.WritableAny == 0 || v&c.WritableAny != 0)
}

// MkWrite makes v writable.
func (c *PTEChange) MkWrite(v uint64) uint64 {
	if v&c.UpgradeFrom != 0 {
		v = v&^c.UpgradeFrom | c.UpgradeTo
	}
	return v | c.UpgradeSet
}

// NeedsFlush reports whether a processor that cached old must be told that the entry is now v.
func (c *PTEChange) NeedsFlush(old, v uint64) bool {
	return old&c.Valid != 0 && (old^v)&(c.FlushChanged|old&c.FlushCleared) != 0
}

func (c *PTEChange) moveBit(mask, want, from, to uint64) {
	c.MoveMask, c.MoveWant, c.MoveFrom, c.MoveTo = mask, want, from, to
}

// changeWrProtect appends pte_wrprotect(). Whatever moved before, dirtiness ends in SAVED_DIRTY.
func (a *ABI) changeWrProtect(c *PTEChange) {
	c.Keep &^= PageRW
	c.Set &^= PageRW
	if a.savedDirty != 0 {
		c.moveBit(PageDirty, PageDirty, PageDirty, a.savedDirty)
	}
}

// changeTryWritable is can_change_pte_writable() as far as bits decide.
func (a *ABI) changeTryWritable(c *PTEChange, f ChangeFlags) {
	if c.Set&(PagePresent|PageProtnone) == PageProtnone {
		return
	}
	c.Upgrade = UpgradeAsk
	c.WritableMask = PageRW
	if a.shadowStack {
		c.WritableMask |= PageDirty
	}
	if f&ChangeShared != 0 {
		c.Upgrade = UpgradeAll
		c.WritableAny = a.dirtyBits()
	} else {
		c.WritableMask |= PageSpecial // not a page that could be anonymous
	}
	if a.kernel.writableNeedsDirty() {
		c.WritableMask |= PageDirty
		c.WritableWant |= PageDirty
		c.WritableAny = 0
	}
	if f&ChangeSoftDirtyTracked != 0 {
		c.WritableMask |= PageSoftDirty
		c.WritableWant |= PageSoftDirty
	}
	if f&ChangeAreaUffdWP != 0 {
		c.WritableMask |= PageUffdWP
	}
	if f&ChangeShadowStack != 0 && a.savedDirty != 0 {
		c.UpgradeSet = PageDirty
		return
	}
	c.UpgradeSet = PageRW
	if a.savedDirty != 0 {
		c.UpgradeFrom, c.UpgradeTo = a.savedDirty, PageDirty
	}
}

// numaKeepsWrite says that a NUMA hint leaves RW of a writable entry set ("savedwrite"), and writableNeedsDirty that
// only a dirty entry may turn writable. Both ended between 6.1 and 6.3, as did UffdWPProtects == false, and no kernel
// that this module knows lies between.
func (k *Kernel) numaKeepsWrite() bool     { return !k.UffdWPProtects }
func (k *Kernel) writableNeedsDirty() bool { return !k.UffdWPProtects }
