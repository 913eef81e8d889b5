package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ErrNotMapped: the kernel's tables map nothing at the address.
var ErrNotMapped = errors.New("not mapped")

// ErrNotKernel: the address is not in the kernel's half of the address space.
var ErrNotKernel = errors.New("not a kernel address")

// MemoryError says which address of the kernel could not be read, and why.
type MemoryError struct {
	Addr x86.Virt
	// Err is or wraps [ErrNotKernel], [ErrNotMapped], or what the capture says of the frame: [physmem.ErrAbsent] or
	// [physmem.ErrExcluded].
	Err error
}

func (e *MemoryError) Error() string { return fmt.Sprintf("kernel address %v: %v", e.Addr, e.Err) }

// Unwrap returns the reason.
func (e *MemoryError) Unwrap() error { return e.Err }

// KernelMemory reads the kernel's memory by virtual address. It keeps the frames it read last, at most
// memorySlots of them, so that following pointers costs little. Any number of goroutines may use it at a time.
type KernelMemory struct {
	mem    physmem.Reader
	abi    *x86.ABI
	root   x86.PFN
	direct struct{ start, end x86.Virt } // of the direct map; both 0 if it is not known
	slots  [memorySlots]memorySlot
}

// memorySlots is a power of two: 8 MiB of frames.
const (
	memorySlotBits = 11
	memorySlots    = 1 << memorySlotBits
)

// memorySlot holds one of the frames whose numbers hash to it.
type memorySlot struct {
	mu    sync.Mutex
	valid bool
	pfn   x86.PFN
	frame *physmem.Frame
}

// Memory returns a reader of the kernel's memory: of the direct map by its base, of all else through init_mm's tables
// or, if they were not found, those that [System.Root] chooses. The error is [ErrNoRoot] if there are none.
func (s *System) Memory(mem physmem.Reader) (*KernelMemory, error) {
	m := &KernelMemory{mem: mem, abi: s.ABI}
	if s.InitMM != nil {
		m.root = s.InitMM.Kernel.PFN()
	} else {
		r, err := s.Root(-1)
		if err != nil {
			return nil, err
		}
		m.root = r.Kernel.PFN()
	}
	if l := s.Layout; l.DirectMap.Found {
		m.direct.start, m.direct.end = l.DirectMap.Addr, l.DirectMapEnd
	}
	return m, nil
}

// Phys translates a kernel address. The error is a [*MemoryError].
func (m *KernelMemory) Phys(va x86.Virt) (x86.Phys, error) {
	if va >= m.direct.start && va < m.direct.end {
		return x86.Phys(va - m.direct.start), nil
	}
	pa, err := m.walk(va)
	if err != nil {
		return 0, &MemoryError{va, err}
	}
	return pa, nil
}

// walk looks va up in the tables.
func (m *KernelMemory) walk(va x86.Virt) (x86.Phys, error) {
	p := m.abi.Paging()
	if int64(va) >= 0 || p.SignExtend(va) != va {
		return 0, ErrNotKernel
	}
	pfn := m.root
	for l := p.Root(); ; l-- {
		var b [8]byte
		if err := m.copyFrame(b[:], pfn, uint64(va.Index(l))*uint64(len(b))); err != nil {
			return 0, fmt.Errorf("its %v table: %w", l, err)
		}
		e := entry{level: l, raw: binary.LittleEndian.Uint64(b[:])}
		switch {
		case e.raw&x86.PagePresent == 0, !e.leaf() && e.raw&x86.PagePSE != 0:
			return 0, ErrNotMapped
		case e.leaf():
			return x86.Phys(e.raw&m.abi.FrameMask(l)) + x86.Phys(uint64(va)&(l.Size()-1)), nil
		}
		pfn = m.abi.TableFrame(e.raw)
	}
}

// copyFrame copies a part of a frame, from offset off on. It must not reach beyond the frame.
func (m *KernelMemory) copyFrame(p []byte, pfn x86.PFN, off uint64) error {
	s := &m.slots[uint64(pfn)*0x9e3779b97f4a7c15>>(64-memorySlotBits)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.valid || s.pfn != pfn {
		if s.frame == nil {
			s.frame = new(physmem.Frame)
		}
		s.valid, s.pfn = false, pfn
		if err := m.mem.ReadFrame(pfn, s.frame); err != nil {
			return err
		}
		s.valid = true
	}
	copy(p, s.frame[off:])
	return nil
}

// ReadAt fills p with the memory from va on. The error is a [*MemoryError] that names the first address that cannot be
// read; p holds what comes before it.
func (m *KernelMemory) ReadAt(p []byte, va x86.Virt) error {
	for len(p) > 0 {
		n := min(len(p), int(x86.PageSize-va.Offset()))
		pa, err := m.Phys(va)
		if err != nil {
			return err
		}
		if err := m.copyFrame(p[:n], pa.PFN(), pa.Offset()); err != nil {
			return &MemoryError{va, err}
		}
		p, va = p[n:], va+x86.Virt(n)
	}
	return nil
}

// Uint64 reads eight bytes as the machine does.
func (m *KernelMemory) Uint64(va x86.Virt) (uint64, error) {
	var b [8]byte
	err := m.ReadAt(b[:], va)
	return binary.LittleEndian.Uint64(b[:]), err
}

// Uint32 reads four bytes as the machine does.
func (m *KernelMemory) Uint32(va x86.Virt) (uint32, error) {
	var b [4]byte
	err := m.ReadAt(b[:], va)
	return binary.LittleEndian.Uint32(b[:]), err
}

// CString reads the text at va up to its NUL, or its first limit bytes if there is none in them.
func (m *KernelMemory) CString(va x86.Virt, limit int) (string, error) {
	var out []byte
	var buf [128]byte
	for len(out) < limit {
		b := buf[:min(len(buf), limit-len(out), int(x86.PageSize-va.Offset()))]
		if err := m.ReadAt(b, va); err != nil {
			return string(out), err
		}
		if n := bytes.IndexByte(b, 0); n >= 0 {
			return string(append(out, b[:n]...)), nil
		}
		out, va = append(out, b...), va+x86.Virt(len(b))
	}
	return string(out), nil
}
