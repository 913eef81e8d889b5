package physmem

import (
	"unsafe"

	"ptemu/arch/x86"
)

const (
	hugeSize  = BlockFrames * x86.PageSize
	lineSize  = uint64(unsafe.Sizeof(Line{}))
	blockSize = uint64(unsafe.Sizeof(block{}))
	linkSize  = uint64(unsafe.Sizeof(uint16(0)))
)

// reserve makes the arrays with one element for each frame.
func (r *RAM) reserve(frames uint64) error {
	content, err := r.arena(frames*x86.PageSize, true)
	if err != nil {
		return err
	}
	lines, err := r.arena(frames*lineSize, false)
	if err != nil {
		return err
	}
	links, err := r.arena(frames*linkSize, false)
	if err != nil {
		return err
	}
	// SAFETY: each arena has the size just asked for and is aligned to 2 MiB; none of the elements holds pointers.
	r.frames = unsafe.Slice((*Frame)(unsafe.Pointer(unsafe.SliceData(content))), frames)
	r.lines = unsafe.Slice((*Line)(unsafe.Pointer(unsafe.SliceData(lines))), frames)
	r.link = unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(links))), frames)
	return nil
}

// arena reserves size bytes of zeros, aligned to 2 MiB, and notes them for Close.
func (r *RAM) arena(size uint64, huge bool) ([]byte, error) {
	a, err := newArena(size+hugeSize, huge)
	if err != nil {
		return nil, err
	}
	r.arenas = append(r.arenas, a)
	// SAFETY: the address is only looked at for its alignment.
	skip := -uint64(uintptr(unsafe.Pointer(unsafe.SliceData(a)))) % hugeSize
	return a[skip : skip+size], nil
}

// Table returns frame pfn itself as a page table, in the host's byte order. It panics outside the memory.
func (r *RAM) Table(pfn x86.PFN) *Table {
	// SAFETY: Frame and Table are both 4096 bytes, and frames are aligned to their size.
	return (*Table)(unsafe.Pointer(&r.frames[pfn-r.base]))
}

func (f *Frame) toLittleEndian() {
	// SAFETY: Frame and Table are both 4096 bytes; only hosts with the other byte order look at the entries, and
	// those that keep a machine word aligned to less than 8 bytes do not exist.
	(*Table)(unsafe.Pointer(f)).fromLittleEndian()
}
