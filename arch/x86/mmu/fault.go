package mmu

import (
	"errors"
	"fmt"
	"strings"

	"ptemu/arch/x86"
)

// What a [Fault] is, for errors.Is.
var (
	ErrNonCanonical = errors.New("address not canonical")
	ErrNotPresent   = errors.New("no translation: entry not present")
	ErrReserved     = errors.New("no translation: reserved bit set")
	ErrProtection   = errors.New("access not permitted")
)

var errNoWalk = errors.New("mmu: translation of a zero Walk")

// Vector is the number of an exception.
type Vector uint8

// The exceptions that a translation raises. #SS and #GP have error code 0 here.
const (
	VectorSS Vector = 12
	VectorGP Vector = 13
	VectorPF Vector = 14
)

// String returns "#SS", "#GP" or "#PF".
func (v Vector) String() string {
	switch v {
	case VectorSS:
		return "#SS"
	case VectorGP:
		return "#GP"
	case VectorPF:
		return "#PF"
	}
	return fmt.Sprintf("vector %d", uint8(v))
}

// ErrorCode is the error code of a page fault.
//
// Intel SDM, "Page-Fault Exceptions"; Linux: arch/x86/include/asm/trap_pf.h:enum x86_pf_error_code
type ErrorCode uint32

// Bits of the error code. HLAT, SGX and RMP never occur here.
const (
	CodeP    ErrorCode = 1 << 0 // there is a translation, or a reserved bit stopped it; clear: an entry lacks P
	CodeW    ErrorCode = 1 << 1 // the access was a write
	CodeU    ErrorCode = 1 << 2 // the access was a user-mode access
	CodeRSVD ErrorCode = 1 << 3 // a reserved bit was set
	CodeI    ErrorCode = 1 << 4 // the access was a fetch, and SMEP or NXE is on
	CodePK   ErrorCode = 1 << 5 // the protection key forbids the access
	CodeSS   ErrorCode = 1 << 6 // the access was a shadow-stack access
)

var codeNames = [...]string{"P", "W", "U", "RSVD", "I", "PK", "SS"}

// String returns the names of the set bits joined by "|": "P|W|U"; "0" if none is set.
func (c ErrorCode) String() string {
	var names []string
	for i, name := range codeNames {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "0"
	}
	return strings.Join(names, "|")
}

// Fault is the exception that an access raises.
type Fault struct {
	Vector Vector
	Code   ErrorCode // of a page fault; 0 for #GP and #SS
	VA     x86.Virt  // CR2, of a page fault
	Access Access
	Why    Why
	// Step is the entry that ended the walk, or the leaf of a refused access; zero for #GP and #SS.
	Step Step
}

func (f *Fault) Error() string {
	if f.Vector != VectorPF {
		return fmt.Sprintf("mmu: %v: %v at %v: %v", f.Vector, f.Access, f.VA, f.Why)
	}
	return fmt.Sprintf("mmu: %v(%v): %v at %v: %v: %v entry %#016x at %v",
		f.Vector, f.Code, f.Access, f.VA, f.Why, f.Step.Level, f.Step.Entry, f.Step.Place)
}

// Unwrap returns ErrNonCanonical, ErrNotPresent, ErrReserved or ErrProtection.
func (f *Fault) Unwrap() error {
	switch f.Why {
	case WhyNonCanonical:
		return ErrNonCanonical
	case WhyNotPresent:
		return ErrNotPresent
	case WhyReserved:
		return ErrReserved
	}
	return ErrProtection
}

// TableError says that a walk could not go on because a table could not be read.
type TableError struct {
	VA    x86.Virt
	Level x86.Level // of the entry wanted
	Place x86.Phys  // where that entry would be
	Via   Step      // the entry that names the table; zero if CR3 does
	Err   error     // from the Reader
}

func (e *TableError) Error() string {
	via := "CR3"
	if e.Via.Level != 0 {
		via = fmt.Sprintf("%v entry %#016x at %v", e.Via.Level, e.Via.Entry, e.Via.Place)
	}
	return fmt.Sprintf("mmu: walk of %v: %v entry at %v, via %s: %v", e.VA, e.Level, e.Place, via, e.Err)
}

// Unwrap returns the Reader's error: physmem.ErrAbsent or physmem.ErrExcluded in a physmem.FrameError.
func (e *TableError) Unwrap() error { return e.Err }

// Translate returns the physical address that access a reaches, or the [*Fault] that it raises. If the walk is
// Unreadable the error is a [*TableError].
func (w *Walk) Translate(a Access) (x86.Phys, error) {
	if w.err != nil {
		return 0, w.err
	}
	if why := w.Refusal(a); why != 0 {
		return 0, w.fault(a, why)
	}
	p, ok := w.Phys()
	if !ok {
		return 0, errNoWalk
	}
	return p, nil
}

func (w *Walk) fault(a Access, why Why) *Fault {
	f := &Fault{Vector: VectorPF, VA: w.VA, Access: a, Why: why, Step: w.Last()}
	if why == WhyNonCanonical {
		f.Vector = VectorGP
		if a.Stack {
			f.Vector = VectorSS
		}
		return f
	}
	set := func(cond bool, bit ErrorCode) {
		if cond {
			f.Code |= bit
		}
	}
	regs := &w.mmu.regs
	set(why != WhyNotPresent, CodeP)
	set(a.Kind.writes(), CodeW)
	set(a.UserMode(), CodeU)
	set(why == WhyReserved, CodeRSVD)
	set(a.Kind == Fetch && (regs.CR4&CR4SMEP != 0 || regs.EFER&EFERNXE != 0), CodeI)
	set(why&(WhyPKRU|WhyPKRS) != 0, CodePK)
	set(a.Kind.shadow(), CodeSS)
	return f
}
