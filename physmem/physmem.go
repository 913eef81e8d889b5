// Package physmem is physical memory as frames of 4 KiB: what page tables live in.
//
// Two things are memory here. A capture is read-only: a file holds some of the frames of a machine, and knows of
// others that they exist but were left out. The emulator's [RAM] is written too. Both are a [Reader], so one walker
// serves both.
//
// What must always hold: a frame that is not there is an error that says why, never zeros.
package physmem

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Why a frame cannot be read. Readers wrap these in a [FrameError].
var (
	// ErrAbsent: no memory is known at this address (outside RAM, or outside the capture).
	ErrAbsent = errors.New("not in capture")
	// ErrExcluded: the machine had the frame, the capture was made without it (makedumpfile -d).
	ErrExcluded = errors.New("excluded from capture")
)

// FrameError says which frame could not be read, and why.
type FrameError struct {
	PFN x86.PFN
	Err error
}

func (e *FrameError) Error() string { return fmt.Sprintf("frame %#x: %v", uint64(e.PFN), e.Err) }

// Unwrap returns the reason, for errors.Is and errors.As.
func (e *FrameError) Unwrap() error { return e.Err }

// Frame is the content of one 4 KiB frame.
type Frame [x86.PageSize]byte

// Table is one page table: 512 entries in the machine's own (little-endian) order, decoded to integers.
type Table [x86.EntriesPerTable]uint64

// Range is physical memory from Start up to, not including, End, in bytes.
type Range struct{ Start, End x86.Phys }

// Len returns the size of the range in bytes.
func (r Range) Len() uint64 { return uint64(r.End - r.Start) }

// Contains reports whether p lies in the range.
func (r Range) Contains(p x86.Phys) bool { return p >= r.Start && p < r.End }

// Reader is physical memory that can be read, from any number of goroutines at a time.
type Reader interface {
	// ReadFrame fills dst with frame pfn, or returns a [*FrameError] and leaves dst undefined.
	ReadFrame(pfn x86.PFN, dst *Frame) error
	// Ranges returns the memory that the machine had, ascending, disjoint, adjacent ranges joined. Frames in
	// it may still be excluded. The caller must not change the slice.
	Ranges() []Range
}
