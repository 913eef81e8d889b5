package x86

// ReservedBits returns the bits set in a present entry of level l that make the processor raise a reserved-bit
// fault: frame bits at or above PhysBits (less the encryption bit), NX where it is not enabled, PSE above the PUD,
// and the low frame bits of a large page.
//
// Intel SDM, "Paging-Structure Entries" and "Reserved-Bit Checking"
func (a *ABI) ReservedBits(l Level, entry uint64) uint64 {
	if entry&PagePresent == 0 {
		return 0
	}
	r := pfnMask52 &^ (1<<a.paging.PhysBits - 1) &^ a.paging.EncMask
	if !a.paging.NX {
		r |= PageNX
	}
	switch {
	case l >= LevelP4D:
		r |= PagePSE
	case l > LevelPTE && entry&PagePSE != 0:
		r |= (l.Size() - 1) &^ (2*PagePATLarge - 1) // bits 13 to 20, or to 29
	}
	return entry & r
}
