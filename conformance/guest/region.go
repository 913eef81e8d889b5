//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	hugeSize = 2 << 20

	regionPages = 64
	regionBase  = 1 << 40
	regionStep  = 1 << 30

	// hugetlbPages is how many pages of 2 MiB the hugetlb regions take together.
	hugetlbPages = 4
)

// region is a mapped range with a name. Ranges of pages are half open: [from, to).
type region struct {
	name string
	addr uintptr
	mem  []byte
}

// mapAt maps length bytes at a fixed address. fd is -1 for anonymous memory.
func mapAt(name string, addr uintptr, length, prot, flags, fd int, offset int64) (*region, error) {
	mem, err := mapFixed(addr, length, prot, flags, fd, offset)
	if err != nil {
		return nil, fmt.Errorf("mmap %#x: %w", addr, err)
	}
	return &region{name: name, addr: addr, mem: mem}, nil
}

func (r *region) pages() int { return len(r.mem) / pageSize }

func (r *region) slice(from, to int) []byte { return r.mem[from*pageSize : to*pageSize] }

// write stores one byte, never zero, in each page.
func (r *region) write(from, to int) {
	for i := from; i < to; i++ {
		r.mem[i*pageSize] = byte(i%255 + 1)
	}
}

// sink keeps the compiler from dropping loads.
var sink byte

// read loads one byte of each page.
func (r *region) read(from, to int) {
	for i := from; i < to; i++ {
		sink += r.mem[i*pageSize]
	}
}

func (r *region) protect(from, to, prot int) error {
	return unix.Mprotect(r.slice(from, to), prot)
}

func (r *region) advise(from, to, advice int) error {
	return unix.Madvise(r.slice(from, to), advice)
}

// pageOut asks for the pages to be swapped out and sees that they are.
func (r *region) pageOut(from, to int) error {
	const tries = 20
	var left int
	for range tries {
		if err := r.advise(from, to, unix.MADV_PAGEOUT); err != nil {
			return err
		}
		words, err := r.pagemap()
		if err != nil {
			return err
		}
		left = 0
		for _, word := range words[from:to] {
			if word&pagemapPresent != 0 {
				left++
			}
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("%d of %d pages not swapped out", left, to-from)
}

// Bits of a pagemap word that this program itself looks at.
const (
	pagemapPresent   = 1 << 63
	pagemapFrameMask = 1<<55 - 1
)

// pagemap reads the region's words from /proc/self/pagemap.
func (r *region) pagemap() ([]uint64, error) {
	file, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw := make([]byte, r.pages()*8)
	if _, err := file.ReadAt(raw, int64(r.addr/pageSize*8)); err != nil {
		return nil, fmt.Errorf("pagemap of %s: %w", r.name, err)
	}
	words := make([]uint64, r.pages())
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[i*8:])
	}
	return words, nil
}

// builder lays the regions out one per gigabyte, so that each has a page table of
// its own at every level below the top two.
type builder struct {
	regions []*region
	notes   io.Writer
	uffds   []int
}

func (b *builder) nextAddr() uintptr {
	return regionBase + uintptr(len(b.regions))*regionStep
}

func (b *builder) add(name string, length, prot, flags, fd int, offset int64) (*region, error) {
	r, err := mapAt(name, b.nextAddr(), length, prot, flags, fd, offset)
	if err == nil {
		b.regions = append(b.regions, r)
	}
	return r, err
}

func (b *builder) find(name string) *region {
	for _, r := range b.regions {
		if r.name == name {
			return r
		}
	}
	return nil
}

const readWrite = unix.PROT_READ | unix.PROT_WRITE

// anon adds a private anonymous region of small pages.
func (b *builder) anon(name string) (*region, error) {
	return b.anonSized(name, regionPages*pageSize, unix.MADV_NOHUGEPAGE)
}

// huge adds a private anonymous region for transparent huge pages.
func (b *builder) huge(name string, hugePages int) (*region, error) {
	return b.anonSized(name, hugePages*hugeSize, unix.MADV_HUGEPAGE)
}

func (b *builder) anonSized(name string, length, advice int) (*region, error) {
	r, err := b.add(name, length, readWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return nil, err
	}
	err = r.advise(0, r.pages(), advice)
	if advice == unix.MADV_NOHUGEPAGE && errors.Is(err, unix.EINVAL) {
		err = nil // a kernel without huge pages (PREEMPT_RT) knows no such advice
	}
	return r, err
}

// written adds a private anonymous region with every page written.
func (b *builder) written(name string) (*region, error) {
	r, err := b.anon(name)
	if err != nil {
		return nil, err
	}
	r.write(0, r.pages())
	return r, nil
}

// file adds a mapping of a new file in the given tmpfs folder, filled with data.
func (b *builder) file(name, dir string, length, prot, flags int) (*region, error) {
	file, err := os.Create(dir + "/" + name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.Truncate(int64(length)); err != nil {
		return nil, err
	}
	return b.add(name, length, prot, flags, int(file.Fd()), 0)
}

// step is one state to build.
type step struct {
	name  string
	build func(b *builder) error
}

func (b *builder) perform(steps []step) {
	for _, s := range steps {
		if err := s.build(b); err != nil {
			fmt.Fprintln(b.notes, "NOTE", s.name, err)
		}
	}
}

// errShort reports a step whose outcome is not the state it wanted.
var errShort = errors.New("kernel gave another state")
