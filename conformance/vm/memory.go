//go:build linux && amd64

package vm

import (
	"errors"
	"os"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/physmem"

	"golang.org/x/sys/unix"
)

// memory is the guest's RAM: a file for each node, one after the other from address 0. There is too little of it to
// reach the hole below 4 GiB.
type memory struct {
	nodes [][]byte
}

func (r *memory) open(paths ...string) error {
	for _, path := range paths {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err != nil {
			file.Close()
			return err
		}
		mem, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		file.Close()
		if err != nil {
			return err
		}
		r.nodes = append(r.nodes, mem)
	}
	return nil
}

func (r *memory) close() error {
	var errs []error
	for _, n := range r.nodes {
		errs = append(errs, unix.Munmap(n))
	}
	r.nodes = nil
	return errors.Join(errs...)
}

// frame returns a frame where it lies, nil if there is none, and its node.
func (r *memory) frame(pfn x86.PFN) ([]byte, int) {
	at := uint64(pfn) * x86.PageSize
	for i, n := range r.nodes {
		if at < uint64(len(n)) {
			return n[at:][:x86.PageSize], i
		}
		at -= uint64(len(n))
	}
	return nil, 0
}

// ReadFrame implements [physmem.Reader].
func (m *Machine) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	f, _ := m.ram.frame(pfn)
	if f == nil {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	copy(dst[:], f)
	return nil
}

// Ranges implements [physmem.Reader].
func (m *Machine) Ranges() []physmem.Range {
	var end x86.Phys
	for _, n := range m.ram.nodes {
		end += x86.Phys(len(n))
	}
	return []physmem.Range{{End: end}}
}

// Node returns the NUMA node of a frame.
func (m *Machine) Node(pfn x86.PFN) int {
	_, n := m.ram.frame(pfn)
	return n
}

// Frame returns the frame where it lies in the guest's memory, nil if there is none.
func (m *Machine) Frame(pfn x86.PFN) []byte {
	f, _ := m.ram.frame(pfn)
	return f
}

// Text returns the first n bytes of the agent's long answer.
func (m *Machine) Text(n int) []byte {
	var text []byte
	for _, pfn := range m.block[wire.Slots*wire.SlotPages:] {
		if len(text) >= n {
			break
		}
		text = append(text, m.Frame(pfn)...)
	}
	return text[:min(n, len(text))]
}

// BlockFrame returns the frame of a page of the agent's block.
func (m *Machine) BlockFrame(i int) x86.PFN { return m.block[i] }
