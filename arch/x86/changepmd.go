package x86

// ChangePMD is what a change of protection makes of a present 2 MiB leaf, before any upgrade (see [ABI.PMDUpgrade]).
//
// Linux: mm/huge_memory.c:change_huge_pmd()
func (a *ABI) ChangePMD(old PMD, prot Prot, f ChangeFlags) PMD {
	v := old.Modify(a, prot)
	switch {
	case f&ChangeNUMA != 0:
		if a.kernel.numaKeepsWrite() && old.Write(a) {
			v = v.MkWriteNoVMA()
		}
	case f&ChangeUffdWP != 0:
		v = v.WrProtect(a).MkUffdWP(a)
	case f&ChangeUffdWPResolve != 0:
		v = v.ClearUffdWP()
	}
	return v
}

// PMDUpgrade says whether v, which [ABI.ChangePMD] returned, may become writable; [UpgradeAsk]: if its page is
// anonymous and exclusive.
//
// Linux: mm/huge_memory.c:can_change_pmd_writable()
func (a *ABI) PMDUpgrade(v PMD, f ChangeFlags) Upgrade {
	switch {
	case !a.kernel.HugeUpgrade, f&ChangeTryWritable == 0, v.Write(a), v.Protnone(),
		f&ChangeSoftDirtyTracked != 0 && !v.SoftDirty(),
		f&ChangeAreaUffdWP != 0 && v.UffdWP():
		return UpgradeNone
	case f&ChangeShared == 0:
		return UpgradeAsk
	case v.Dirty(a):
		return UpgradeAll
	}
	return UpgradeNone
}

// PMDUpgraded makes v writable as the area wants it: shadow stacks are f's business.
//
// Linux: arch/x86/mm/pgtable.c:pmd_mkwrite()
func (a *ABI) PMDUpgraded(v PMD, f ChangeFlags) PMD {
	if f&ChangeShadowStack != 0 && a.savedDirty != 0 {
		return v.MkWriteShstk()
	}
	return v.MkWrite(a)
}
