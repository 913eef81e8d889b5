package mm

import (
	"fmt"
	"math"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Truncate sets the size of the file. What is beyond is gone: mappings of it, too, and private copies that mappings
// made of it.
//
// Linux: mm/truncate.c:truncate_setsize(), truncate_pagecache(); mm/shmem.c:shmem_setattr()
func (f *File) Truncate(c *CPU, size uint64) error {
	old := f.size
	f.size = size
	if size >= old {
		return nil
	}
	first := f.pages()
	if err := f.unmapPages(c, first, math.MaxUint64, 0); err != nil {
		return err
	}
	if err := f.remove(c, size, math.MaxUint64); err != nil {
		return err
	}
	return f.unmapPages(c, first, math.MaxUint64, 0)
}

// PunchHole makes length bytes from off on zeros again. Pages that lie in them whole are given back, and their mappings
// go; private copies stay.
//
// Linux: fs/open.c:vfs_fallocate() with FALLOC_FL_PUNCH_HOLE, mm/shmem.c:shmem_fallocate()
func (f *File) PunchHole(c *CPU, off, length uint64) error {
	if length == 0 || off+length < off {
		return fmt.Errorf("mm: hole in %q: %w", f.name, ErrInval)
	}
	first, end := roundUp(off)/x86.PageSize, (off+length)/x86.PageSize
	if first < end {
		if err := f.unmapPages(c, first, end, zapFileOnly); err != nil {
			return err
		}
	}
	return f.remove(c, off, off+length)
}

// punch is PunchHole for whole pages.
func (f *File) punch(c *CPU, first, end uint64) error {
	return f.PunchHole(c, first*x86.PageSize, (end-first)*x86.PageSize)
}

// unmapPages zaps the mappings of pages from first up to end, in all spaces.
//
// Linux: mm/memory.c:unmap_mapping_pages()
func (f *File) unmapPages(c *CPU, first, end uint64, flags zapFlags) error {
	type part struct {
		v *VMA
		r pgtable.Range
	}
	var parts []part
	for _, s := range f.m.spaces {
		for _, v := range s.vmas {
			lo, hi := max(first, v.pgoff), min(end, v.pgoff+v.pages())
			if v.file == f && lo < hi {
				parts = append(parts, part{v, span(v.Start+x86.Virt(lo-v.pgoff)*x86.PageSize, hi-lo)})
			}
		}
	}
	for _, p := range parts {
		if p.v.space.VMA(p.r.First) != p.v || p.v.End <= p.r.Last {
			continue // it went, or was cut, while another area was flushed
		}
		g := c.gather(p.v.space)
		err := p.v.space.zap(g, p.v, p.r, flags)
		g.finish()
		if err != nil {
			return err
		}
	}
	return nil
}

// remove takes the bytes from off up to end out of the cache, the swap area and the disk: pages that lie in them whole
// are given back, others get zeros.
//
// Linux: mm/truncate.c:truncate_inode_pages_range(), mm/shmem.c:shmem_undo_range()
func (f *File) remove(c *CPU, off, end uint64) error {
	first, last := roundUp(off)/x86.PageSize, end/x86.PageSize
	if err := f.zeroEdges(off, end, first, last); err != nil {
		return err
	}
	for _, head := range f.heads(first, last) {
		if f.has(head) {
			if err := f.removeFolio(c, head, first, last); err != nil {
				return err
			}
		}
	}
	for index := range f.swapped {
		if index >= first && index < last {
			f.dropSwapped(index)
		}
	}
	for index := range f.store {
		if index >= first && index < last {
			delete(f.store, index)
		}
	}
	return nil
}

// zeroEdges writes zeros to the parts of the first and the last page that lie in off to end.
//
// Linux: mm/truncate.c:truncate_inode_partial_folio(); fs/buffer.c:block_truncate_page()
func (f *File) zeroEdges(off, end, first, last uint64) error {
	if off%x86.PageSize != 0 {
		if err := f.zero(off, min(end, first*x86.PageSize)); err != nil {
			return err
		}
	}
	if end == math.MaxUint64 || end%x86.PageSize == 0 || last < first {
		return nil
	}
	return f.zero(last*x86.PageSize, end)
}

// zero writes zeros from off up to end, which lie in one page, unless there is nothing but zeros.
func (f *File) zero(off, end uint64) error {
	index := off / x86.PageSize
	if f.vacant(index, index+1) && f.store[index] == nil {
		return nil
	}
	zeros := make([]byte, end-off)
	_, err := f.eachPage(zeros, off, func(_, mem []byte, pfn x86.PFN) {
		clear(mem)
		f.m.folio(pfn).flags |= pgDirty
	})
	return err
}

// removeFolio takes the folio at head out of the cache. If only part of it lies in the pages from first up to last, it is
// split first; where that fails, that part gets zeros and stays.
func (f *File) removeFolio(c *CPU, head x86.PFN, first, last uint64) error {
	p := &f.m.pages[head]
	index, n := p.index, uint64(1)<<p.order
	if index >= first && index+n <= last {
		return f.drop(c, head)
	}
	for i := max(first, index); i < min(last, index+n); i++ {
		clear(f.m.content(head + x86.PFN(i-index))[:])
	}
	if !f.split(c, head) {
		return nil
	}
	for i := max(first, index); i < min(last, index+n); i++ {
		if pfn, ok := f.cache[i]; ok {
			if err := f.drop(c, pfn); err != nil {
				return err
			}
		}
	}
	return nil
}

// split makes single pages of the large folio at head, and unmaps them. It fails if somebody else holds the folio.
//
// Linux: mm/truncate.c:truncate_inode_partial_folio(), mm/huge_memory.c:split_folio()
func (f *File) split(c *CPU, head x86.PFN) bool {
	f.m.get(head)
	ok := f.m.splitFolio(c, head)
	f.m.put(head)
	return ok
}

// drop takes the folio at head out of the cache, unsaved, and unmaps it where somebody has mapped it meanwhile.
//
// Linux: mm/truncate.c:truncate_inode_folio(), mm/memory.c:unmap_mapping_folio()
func (f *File) drop(c *CPU, head x86.PFN) error {
	p := &f.m.pages[head]
	f.uncache(head)
	if f.m.mapcount(head) > 0 {
		if err := f.unmapPages(c, p.index, p.index+1<<p.order, zapFileOnly|zapDropMarkers); err != nil {
			return err
		}
	}
	f.left(head)
	return nil
}
