package swapentry

import (
	"strings"

	"ptemu/arch/x86"
)

// Kind is what a value in leaf position is.
type Kind uint8

// The kinds. Values that hold no swap form are KindNone, KindPresent or KindUnknown.
const (
	// KindNone: nothing. Stray A and D bits do not count.
	KindNone Kind = iota
	// KindPresent: a page, or a table; package x86 reads it. PROT_NONE pages and large pages that are being
	// changed (PSE without P) belong here.
	KindPresent
	// KindSwap: a slot of a swap device.
	KindSwap
	// KindMigration: the page is on its way to another frame.
	KindMigration
	// KindDevicePrivate: the page lies in device memory that the CPU cannot reach.
	KindDevicePrivate
	// KindDeviceExclusive: a device has the page for itself.
	KindDeviceExclusive
	// KindHWPoison: the frame has failed.
	KindHWPoison
	// KindMarker: no page, a remark about the place.
	KindMarker
	// KindSwapinError: the page could not be read back from swap (6.1).
	KindSwapinError
	// KindUnknown: not present and not none at a level that holds no swap form (P4D and above).
	KindUnknown
)

var kindNames = [...]string{
	"none", "present", "swap", "migration", "device-private", "device-exclusive", "hwpoison", "marker",
	"swapin-error", "unknown",
}

// String returns the name that ptdump prints: "swap", "migration", "device-private", ...
func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// HasPFN reports whether entries of the kind name a frame in their PFN field. The offset of a swap-in error is a
// frame too, but the kernel does not treat it as one.
//
// Linux: include/linux/leafops.h:softleaf_has_pfn()
func (k Kind) HasPFN() bool {
	switch k {
	case KindMigration, KindDevicePrivate, KindDeviceExclusive, KindHWPoison:
		return true
	}
	return false
}

// Access says how a page in migration was mapped.
type Access uint8

// The three ways. ReadExclusive is a read-only page that nobody else maps.
const (
	AccessRead Access = iota
	AccessReadExclusive
	AccessWrite
)

// String returns "read", "read-exclusive" or "write".
func (a Access) String() string {
	switch a {
	case AccessReadExclusive:
		return "read-exclusive"
	case AccessWrite:
		return "write"
	}
	return "read"
}

// Marker is the set of remarks that a marker makes about its place.
//
// Linux: include/linux/swapops.h:pte_marker
type Marker uint64

// The marker bits. Which of them a kernel knows is [Layout.MarkerMask].
const (
	// MarkerUffdWP: write-protected through userfaultfd, no page yet.
	MarkerUffdWP Marker = 1 << iota
	// MarkerPoisoned: access is an error: a failed swap-in, or UFFDIO_POISON (6.12 on).
	MarkerPoisoned
	// MarkerGuard: a guard page (7.2).
	MarkerGuard
)

