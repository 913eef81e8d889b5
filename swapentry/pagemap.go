package swapentry

import (
	"fmt"
	"strings"

	"ptemu/arch/x86"
)

// Pagemap is a word of /proc/pid/pagemap: what Linux tells a process about one of its 4 KiB pages.
//
//	63 62 61 60 59 58 57 56 55 54                     5 4      0
//	 P  S  F  0  0  G  W  E  D | frame number                  |  present
//	 0  1  F  0  0  G  W  E  D | swap offset           | type  |  otherwise, if anything is there
//	P present (PROT_NONE too), S swapped, F file page or shared memory, G guard (7.2), W uffd-wp,
//	E mapped by nobody else, D soft-dirty
//
// Linux: fs/proc/task_mmu.c:make_pme()
type Pagemap uint64

// The fields of the word. Linux: fs/proc/task_mmu.c:PM_PFRAME_BITS and the following
const (
	pmFrameMask = 1<<55 - 1
	pmSoftDirty = 1 << 55
	pmExclusive = 1 << 56
	pmUffdWP    = 1 << 57
	pmGuard     = 1 << 58
	pmFile      = 1 << 61
	pmSwap      = 1 << 62
	pmPresent   = 1 << 63
)

// PageFacts is what a pagemap word says of a page that the page tables do not.
type PageFacts struct {
	// VMASoftDirty: the whole area counts as soft-dirty (VM_SOFTDIRTY), as new areas do.
	VMASoftDirty bool
	// Hugetlb: the area is hugetlbfs. Its words ignore the entry's soft-dirty bit, and show nothing of a
	// non-present entry but uffd-wp.
	Hugetlb bool
	// File: the page is not anonymous: of a file, of shared memory, or the huge zero page.
	File bool
	// Exclusive: the page is mapped once.
	Exclusive bool
	// HideFrame: the reader lacks CAP_SYS_ADMIN, so that bits 0 to 54 are 0.
	HideFrame bool
}

// Pagemap returns the word that the kernel shows for one 4 KiB page of the leaf-position value raw. page counts the
// pages from the start of what the entry covers: 0 for a PTE, 0 to 511 for a PMD. Facts about a page are left out
// where the entry has none. For an address in no area the kernel shows 0, without looking at an entry.
//
// Linux: fs/proc/task_mmu.c:pagemap_pmd_range(), pte_to_pagemap_entry(), pagemap_hugetlb_range()
func (l *Layout) Pagemap(level x86.Level, raw uint64, page uint64, f PageFacts) Pagemap {
	e := l.Decode(level, raw)
	var w Pagemap
	switch {
	case e.Kind == KindNone || e.Kind == KindUnknown:
	case e.Kind == KindPresent:
		w = l.presentWord(level, raw, page, f)
	case f.Hugetlb:
		if e.UffdWP || e.Marker&MarkerUffdWP != 0 {
			w = pmUffdWP
		}
	default:
		w = l.swapWord(&e, page, f)
	}
	if f.VMASoftDirty {
		w |= pmSoftDirty
	}
	if f.HideFrame {
		w &^= pmFrameMask
	}
	if !l.abi.Kernel().PagemapUffdWP {
		w &^= pmUffdWP
	}
	return w
}

func (l *Layout) presentWord(level x86.Level, raw, page uint64, f PageFacts) Pagemap {
	var pfn x86.PFN
	hasPage := true
	switch level {
	case x86.LevelPTE:
		pfn = x86.PTE(raw).PFN(l.abi)
		hasPage = !x86.PTE(raw).Special()
	case x86.LevelPMD:
		pfn = x86.PMD(raw).PFN(l.abi)
	default:
		pfn = x86.PUD(raw).PFN(l.abi)
	}
	w := pmPresent | (Pagemap(pfn)+Pagemap(page))&pmFrameMask
	if raw&x86.PageSoftDirty != 0 && !f.Hugetlb {
		w |= pmSoftDirty
	}
	if raw&x86.PageUffdWP != 0 {
		w |= pmUffdWP
	}
	if hasPage {
		w |= f.pageBits(true)
	}
	return w
}

func (l *Layout) swapWord(e *Entry, page uint64, f PageFacts) Pagemap {
	w := pmSwap | (Pagemap(e.Type)|Pagemap(e.PagemapOffset()+page)<<typeBits)&pmFrameMask
	if e.SoftDirty {
		w |= pmSoftDirty
	}
	if e.UffdWP || e.Marker&MarkerUffdWP != 0 {
		w |= pmUffdWP
	}
	if e.Marker&MarkerGuard != 0 {
		w |= pmGuard
	}
	if e.Kind.HasPFN() {
		w |= f.pageBits(l.abi.Kernel().PagemapSwapExclusive && e.Kind != KindMigration)
	}
	return w
}

func (f PageFacts) pageBits(exclusive bool) Pagemap {
	var w Pagemap
	if f.File {
		w |= pmFile
	}
	if f.Exclusive && exclusive {
		w |= pmExclusive
	}
	return w
}

// PagemapParts is a [Pagemap] word taken apart.
type PagemapParts struct {
	Present, Swapped                          bool
	File, Guard, UffdWP, Exclusive, SoftDirty bool

	PFN        x86.PFN // if Present
	SwapType   uint8   // if Swapped
	SwapOffset uint64  // if Swapped
}

// Parts takes the word apart. A word that is neither present nor swapped has no frame.
func (w Pagemap) Parts() PagemapParts {
	p := PagemapParts{
		Present: w&pmPresent != 0, Swapped: w&pmSwap != 0,
		File: w&pmFile != 0, Guard: w&pmGuard != 0, UffdWP: w&pmUffdWP != 0,
		Exclusive: w&pmExclusive != 0, SoftDirty: w&pmSoftDirty != 0,
	}
	frame := uint64(w & pmFrameMask)
	switch {
	case p.Present:
		p.PFN = x86.PFN(frame)
	case p.Swapped:
		p.SwapType = uint8(frame & (1<<typeBits - 1))
		p.SwapOffset = frame >> typeBits
	}
	return p
}

// String spells the word out: "swap type 27 offset 0x1234 soft-dirty".
func (w Pagemap) String() string {
	p := w.Parts()
	var words []string
	switch {
	case p.Present:
		words = append(words, fmt.Sprintf("present pfn %#x", uint64(p.PFN)))
	case p.Swapped:
		words = append(words, fmt.Sprintf("swap type %d offset %#x", p.SwapType, p.SwapOffset))
	default:
		words = append(words, "none")
	}
	for _, f := range []struct {
		set  bool
		name string
	}{
		{p.File, "file"}, {p.Guard, "guard"}, {p.UffdWP, "uffd-wp"}, {p.Exclusive, "exclusive"},
		{p.SoftDirty, "soft-dirty"},
	} {
		if f.set {
			words = append(words, f.name)
		}
	}
	return strings.Join(words, " ")
}
