package picture

import (
	"math/bits"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/swapentry"
)

// pictureForm is what the 64 bits of an entry are called. Number holds those that are the frame or the slot.
type pictureForm struct {
	names  [64]string
	number uint64
}

// Names of bits that are values. All others have the names of [x86.ABI.FlagsOf].
const (
	bitPresent  = "P"
	bitPkey     = "PKEY"
	bitFrame    = "FRAME"
	bitSlot     = "SLOT"
	bitOffset   = "OFFSET"
	bitType     = "TYPE"
	bitReserved = "RESERVED"
	bitYoung    = "YOUNG"
	bitWasDirty = "WAS_DIRTY"
)

// bitMeanings are the sentences below the picture of an entry. A name that is not here speaks for itself, or is free.
var bitMeanings = map[string]string{
	bitPresent:        "present: the processor may use the entry",
	bitPkey:           "protection key, for user pages",
	bitFrame:          "where the page or table lies: its physical address, in a swap form its frame number",
	bitSlot:           "slot on the swap device, stored inverted",
	bitOffset:         "offset of the swap form, stored inverted",
	bitType:           "type of the swap form: a swap device, or a special kind",
	bitReserved:       "reserved: must be 0",
	"RW":              "writing is allowed",
	"USER":            "user mode may use it",
	"PWT":             "memory type: write-through (with PCD and PAT)",
	"PCD":             "memory type: cache disabled (with PWT and PAT)",
	"PAT":             "memory type: third bit of the index",
	"PAT_LARGE":       "memory type: third bit of the index, in large pages",
	"ACCESSED":        "the processor has used the page",
	"DIRTY":           "the processor has written to the page",
	"PSE":             "a large page, not a table",
	"GLOBAL":          "stays in the TLB when CR3 changes",
	"PROTNONE":        "PROT_NONE or NUMA hint: a page that nobody may touch",
	"SPECIAL":         "no struct page stands behind it, or none that counts",
	"UFFD_WP":         "userfaultfd wants to hear of a write",
	"SOFT_DIRTY":      "written since the soft-dirty bits were cleared",
	"SAVED_DIRTY":     "dirty, kept here while write-protected",
	"KERNEL_4K":       "kernel mapping that must stay in 4K pages",
	"DEVMAP":          "device memory with a struct page",
	"ENC":             "encrypted memory",
	"NX":              "no instruction may be fetched",
	"NOPTISHADOW":     "not copied to the user root",
	"SWP_SOFT_DIRTY":  "soft-dirty, kept in the swap form",
	"SWP_UFFD_WP":     "userfaultfd write-protection, kept in the swap form",
	"SWP_EXCLUSIVE":   "the page belongs to this process alone",
	"~" + bitYoung:    "accessed, kept while the page migrates; stored inverted",
	"~" + bitWasDirty: "dirty, kept while the page migrates; stored inverted",
	"~UFFD-WP":        "marker: userfaultfd wants to hear of a write; stored inverted",
	"~POISONED":       "marker: access is an error; stored inverted",
	"~GUARD":          "marker: a guard page; stored inverted",
}

// formOf names the bits of an entry. What a bit of a swap form means is found by asking what its change would change.
func (c *pictureClasses) formOf(l *tree.Leaf, role slotRole) pictureForm {
	var f pictureForm
	abi := c.decoder.ABI
	form := l.Kind.Form(abi, l.Level, l.Raw)
	frame := l.Kind.FrameMask(abi, l.Level)
	if role != slotLeaf {
		frame = abi.FrameMask(x86.LevelPTE)
	}
	for _, flag := range abi.FlagsOf(l.Level, form) {
		if flag.Mask&frame == 0 {
			f.names[bits.TrailingZeros64(flag.Mask)] = flag.Name
		}
	}
	swap := form == x86.FormSwap
	for i := range f.names {
		switch bit := uint64(1) << i; {
		case f.names[i] != "":
		case bit == x86.PagePresent:
			f.names[i] = bitPresent
		case swap && l.HasSwap():
			f.names[i] = c.swapBit(l, bit)
		case bit&frame != 0:
			f.names[i] = bitFrame
		default:
			f.names[i] = bitPkey
		}
		if bit := uint64(1) << i; !swap && abi.ReservedBits(l.Level, l.Raw|bit)&bit != 0 {
			f.names[i] = bitReserved // an entry in which it is set is a class of its own
		}
	}
	f.findNumber()
	return f
}

// findNumber finds the bits that hold the frame, or else the slot or offset.
func (f *pictureForm) findNumber() {
	for _, holder := range [...]string{bitFrame, bitSlot, bitOffset} {
		for i, name := range f.names {
			if name == holder {
				f.number |= 1 << i
			}
		}
		if f.number != 0 {
			return
		}
	}
}

// swapBit names a bit of a swap form that is no flag. What is stored inverted, as everything in the offset is, begins with
// "~": 0 means yes.
func (c *pictureClasses) swapBit(l *tree.Leaf, bit uint64) string {
	on, off := c.swapFormOf(l.Level, l.Raw|bit), c.swapFormOf(l.Level, l.Raw&^bit)
	inverted := func(no bool, name string) string {
		if no {
			return "~" + name
		}
		return name
	}
	switch {
	case on.Type != off.Type:
		return bitType
	case on.PFN != off.PFN:
		return bitFrame
	case on.Young != off.Young:
		return inverted(off.Young, bitYoung)
	case on.Dirty != off.Dirty:
		return inverted(off.Dirty, bitWasDirty)
	case on.Marker != off.Marker:
		return inverted(off.Marker > on.Marker, strings.ToUpper((on.Marker ^ off.Marker).String()))
	case on.Kind == swapentry.KindSwap:
		return bitSlot
	}
	return bitOffset
}

func (c *pictureClasses) formIndex(f pictureForm) int {
	i, ok := c.byForm[f]
	if !ok {
		i = len(c.forms)
		c.forms, c.byForm[f] = append(c.forms, f), i
	}
	return i
}
