package mm

import (
	"slices"

	"ptemu/arch/x86"
)

// page returns the page at index, with a reference for the caller: that of the cache, or one that is read in. The error
// is ErrNoMem, ErrIO, or that somebody works on the page who will never end (ErrBusy).
//
// Linux: mm/filemap.c:filemap_get_folio(), filemap_create_folio(), mm/shmem.c:shmem_get_folio()
func (f *File) page(index uint64) (x86.PFN, error) {
	for {
		pfn, ok := f.cache[index]
		if !ok {
			return f.fill(index)
		}
		if f.m.folio(pfn).flags&pgLocked == 0 {
			f.m.get(pfn)
			return pfn, nil
		}
		free := func() bool {
			now := f.cache[index]
			return now != pfn || f.m.folio(pfn).flags&pgLocked == 0
		}
		if !f.m.waitFor(free) {
			return 0, ErrBusy
		}
	}
}

// fill brings the page at index into the cache, and returns it with a reference for the caller.
func (f *File) fill(index uint64) (x86.PFN, error) {
	if was, err := f.swapIn(index); was {
		pfn := f.cache[index]
		if err == nil {
			f.m.get(pfn)
		}
		return pfn, err
	}
	order := f.room(index)
	pfn, err := f.m.alloc(order)
	if err != nil && order > 0 {
		order = 0
		pfn, err = f.m.alloc(0)
	}
	if err != nil {
		return 0, ErrNoMem
	}
	first := index &^ (1<<order - 1)
	for i := range uint64(1) << order {
		if data := f.store[first+i]; data != nil {
			*f.m.content(pfn + x86.PFN(i)) = *data
		}
	}
	f.insert(first, pfn)
	return pfn + x86.PFN(index-first), nil
}

// room returns the order of the folio for page index: the file's, or the largest that neither overlaps what is there
// nor reaches beyond the end of the file.
//
// Linux: mm/readahead.c:page_cache_ra_order(), mm/shmem.c:shmem_suitable_orders()
func (f *File) room(index uint64) uint8 {
	for order := f.order; order > 0; order-- {
		n := uint64(1) << order
		first := index &^ (n - 1)
		if first+n <= f.pages() && f.vacant(first, first+n) {
			return order
		}
	}
	return 0
}

// vacant reports that pages from first up to end are neither in the cache nor in the swap area.
func (f *File) vacant(first, end uint64) bool {
	for i := first; i < end; i++ {
		if _, ok := f.cache[i]; ok {
			return false
		}
		if _, ok := f.swapped[i]; ok {
			return false
		}
	}
	return true
}

// insert puts the folio whose first frame is pfn into the cache, from index on. The cache takes references of its own;
// the caller keeps his.
//
// Linux: mm/filemap.c:__filemap_add_folio(), mm/shmem.c:shmem_add_to_page_cache()
func (f *File) insert(index uint64, pfn x86.PFN) {
	p := &f.m.pages[pfn]
	p.file, p.index = f, index
	if f.shmem {
		p.flags |= pgSwapBacked
	}
	n := uint64(1) << p.order
	p.ref += int32(n)
	for i := range n {
		f.cache[index+i] = pfn + x86.PFN(i)
	}
}

// uncache makes the folio at head unreachable through the cache. Its references stay, for left to give them back.
func (f *File) uncache(head x86.PFN) {
	p := &f.m.pages[head]
	for i := range uint64(1) << p.order {
		delete(f.cache, p.index+i)
	}
}

// left ends what uncache began: the folio belongs to no file. Nothing may map it any more.
//
// Linux: mm/filemap.c:filemap_remove_folio()
func (f *File) left(head x86.PFN) {
	p := &f.m.pages[head]
	p.file = nil
	p.flags &^= pgDirty
	f.m.putN(head, 1<<p.order)
}

// sorted returns the indexes from first up to end at which the cache has a page, ascending.
func (f *File) sorted(first, end uint64) []uint64 {
	var all []uint64
	for i := range f.cache {
		if i >= first && i < end {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	return all
}

// heads returns the folios of the cache that have pages from first up to end, by ascending index.
func (f *File) heads(first, end uint64) []x86.PFN {
	var all []x86.PFN
	for _, i := range f.sorted(first, end) {
		if head := f.m.head(f.cache[i]); len(all) == 0 || all[len(all)-1] != head {
			all = append(all, head)
		}
	}
	return all
}

// has reports that the folio of pfn still is the file's.
func (f *File) has(pfn x86.PFN) bool { return f.m.folio(pfn).file == f }

// ReadAt reads bytes of the file from off on, as read(2) does: through the page cache. It returns how many there are.
//
// Linux: mm/filemap.c:filemap_read()
func (f *File) ReadAt(b []byte, off uint64) (int, error) {
	if off >= f.size {
		return 0, nil
	}
	b = b[:min(uint64(len(b)), f.size-off)]
	return f.eachPage(b, off, func(part []byte, mem []byte, pfn x86.PFN) { copy(part, mem) })
}

// WriteAt writes b to the file from off on, as write(2) does: to the page cache, so that mappings see it at once. The
// file grows as needed. It returns how many bytes were written.
//
// Linux: mm/filemap.c:generic_perform_write()
func (f *File) WriteAt(b []byte, off uint64) (int, error) {
	old := f.size
	f.size = max(f.size, off+uint64(len(b)))
	n, err := f.eachPage(b, off, func(part []byte, mem []byte, pfn x86.PFN) {
		copy(mem, part)
		f.m.folio(pfn).flags |= pgDirty
	})
	if err != nil {
		f.size = max(old, off+uint64(n))
	}
	return n, err
}

// eachPage calls do for the parts of b and of the pages that they belong to.
func (f *File) eachPage(b []byte, off uint64, do func(part, mem []byte, pfn x86.PFN)) (int, error) {
	for at := 0; at < len(b); {
		pos := off + uint64(at)
		pfn, err := f.page(pos / x86.PageSize)
		if err != nil {
			return at, err
		}
		mem := f.m.content(pfn)[pos%x86.PageSize:]
		n := min(len(b)-at, len(mem))
		do(b[at:at+n], mem[:n], pfn)
		f.m.put(pfn)
		at += n
	}
	return len(b), nil
}
