package x86

// Flush decisions look at what a TLB may hold: software bits never, A of a huge page only.
const (
	flushIfChanged = PageRW | PageUser | PagePWT | PagePCD | PagePSE | PageGlobal | PagePATLarge | PagePkeyMask | PageNX
	flushIfCleared = PagePresent | PageDirty
)

// PTENeedsFlush reports whether a processor that cached old could act differently from new.
//
// Linux: arch/x86/include/asm/tlbflush.h:pte_needs_flush()
func PTENeedsFlush(a *ABI, old, new PTE) bool {
	if old&PagePresent == 0 {
		return false
	}
	if old.PFN(a) != new.PFN(a) {
		return true
	}
	return flagsNeedFlush(old.Flags(a), new.Flags(a), flushIfCleared)
}

// HugePMDNeedsFlush is [PTENeedsFlush] for a 2 MiB leaf; there, losing A wants a flush too.
//
// Linux: arch/x86/include/asm/tlbflush.h:huge_pmd_needs_flush()
func HugePMDNeedsFlush(a *ABI, old, new PMD) bool {
	if old&PagePresent == 0 {
		return false
	}
	if old.PFN(a) != new.PFN(a) {
		return true
	}
	return flagsNeedFlush(old.Flags(a), new.Flags(a), flushIfCleared|PageAccessed)
}

// flagsNeedFlush compares flag bits. Linux: arch/x86/include/asm/tlbflush.h:pte_flags_need_flush()
func flagsNeedFlush(old, new, ifCleared uint64) bool {
	return (old^new)&(flushIfChanged|old&ifCleared) != 0
}