// Names returns the names of the known bits, lowest first: "uffd-wp", "poisoned", "guard".
func (m Marker) Names() []string {
	var names []string
	for i, n := range [...]string{"uffd-wp", "poisoned", "guard"} {
		if m>>i&1 != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String joins the names with "|".
func (m Marker) String() string { return strings.Join(m.Names(), "|") }

// Entry is a non-present value, decoded. Fields that its Kind does not have are zero.
type Entry struct {
	Kind  Kind
	Level x86.Level

	// Type and Offset are what the value stores, whatever the kind. [Layout.Encode] reads them only where
	// nothing below says the same: Type for KindSwap, Offset for KindSwap and KindSwapinError.
	Type   uint8
	Offset uint64

	// The three flags. Only a PTE has Exclusive.
	SoftDirty, UffdWP, Exclusive bool

	PFN x86.PFN // if Kind.HasPFN

	Access       Access // migration: how the page was mapped
	Young, Dirty bool   // migration: A and D of the page, where the layout keeps them
	Write        bool   // device kinds: the page was mapped writable
	Marker       Marker // marker: the bits that the kernel knows

	// Stray holds the bits in which the value differs from the one that all other fields describe: bits with
	// no meaning at this place. Without a swap form (none, present, unknown) it is the whole value.
	Stray uint64
}

// PagemapOffset returns the offset that /proc/pid/pagemap shows: the frame for the kinds that have one, without
// the bits that a migration entry keeps above it, else the stored offset.
func (e *Entry) PagemapOffset() uint64 {
	if e.Kind.HasPFN() {
		return uint64(e.PFN)
	}
	return e.Offset
}

// Decode says what the value raw, found in a table of level, is. It takes any value.
func (l *Layout) Decode(level x86.Level, raw uint64) Entry {
	e := Entry{Kind: classify(level, raw), Level: level, Stray: raw}
	if e.Kind != KindSwap {
		return e
	}
	s := decodeRaw(raw)
	e.Type, e.Offset = s.Type(), s.Offset()
	e.Kind = l.kinds[e.Type]
	e.SoftDirty = raw&x86.PageSwpSoftDirty != 0
	e.UffdWP = raw&x86.PageSwpUffdWP != 0
	e.Exclusive = level == x86.LevelPTE && raw&x86.PageSwpExclusive != 0
	if e.Kind.HasPFN() {
		e.PFN = s.PFN(l)
	}
	switch e.Kind {
	case KindMigration:
		e.Young, e.Dirty = s.MigrationYoung(l), s.MigrationDirty(l)
		switch e.Type {
		case l.types.MigrationReadExclusive:
			e.Access = AccessReadExclusive
		case l.types.MigrationWrite:
			e.Access = AccessWrite
		}
	case KindDevicePrivate:
		e.Write = s.WritableDevicePrivate(l)
	case KindDeviceExclusive:
		e.Write = s.WritableDeviceExclusive(l)
	case KindMarker:
		e.Marker = s.Marker(l)
	}
	e.Stray = raw ^ l.canonical(&e)
	return e
}

// classify returns KindSwap for every swap form, and the final kind for the rest.
//
// A swap form in a PMD belongs to a huge page; in a PUD, and with the kinds that no PMD of a huge page has, to
// hugetlbfs, which writes the PTE form into the entries of its level.
func classify(level x86.Level, raw uint64) Kind {
	present := uint64(x86.PagePresent | x86.PageProtnone)
	if level == x86.LevelPMD || level == x86.LevelPUD {
		present |= x86.PagePSE
	} else if level > x86.LevelPUD {
		present = x86.PagePresent
	}
	switch {
	case raw&present != 0:
		return KindPresent
	case x86.PTE(raw).None():
		return KindNone
	case level > x86.LevelPUD:
		return KindUnknown
	}
	return KindSwap
}

// canonical returns the value that the fields of e describe, leaving Stray aside.
func (l *Layout) canonical(e *Entry) uint64 {
	var s Swp
	switch e.Kind {
	case KindSwap:
		s = MkSwp(e.Type, e.Offset)
	case KindMigration:
		switch e.Access {
		case AccessReadExclusive:
			s = l.MakeReadableExclusiveMigrationEntry(e.PFN)
		case AccessWrite:
			s = l.MakeWritableMigrationEntry(e.PFN)
		default:
			s = l.MakeReadableMigrationEntry(e.PFN)
		}
		if e.Young {
			s = l.MakeMigrationEntryYoung(s)
		}
		if e.Dirty {
			s = l.MakeMigrationEntryDirty(s)
		}
	case KindDevicePrivate:
		if e.Write {
			s = l.MakeWritableDevicePrivateEntry(e.PFN)
		} else {
			s = l.MakeReadableDevicePrivateEntry(e.PFN)
		}
	case KindDeviceExclusive:
		if e.Write {
			s = l.MakeWritableDeviceExclusiveEntry(e.PFN)
		} else {
			s = l.MakeReadableDeviceExclusiveEntry(e.PFN)
		}
	case KindHWPoison:
		s = l.MakeHWPoisonEntry(e.PFN)
	case KindMarker:
		s = l.MakePTEMarkerEntry(e.Marker)
	case KindSwapinError:
		s = l.MakeSwapinErrorEntry(x86.PFN(e.Offset))
	default:
		return 0
	}
	p := s.PTE()
	if e.SoftDirty {
		p = SwpMkSoftDirty(p)
	}
	if e.UffdWP {
		p = SwpMkUffdWP(p)
	}
	if e.Exclusive {
		p = PTESwpMkExclusive(p)
	}
	return uint64(p)
}
