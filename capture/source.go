package capture

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/exp/mmap"
)

// source is the file on disk.
type source struct {
	io.ReaderAt
	io.Closer
	size   int64 // as far as the system says, or -1
	mapped bool
}

// openSource maps a regular file into memory, and reads what cannot be mapped.
func openSource(path string) (*source, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := st.Mode(); {
	case mode.IsDir():
		return nil, fmt.Errorf("%s: is a directory", path)
	case mode&(os.ModeNamedPipe|os.ModeSocket) != 0: // opening one may wait forever
		return nil, fmt.Errorf("%s: is a pipe or socket, which cannot be read at an offset", path)
	}
	if st.Mode().IsRegular() && st.Size() > 0 {
		if m, err := openMapping(path, st); err == nil {
			return &source{ReaderAt: m, Closer: m, size: int64(m.m.Len()), mapped: true}, nil
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &source{ReaderAt: f, Closer: f, size: sizeOf(f, st)}, nil
}

// sizeOf returns the size of a file that could not be mapped. Seeking finds that of a block device.
func sizeOf(f *os.File, st os.FileInfo) int64 {
	if st.Mode().IsRegular() {
		return st.Size()
	}
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > 0 {
		return size
	}
	return -1
}

// trustedSize is the size, or -1 where it may not be true: the files of procfs that cannot be mapped (kcore) report
// one that only resembles it.
func (s *source) trustedSize() int64 {
	if s.mapped {
		return s.size
	}
	return -1
}

// mapping reads from memory-mapped pages. Those that the system cannot provide, because the disk fails or someone cut
// the file off, are an error and not the end of the program.
//
// The pages that were read stay mapped, and the system maps their neighbours too, so that a walk over a large
// capture would slowly take it whole into the process. So the file is mapped anew from time to time.
type mapping struct {
	path string
	file os.FileInfo

	mu      sync.RWMutex // held to renew m
	m       *mmap.ReaderAt
	touched atomic.Int64 // bytes that may have been mapped since m is there, at most
	next    atomic.Int64 // where the last read ended
}

const (
	renewAfter  = 12 << 20 // bytes touched
	faultAround = 64 << 10 // what one page fault maps at most
)

func openMapping(path string, file os.FileInfo) (*mapping, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	return &mapping{path: path, file: file, m: m}, nil
}

func (f *mapping) Close() error { return f.m.Close() }

func (f *mapping) ReadAt(p []byte, off int64) (int, error) {
	touched := int64(len(p))
	if f.next.Swap(off+int64(len(p))) != off {
		touched += faultAround
	}
	n, err := f.read(p, off)
	if f.touched.Add(touched) > renewAfter {
		f.renew()
	}
	return n, err
}

func (f *mapping) read(p []byte, off int64) (n int, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if off >= int64(f.m.Len()) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch e := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // of a memory fault
			n, err = 0, fmt.Errorf("reading the mapped file at offset %#x: memory fault", off)
		default:
			panic(e)
		}
	}()
	return f.m.ReadAt(p, off)
}

// renew maps the file anew, if it still is the same; if not, the old mapping goes on.
func (f *mapping) renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.touched.Load() <= renewAfter {
		return // another reader did it
	}
	f.touched.Store(0)
	now, err := os.Stat(f.path)
	if err != nil || !os.SameFile(f.file, now) || now.Size() != int64(f.m.Len()) {
		return
	}
	m, err := mmap.Open(f.path)
	if err != nil {
		return
	}
	if m.Len() != f.m.Len() {
		m.Close()
		return
	}
	f.m.Close()
	f.m = m
}
