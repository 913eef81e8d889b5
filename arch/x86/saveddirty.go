package x86

// Since 6.6 a read-only leaf keeps its dirty state in bit 58 (SAVED_DIRTY), whatever the processor: RW=0, D=1
// would be a writable shadow-stack page. On kernels without the feature both functions are the identity.
//
// Linux: arch/x86/include/asm/pgtable.h:mksaveddirty_shift(), clear_saveddirty_shift()

func (a *ABI) mkSavedDirty(v uint64) uint64 {
	if v&(PageRW|PageDirty) == PageDirty && a.savedDirty != 0 {
		return v&^PageDirty | a.savedDirty
	}
	return v
}

func (a *ABI) clearSavedDirty(v uint64) uint64 {
	if v&PageRW != 0 && v&a.savedDirty != 0 {
		return v&^a.savedDirty | PageDirty
	}
	return v
}

// dirtyBits returns _PAGE_DIRTY_BITS: D, and SAVED_DIRTY where it exists.
func (a *ABI) dirtyBits() uint64 { return PageDirty | a.savedDirty }

// wrProtect clears RW and moves D where a read-only entry keeps it.
func (a *ABI) wrProtect(v uint64) uint64 { return a.mkSavedDirty(v &^ PageRW) }

// mkDirty sets D and SOFT_DIRTY, and moves D where a read-only entry keeps it.
func (a *ABI) mkDirty(v uint64) uint64 { return a.mkSavedDirty(v | PageDirty | PageSoftDirty) }

// mkUffdWP sets UFFD_WP; since 6.3 that also takes write permission away.
func (a *ABI) mkUffdWP(v uint64) uint64 {
	v |= PageUffdWP
	if a.kernel.UffdWPProtects {
		return a.wrProtect(v)
	}
	return v
}

// shadowStackArea reports whether an area's entries become writable as shadow stacks do. The kernel asks the area
// alone, not the processor.
func (a *ABI) shadowStackArea(f VMFlags) bool { return a.savedDirty != 0 && f&VMShadowStack != 0 }

// accessPermitted is __pte_access_permitted: what get_user_pages_fast may do through the entry.
func accessPermitted(v uint64, write bool, pkru uint32) bool {
	need := uint64(PagePresent | PageUser)
	if write {
		need |= PageRW
	}
	return v&need == need && PKRUAllows(pkru, int(v&PagePkeyMask>>PageBitPkey0), write)
}

// PKRUAllows reports that the rights of protection keys allow user mode to read, or to write, pages with a key.
//
// Linux: arch/x86/include/asm/pkru.h:__pkru_allows_pkey()
func PKRUAllows(pkru uint32, pkey int, write bool) bool {
	ad, wd := pkru>>(2*pkey)&1 != 0, pkru>>(2*pkey+1)&1 != 0
	return !ad && !(write && wd)
}
