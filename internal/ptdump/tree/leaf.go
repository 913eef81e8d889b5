package tree

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Kind is what an entry in leaf position is. Its text is the "kind" of the JSON output.
type Kind string

// The kinds of entries. None occurs only in ranges, never among entries.
const (
	KindNone            Kind = "none"
	KindPresent         Kind = "present"
	KindProtnone        Kind = "protnone"
	KindSwap            Kind = "swap"
	KindMigration       Kind = "migration"
	KindDevicePrivate   Kind = "device-private"
	KindDeviceExclusive Kind = "device-exclusive"
	KindHWPoison        Kind = "hwpoison"
	KindMarker          Kind = "marker"
	KindSwapinError     Kind = "swapin-error"
	// KindUnknown is an entry without P in the kernel half: a page that was taken out of the kernel's mapping.
	KindUnknown Kind = "unknown"
)

// Rights are effective: what all levels of the walk together permit. R is present (P in every level); U is
// user access; X is no NX anywhere. An entry that no processor can use, because P is clear or a reserved bit is
// set, has none. The JSON form is stable.
type Rights struct {
	R bool `json:"r"`
	W bool `json:"w"`
	X bool `json:"x"`
	U bool `json:"u"`
}

// Append appends "rwxu" with "-" for each right that is missing.
func (r Rights) Append(dst []byte) []byte {
	for _, b := range [...]struct {
		on bool
		c  byte
	}{{r.R, 'r'}, {r.W, 'w'}, {r.X, 'x'}, {r.U, 'u'}} {
		if b.on {
			dst = append(dst, b.c)
		} else {
			dst = append(dst, '-')
		}
	}
	return dst
}

// String returns "rwxu" with "-" for each right that is missing.
func (r Rights) String() string { return string(r.Append(nil)) }

// Leaf is one non-empty entry in leaf position, decoded. A Leaf handed to a sink is only valid during the call.
type Leaf struct {
	VA     x86.Virt
	Level  x86.Level
	Raw    uint64
	Kind   Kind
	Rights Rights
	// PFN is the frame that the entry names, if HasPFN: of a page, present or not, or in a migration, device, hwpoison or
	// swapin-error entry.
	PFN    x86.PFN
	HasPFN bool
	// Swap is the decoded entry of every swap form: of the kinds that are no page.
	Swap swapentry.Entry
	// Invalid says that no kernel of the tree's kind writes such an entry in the user half, see
	// [swapentry.Layout.Check].
	Invalid bool
	// Table is the physical address of the table, Index the slot, so Table+8*Index is the entry's place.
	Table x86.Phys
	Index int
}

// Invalidated reports a large page that the kernel is about to change: PSE without P or PROT_NONE. Linux counts it
// as present, so its kind is [KindPresent]; to the processor it is absent, so it has no rights.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mkinvalid(), pmd_present()
func (l *Leaf) Invalidated() bool { return l.Kind == KindPresent && l.Raw&x86.PagePresent == 0 }

// InKernelHalf reports an entry of the kernel's half of the address space.
func (l *Leaf) InKernelHalf() bool { return l.VA>>63 != 0 }

// NotPresent reports a page of the kernel half that no processor reaches: taken out of the mapping, or never put in.
func (l *Leaf) NotPresent() bool {
	return l.IsPage() && l.InKernelHalf() && l.Raw&x86.PagePresent == 0 && !l.Invalidated()
}

// IsPage reports whether the entry names a page by its frame bits, rather than being a swap form.
func (l *Leaf) IsPage() bool { return l.Kind.isPage() && l.HasPFN }

func (k Kind) isPage() bool { return k == KindPresent || k == KindProtnone || k == KindUnknown }

// HasSwap reports whether the entry is a swap form: it has a type and an offset.
func (l *Leaf) HasSwap() bool { return !l.Kind.isPage() }

// SwapOffset returns the offset of a swap form as /proc/pid/pagemap shows it.
func (l *Leaf) SwapOffset() uint64 { return l.Swap.PagemapOffset() }

// Place returns the physical address of the entry itself.
func (l *Leaf) Place() x86.Phys { return l.Table + x86.Phys(8*l.Index) }

// Unusable reports P without rights: a reserved bit is set, and the processor refuses every access.
func (l *Leaf) Unusable() bool { return !l.Rights.R && l.Kind == KindPresent && !l.Invalidated() }

// ReservedBits returns the reserved bits that are set in the entry. It has no rights then, so that most entries need
// no closer look.
func (l *Leaf) ReservedBits(abi *x86.ABI) uint64 {
	if l.Rights.R {
		return 0
	}
	return abi.ReservedBits(l.Level, l.Raw)
}

// Pkey returns the protection key bits of the entry.
func (l *Leaf) Pkey() int { return x86.PTE(l.Raw).Pkey() }

// HasPkey reports whether the entry has a protection key: every page does, also where no processor looks at it.
func (l *Leaf) HasPkey() bool { return l.IsPage() }

// Form says by which form the flags of an entry of a kind are called.
func (k Kind) Form(abi *x86.ABI, level x86.Level, raw uint64) x86.Form {
	if k == KindUnknown {
		return x86.FormKernel
	}
	return abi.FormOf(level, raw)
}

// FrameMask returns the bits that an entry of a kind and a level names its page by. A large page that was taken out has lost
// PSE, and with it the meaning of bits below its size.
func (k Kind) FrameMask(abi *x86.ABI, level x86.Level) uint64 {
	if k == KindUnknown {
		level = x86.LevelPTE
	}
	return abi.FrameMask(level)
}

// AppendFlags appends the names of the flags set in an entry of a kind, lowest bit first.
func (k Kind) AppendFlags(abi *x86.ABI, dst []string, level x86.Level, raw uint64) []string {
	if k != KindUnknown {
		return abi.AppendFlags(dst, level, raw)
	}
	raw &^= k.FrameMask(abi, level)
	for _, f := range abi.FlagsOf(level, x86.FormKernel) {
		if raw&f.Mask != 0 {
			dst = append(dst, f.Name)
		}
	}
	return dst
}

// Sink receives what a walk finds, in ascending address order. An error stops the walk and is returned by it.
type Sink interface {
	Leaf(*Leaf) error
	// Problem receives what keeps a part of the address space from being explained: an unreadable table, a table
	// that is its own ancestor, reserved bits.
	Problem(*pgtable.Problem) error
}

// Filter limits a walk. The zero Filter passes everything.
type Filter struct {
	// First and Last bound the virtual addresses, inclusive; Last 0 with First 0 means no bound. Tables
	// outside are never read.
	First, Last x86.Virt
	// Match, if not nil, is asked for every leaf; false drops it.
	Match func(*Leaf) bool
	// MatchReadsVA says that Match depends on the address. Else its answer for a table is taken to hold wherever
	// that table is reached again in the same way.
	MatchReadsVA bool
}
