package x86

// A non-zero entry without P keeps its frame inverted, so that a processor with the L1 terminal fault, which
// ignores P while it speculates, never finds memory at the address. An entry of exactly zero is exempt.
//
// Linux: arch/x86/include/asm/pgtable-invert.h

// protnoneMask returns all ones if v stores its frame inverted, else 0.
func protnoneMask(v uint64) uint64 {
	if v != 0 && v&PagePresent == 0 {
		return ^uint64(0)
	}
	return 0
}

// flipProtnoneGuard re-encodes the frame bits of v, taken from old, if only one of the two is inverted.
func flipProtnoneGuard(old, v, frame uint64) uint64 {
	return v ^ (protnoneMask(old)^protnoneMask(v))&frame
}

// mkPFN is pfn_pte, pfn_pmd and pfn_pud, which differ in their frame mask.
func (a *ABI) mkPFN(pfn PFN, prot Prot, frame uint64) uint64 {
	return (uint64(pfn)<<PageShift^protnoneMask(uint64(prot)))&frame | uint64(prot.Massage(a))
}

// modify is the common part of pte_modify, pmd_modify and pud_modify: keep is what survives of the old entry,
// change the full CHG mask, which the new protection must not touch.
func (a *ABI) modify(old uint64, prot Prot, keep, change, frame uint64) uint64 {
	v := old&keep | uint64(prot.Massage(a))&^change
	v = flipProtnoneGuard(old, v, frame)
	if old&PageRW != 0 {
		return a.mkSavedDirty(v)
	}
	return a.clearSavedDirty(v)
}
