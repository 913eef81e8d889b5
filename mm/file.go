package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// File is what an area maps: a file with a page cache, or shared memory. Whoever maps it, reads it or writes it meets
// the same pages, those of the cache.
//
// Linux: include/linux/fs.h:struct address_space
type File struct {
	m         *Machine
	name      string
	size      uint64 // bytes
	shmem     bool   // tmpfs, memfd, shared anonymous memory
	anon      bool   // shared anonymous memory: shmem without a name (vma_is_anon_shmem)
	mkWrite   bool   // the file system has page_mkwrite: every first write is to be noticed
	writeback bool   // pages are written back
	order     uint8  // of the folios that pages come in, where there is room
	open      bool   // somebody has a handle; else the file is gone when nobody maps it
	cache     map[uint64]x86.PFN
	store     map[uint64]*physmem.Frame // on the disk: pages that are not there are zeros
	swapped   map[uint64]uint64         // shared memory: slots in the swap area
}

// FileArgs say what a file is like.
type FileArgs struct {
	Name string
	Size uint64 // bytes
	// Shmem: a file of tmpfs, or a memfd. Its pages are nowhere else but in memory or in the swap area.
	Shmem bool
	// MkWrite: the file system wants to hear of the first write to each clean page (ext4, xfs, btrfs).
	MkWrite bool
	// Writeback: dirty pages are written to a disk, and cleaned by that. A file with neither of the three is one of
	// ramfs.
	Writeback bool
	// Order is that of the folios that pages come in, where the file and the cache have room: 0 to 9 (huge pages).
	Order uint8
}

// NewFile makes a file, all zeros, and opens it.
func (m *Machine) NewFile(a FileArgs) (*File, error) {
	if a.Shmem && (a.MkWrite || a.Writeback) || a.Order > hugeOrder {
		return nil, fmt.Errorf("mm: file %q: %w", a.Name, ErrInval)
	}
	f := m.newShmem(a.Name, a.Size)
	f.size, f.shmem, f.anon, f.open = a.Size, a.Shmem, false, true
	f.mkWrite, f.writeback, f.order = a.MkWrite, a.Writeback, a.Order
	return f, nil
}

// MemFD makes a memfd of zeros, and opens it.
//
// Linux: mm/memfd.c:memfd_create()
func (m *Machine) MemFD(name string, size uint64) *File {
	f := m.newShmem(name, size)
	f.size, f.anon, f.open = size, false, true
	return f
}

// newShmem makes the file behind a shared anonymous mapping.
//
// Linux: mm/shmem.c:shmem_zero_setup()
func (m *Machine) newShmem(name string, size uint64) *File {
	f := &File{
		m: m, name: name, size: roundUp(size), shmem: true, anon: true,
		cache: map[uint64]x86.PFN{}, store: map[uint64]*physmem.Frame{}, swapped: map[uint64]uint64{},
	}
	if m.Policy.MTHP {
		f.order = m.cfg.ShmemOrder
	}
	m.files = append(m.files, f)
	return f
}

// Name returns the name.
func (f *File) Name() string { return f.name }

// Size returns the size in bytes.
func (f *File) Size() uint64 { return f.size }

// pages returns the number of pages that the size makes: accesses beyond raise SIGBUS.
func (f *File) pages() uint64 { return roundUp(f.size) / x86.PageSize }

// Cached returns the frame of page index, if the page cache has it.
func (f *File) Cached(index uint64) (x86.PFN, bool) {
	pfn, ok := f.cache[index]
	return pfn, ok
}

// Close gives the handle back. The file is gone when nobody maps it any more, with all it contains.
func (f *File) Close() {
	f.open = false
	f.m.releaseFiles()
}

// releaseFiles ends the files that nobody has open or maps. Linux: fs/inode.c:iput_final(), evict()
func (m *Machine) releaseFiles() {
	kept := m.files[:0]
	for _, f := range m.files {
		if f.open || f.mapped() {
			kept = append(kept, f)
			continue
		}
		f.evict()
	}
	clear(m.files[len(kept):])
	m.files = kept
}

// mapped reports that an area of some space maps the file.
func (f *File) mapped() bool {
	for _, s := range f.m.spaces {
		for _, v := range s.vmas {
			if v.file == f {
				return true
			}
		}
	}
	return false
}

// evict empties the cache of a file that nothing maps. Linux: mm/truncate.c:truncate_inode_pages_final()
func (f *File) evict() {
	for _, index := range f.sorted(0, ^uint64(0)) {
		if pfn, ok := f.cache[index]; ok {
			head := f.m.head(pfn)
			f.uncache(head)
			f.left(head)
		}
	}
	for index := range f.swapped {
		f.dropSwapped(index)
	}
	clear(f.store)
}
