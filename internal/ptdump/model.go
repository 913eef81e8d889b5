package ptdump

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
	KindUnknown         Kind = "unknown"
)

// Rights are effective: what all levels of the walk together permit. R is present (P in every level); U is
// user access; X is no NX anywhere. An entry that no processor can use, because P is clear or a reserved bit is
// set, has none.
type Rights struct{ R, W, X, U bool }

// Leaf is one non-empty entry in leaf position, decoded. A Leaf handed to a sink is only valid during the call.
type Leaf struct {
	VA     x86.Virt
	Level  x86.Level
	Raw    uint64
	Kind   Kind
	Rights Rights
	// PFN is the frame that the entry names, if HasPFN: of a present or PROT_NONE page, or in a migration,
	// device or hwpoison entry.
	PFN    x86.PFN
	HasPFN bool
	// Swap is the decoded entry of every non-present kind.
	Swap swapentry.Entry
	// Invalid says that no kernel of the session's kind writes such an entry in the user half, see
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

// Problem is something that keeps a part of the address space from being explained: an unreadable table, a
// table that is its own ancestor, reserved bits.
type Problem = pgtable.Problem

// Sink receives what a walk finds, in ascending address order. An error stops the walk and is returned by it.
type Sink interface {
	Leaf(*Leaf) error
	Problem(*Problem) error
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
