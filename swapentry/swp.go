package swapentry

import "ptemu/arch/x86"

// Swp is swp_entry_t: type and offset without the flags of the entry, in the form that the kernel calculates with.
// In 7.2 it is also softleaf_t, where the value 0 means "none".
type Swp uint64

// MkSwp joins a type (0 to 31) and an offset; offset bits from 58 up are lost. A page-table entry holds only the
// low 50.
//
// Linux: include/linux/swapops.h:swp_entry()
func MkSwp(typ uint8, offset uint64) Swp { return Swp(uint64(typ)<<typeShift | offset&offsetMask) }

// Type returns the swap device or the special type.
//
// Linux: include/linux/swapops.h:swp_type()
func (s Swp) Type() uint8 { return uint8(s >> typeShift) }

// Offset returns the slot number, the frame or what else the type keeps there.
//
// Linux: include/linux/swapops.h:swp_offset()
func (s Swp) Offset() uint64 { return uint64(s) & offsetMask }

// PTE returns the page-table entry without any flag set. Offset bits from 50 up are lost.
//
// Linux: include/linux/swapops.h:swp_entry_to_pte(); include/linux/leafops.h:softleaf_to_pte()
func (s Swp) PTE() x86.PTE { return x86.PTE(encodeRaw(s.Type(), s.Offset())) }

// PMD is [Swp.PTE] for a PMD.
//
// Linux: include/linux/swapops.h:swp_entry_to_pmd()
func (s Swp) PMD() x86.PMD { return x86.PMD(encodeRaw(s.Type(), s.Offset())) }

// FromPTE returns what a non-present PTE names, less its flags. Where there are softleaves (7.2), a present or
// none PTE gives 0, the none softleaf; elsewhere the kernel does not ask and the result means nothing.
//
// Linux: include/linux/leafops.h:softleaf_from_pte(); 6.12: include/linux/swapops.h:pte_to_swp_entry()
func (l *Layout) FromPTE(p x86.PTE) Swp {
	if l.softleaf && (p.Present() || p.None()) {
		return 0
	}
	return decodeRaw(uint64(p))
}

// FromPMD is [Layout.FromPTE] for a PMD.
//
// Linux: include/linux/leafops.h:softleaf_from_pmd(); 6.12: include/linux/swapops.h:pmd_to_swp_entry()
func (l *Layout) FromPMD(p x86.PMD) Swp {
	if l.softleaf && (p.Present() || p.None()) {
		return 0
	}
	return decodeRaw(uint64(p))
}

// encodeRaw and decodeRaw shift the offset to the top first, which drops what does not fit, and then into place.
func encodeRaw(typ uint8, offset uint64) uint64 {
	return ^offset<<rawOffsetShift>>typeBits | uint64(typ)<<rawTypeShift
}

func decodeRaw(raw uint64) Swp {
	return MkSwp(uint8(raw>>rawTypeShift), ^raw<<typeBits>>rawOffsetShift)
}
