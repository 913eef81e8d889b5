package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Category is what PAGEMAP_SCAN knows of a page.
//
// Linux: include/uapi/linux/fs.h:PAGE_IS_WPALLOWED and the following
type Category uint16

// The categories.
const (
	PageWPAllowed Category = 1 << iota // the area is write-protected asynchronously
	PageWritten                        // not write-protected through userfaultfd
	PageFile                           // of a file or of shared memory
	PagePresent
	PageSwapped // neither present nor none
	PageZero    // the zero page
	PageHuge
	PageSoftDirty
	PageGuard // a guard page (7.2)
)

// ScanFlags are the flags of a scan.
type ScanFlags uint8

// The flags.
const (
	// ScanWPMatching write-protects the pages that are found. Areas that do not allow it are passed over.
	ScanWPMatching ScanFlags = 1 << iota
	// ScanCheckWPAsync: such an area is an error.
	ScanCheckWPAsync
)

// ScanArgs are the arguments of a scan. A page is found if all categories of Mask apply to it, and, unless AnyOf is 0,
// one of AnyOf; to those in Inverted if they do not.
//
// Linux: include/uapi/linux/fs.h:struct pm_scan_arg
type ScanArgs struct {
	Start, End x86.Virt
	Flags      ScanFlags
	Regions    int    // room in the answer; 0: no answer is wanted
	MaxPages   uint64 // to be found; 0: any number

	Inverted, Mask, AnyOf Category
	Return                Category // categories that the answer shows
}

// Region is neighbouring pages of the same categories. End is the first address behind.
//
// Linux: include/uapi/linux/fs.h:struct page_region
type Region struct {
	Start, End x86.Virt
	Categories Category
}

// ScanResult is the answer of a scan.
type ScanResult struct {
	Regions []Region
	WalkEnd x86.Virt // where it ended: before ScanArgs.End if there was no more room
}

// errScanFull ends a walk: there is no more room.
var errScanFull = errors.New("scan is full")

// scan is a scan under way.
//
// Linux: fs/proc/task_mmu.c:struct pagemap_scan_private
type scan struct {
	ScanArgs
	c     *CPU
	s     *Space
	m     *Machine
	v     *VMA
	area  Category // of the area
	out   []Region
	found uint64
	end   x86.Virt
}

// PagemapScan finds pages by categories, and may write-protect them: one step for finding and forgetting what was
// written (6.12 on). The CPU makes the call; it may run another space.
//
// Linux: fs/proc/task_mmu.c:do_pagemap_scan()
func (s *Space) PagemapScan(c *CPU, a ScanArgs) (ScanResult, error) {
	const call = "PAGEMAP_SCAN"
	known := PageSoftDirty<<1 - 1
	if s.m.Policy.GuardMarkers {
		known |= PageGuard
	}
	switch {
	case !s.m.Policy.UffdWPAsync:
		return ScanResult{}, &CallError{call, a.Start, ErrNoSys}
	case s.exited:
		return ScanResult{}, &CallError{call, a.Start, ErrSrch}
	case a.Start%x86.PageSize != 0 || a.End > s.tree.Limit() || a.Start > a.End || a.Regions < 0,
		a.Flags&^(ScanWPMatching|ScanCheckWPAsync) != 0, (a.Inverted|a.Mask|a.AnyOf|a.Return)&^known != 0:
		return ScanResult{}, &CallError{call, a.Start, ErrInval}
	}
	if a.MaxPages == 0 {
		a.MaxPages = ^uint64(0)
	}
	a.End = x86.Virt(roundUp(uint64(a.End)))
	w := &scan{ScanArgs: a, c: c, s: s, m: s.m, end: a.End}
	if a.Start == a.End {
		return ScanResult{WalkEnd: a.End}, nil
	}
	s.readLock()
	defer s.readUnlock()
	err := s.eachVMA(pgtable.Range{First: a.Start, Last: a.End - 1}, w.vma)
	if errors.Is(err, errScanFull) {
		err = nil
	}
	return ScanResult{w.out, w.end}, err
}

