package mm

import "ptemu/arch/x86"

// reclaimFile takes the folio, which nobody maps any more, out of the page cache. Shared memory goes to swap slots, which
// the file remembers in place of the pages. Pages of a disk are dropped if they are clean: to write them is not the
// business of reclaim. Others have nowhere to go.
//
// Linux: mm/shmem.c:shmem_writepage(), mm/vmscan.c:__remove_mapping()
func (m *Machine) reclaimFile(b *flushBatch, head x86.PFN) {
	f := &m.pages[head]
	file := f.file
	n := uint64(1) << f.order
	b.flush()
	switch {
	case f.ref != 1+int32(n):
		return
	case !file.shmem:
		if f.flags&pgDirty != 0 || !file.writeback && !file.mkWrite {
			return
		}
	case f.flags&pgDirty == 0: // never written: it is forgotten, as zeros come back anyway
	default:
		slot, ok := m.swap.alloc(n)
		if !ok {
			return
		}
		for i := range n {
			m.swap.take(slot + i)
			m.swap.write(slot+i, m.content(head+x86.PFN(i)))
			file.swapped[f.index+i] = slot + i
		}
	}
	file.uncache(head)
	file.left(head)
}

// swapIn brings page index of shared memory back from the slot where it is, and reports whether it was in one. The page
// is in the page cache then, which has the only reference. The error is ErrNoMem, or ErrIO for a slot that cannot be read.
//
// Linux: mm/shmem.c:shmem_swapin_folio()
func (f *File) swapIn(index uint64) (bool, error) {
	slot, ok := f.swapped[index]
	if !ok {
		return false, nil
	}
	m := f.m
	pfn, err := m.swap.readSlot(slot, true)
	if err != nil {
		return true, err
	}
	p := &m.pages[pfn]
	p.flags |= pgSwapBacked | pgDirty
	p.file, p.index = f, index
	f.cache[index] = pfn
	f.dropSwapped(index)
	return true, nil
}

// dropSwapped forgets the slot of page index, if it is in one: it was truncated, or is in memory again.
//
// Linux: mm/shmem.c:shmem_free_swap()
func (f *File) dropSwapped(index uint64) {
	if slot, ok := f.swapped[index]; ok {
		delete(f.swapped, index)
		f.m.swap.release(slot)
	}
}
