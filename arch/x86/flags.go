package x86

import "fmt"

// Flag is a named bit of an entry.
type Flag struct {
	Name string
	Mask uint64
}

// Form is what an entry is, as far as the meaning of its flag bits depends on it.
type Form uint8

// The forms of an entry.
const (
	FormLeaf     Form = iota // present: maps user memory
	FormKernel               // present: maps kernel memory (USER clear)
	FormProtnone             // not present, but a page: PROT_NONE, or a huge page being changed
	FormSwap                 // not present, no page: swap entry, migration entry, marker
	FormTable                // points to a table
	FormRoot                 // points to a table, from the root
	formCount
)

// FormOf returns the form of an entry of level l. What has P at a level above PTE and lacks PSE is a table.
func (a *ABI) FormOf(l Level, entry uint64) Form {
	switch {
	case entry&PagePresent != 0 && l > LevelPTE && (entry&PagePSE == 0 || l > LevelPUD):
		if l == a.paging.Root() {
			return FormRoot
		}
		return FormTable
	case entry&PagePresent != 0 && entry&PageUser == 0:
		return FormKernel
	case entry&PagePresent != 0:
		return FormLeaf
	case entry&PageProtnone != 0 || l > LevelPTE && entry&PagePSE != 0:
		return FormProtnone
	}
	return FormSwap
}

// FlagsOf returns the flag bits of an entry of level l and form f, lowest first, with the names that the kernel
// gives them (without the prefix _PAGE_). P is left out, and so are the frame, the protection key and, of a swap
// entry, type and offset: they are values, not flags. A bit that has no name in this form is called BITn, so that
// the list misses none. The caller must not change the slice.
func (a *ABI) FlagsOf(l Level, f Form) []Flag { return a.flags[l][f] }

// AppendFlags appends the names of the flags set in an entry of level l, lowest bit first.
func (a *ABI) AppendFlags(dst []string, l Level, entry uint64) []string {
	for _, f := range a.flags[l][a.FormOf(l, entry)] {
		if entry&f.Mask != 0 {
			dst = append(dst, f.Name)
		}
	}
	return dst
}

func (a *ABI) makeFlags() {
	for l := LevelPTE; l <= LevelPGD; l++ {
		for f := range formCount {
			values := a.valueBits(l, f)
			for bit := range 64 {
				if m := uint64(1) << bit; values&m == 0 {
					a.flags[l][f] = append(a.flags[l][f], Flag{a.flagName(bit, l, f), m})
				}
			}
		}
	}
}

// valueBits returns the bits of an entry that are not flags.
func (a *ABI) valueBits(l Level, f Form) uint64 {
	switch f {
	case FormLeaf, FormProtnone:
		return PagePresent | PagePkeyMask | a.FrameMask(l)
	case FormKernel:
		return PagePresent | PagePkeyMask | a.FrameMask(l)
	case FormSwap:
		return PagePresent | swapValueBits
	}
	return PagePresent | a.pteFrame
}

// swapValueBits holds the inverted offset and the type of a swap entry.
const swapValueBits = ^uint64(1<<9 - 1)

func (a *ABI) flagName(bit int, l Level, f Form) string {
	leaf := f == FormLeaf || f == FormKernel || f == FormProtnone
	m := uint64(1) << bit
	if f == FormSwap {
		switch {
		case m == PageSwpSoftDirty:
			return "SWP_SOFT_DIRTY"
		case m == PageSwpUffdWP:
			return "SWP_UFFD_WP"
		case m == PageSwpExclusive && l == LevelPTE:
			return "SWP_EXCLUSIVE"
		case m == PageAccessed:
			return "ACCESSED"
		case m == PageDirty:
			return "DIRTY"
		case m == PagePSE && l > LevelPTE:
			return "PSE"
		}
		return fmt.Sprint("BIT", bit)
	}
	switch bit {
	case PageBitRW:
		return "RW"
	case PageBitUser:
		return "USER"
	case PageBitPWT:
		return "PWT"
	case PageBitPCD:
		return "PCD"
	case PageBitAccessed:
		return "ACCESSED"
	case PageBitDirty:
		return "DIRTY"
	case PageBitPSE:
		if l == LevelPTE {
			return "PAT"
		}
		return "PSE"
	case PageBitGlobal:
		if f == FormProtnone {
			return "PROTNONE"
		}
		return "GLOBAL"
	case PageBitSpecial:
		if l == LevelPTE || a.kernel.HugeSpecial && leaf {
			return "SPECIAL"
		}
		return "SOFTW1"
	case PageBitUffdWP:
		if leaf { // of a PUD only hugetlbfs sets it, which writes the bits of a PTE
			return "UFFD_WP"
		}
		return "SOFTW2"
	case PageBitSoftDirty:
		switch {
		case f == FormKernel && a.kernel.Kernel4K:
			return "KERNEL_4K"
		case leaf:
			return "SOFT_DIRTY"
		}
		return "SOFTW3"
	case PageBitPATLarge:
		return "PAT_LARGE"
	case PageBitNX:
		return "NX"
	}
	switch {
	case m == a.paging.EncMask:
		return "ENC"
	case m == a.devmap && leaf:
		return "DEVMAP"
	case m == a.savedDirty && leaf:
		return "SAVED_DIRTY"
	case bit == PageBitSoftW5 && f == FormRoot && a.kernel.NoPTIShadow:
		return "NOPTISHADOW"
	case bit >= PageBitPkey0 && bit < PageBitNX:
		return fmt.Sprint("PKEY_BIT", bit-PageBitPkey0)
	}
	return fmt.Sprint("BIT", bit)
}