// vma scans part of an area. Linux: fs/proc/task_mmu.c:pagemap_scan_test_walk()
func (w *scan) vma(v *VMA, part pgtable.Range) error {
	allowed := v.uffd.wpAsync() && v.usesMarkers()
	w.v, w.area = v, 0
	switch {
	case allowed:
		w.area |= PageWPAllowed
	case w.Flags&ScanCheckWPAsync != 0:
		return &CallError{"PAGEMAP_SCAN", part.First, ErrPerm}
	case w.Flags&ScanWPMatching != 0:
		return nil
	}
	if v.flags&VMPFNMap != 0 {
		return nil
	}
	if v.flags&VMSoftDirty != 0 {
		w.area |= PageSoftDirty
	}
	if required := w.Mask & PageWPAllowed; (w.area^w.Inverted)&required != required {
		return nil
	}
	return w.slots(part)
}

// slots scans r, PMD slot by slot.
func (w *scan) slots(r pgtable.Range) error {
	for first := r.First; ; {
		last := min(r.Last, first|x86.Virt(x86.LevelPMD.Size()-1))
		if err := w.slot(pgtable.Range{First: first, Last: last}); err != nil {
			return err
		}
		if last == r.Last {
			return nil
		}
		first = last + 1
	}
}

func (w *scan) slot(r pgtable.Range) error {
	for {
		if e, huge := w.s.hugePMD(r.First); huge {
			again, err := w.huge(r, e)
			if !again {
				return err
			}
			continue // split: as if nothing huge had been there
		}
		c, err := w.s.tree.LockPTEs(r.First, false)
		if err != nil {
			return w.hole(r)
		}
		defer c.Unlock()
		return w.table(c, r)
	}
}

// interesting reports that the arguments ask for a page of these categories.
//
// Linux: fs/proc/task_mmu.c:pagemap_scan_is_interesting_page()
func (w *scan) interesting(c Category) bool {
	c ^= w.Inverted
	return c&w.Mask == w.Mask && (w.AnyOf == 0 || c&w.AnyOf != 0)
}

// output adds r to the answer, as far as there is room, and returns how far that was.
//
// Linux: fs/proc/task_mmu.c:pagemap_scan_output()
func (w *scan) output(c Category, r pgtable.Range) (end x86.Virt, err error) {
	end = r.Last + 1
	if w.Regions == 0 {
		return end, nil
	}
	n := uint64(end-r.First) / x86.PageSize
	if left := w.MaxPages - w.found; n > left {
		end, n, err = r.First+x86.Virt(left)*x86.PageSize, left, errScanFull
	}
	if !w.push(c&w.Return, r.First, end) {
		end, n, err = r.First, 0, errScanFull
	}
	w.found += n
	if err != nil {
		w.end = end
	}
	return end, err
}

// push adds pages to the last region, or as a new one if there is room. Linux: fs/proc/task_mmu.c:pagemap_scan_push_range()
func (w *scan) push(c Category, first, end x86.Virt) bool {
	if first == end {
		return true
	}
	if n := len(w.out); n > 0 && w.out[n-1].End == first && w.out[n-1].Categories == c {
		w.out[n-1].End = end
		return true
	}
	if len(w.out) >= w.Regions {
		return false
	}
	w.out = append(w.out, Region{first, end, c})
	return true
}

// backOut takes what output added last out again. Linux: fs/proc/task_mmu.c:pagemap_scan_backout_range()
func (w *scan) backOut(first, end x86.Virt) {
	if w.Regions == 0 || first == end {
		return
	}
	if last := &w.out[len(w.out)-1]; last.Start != first {
		last.End = first
	} else {
		w.out = w.out[:len(w.out)-1]
	}
	w.found -= uint64(end-first) / x86.PageSize
	w.end = w.End
}

// protects reports that a page of these categories is to be write-protected.
func (w *scan) protects(c Category) bool {
	return w.Flags&ScanWPMatching != 0 && c&PageWritten != 0
}

// flush tells processors of what was write-protected, before the table is unlocked.
//
// Linux: include/asm-generic/tlb.h:flush_tlb_range()
func (w *scan) flush(r pgtable.Range, l x86.Level) {
	w.m.FlushTLB(w.s.tree, pgtable.Flush{Range: r, Levels: 1 << l})
}
