package tree

import (
	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/linux"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// Tree is one tree of page tables with everything that decides how its entries are read. The fields do not
// change during a walk; several walks of one tree may run at a time.
type Tree struct {
	Mem    physmem.Reader
	ABI    *x86.ABI
	Layout *swapentry.Layout // made from ABI
	Root   x86.Phys          // of the root table

	// Capture and System are where the rest came from; a tree made by hand has none.
	Capture *capture.Capture
	System  *linux.System
}

// Close closes the capture.
func (s *Tree) Close() error {
	if s.Capture == nil {
		return nil
	}
	return s.Capture.Close()
}

// At returns the tree below another root of the same memory.
func (s *Tree) At(root x86.Phys) *Tree {
	other := *s
	other.Root = root
	return &other
}

// UserHalf is the filter of everything that processes map.
func (s *Tree) UserHalf() Filter {
	return Filter{First: 0, Last: s.ABI.Paging().KernelHalf() - 1}
}
