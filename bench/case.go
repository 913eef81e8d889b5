package bench

import (
	"fmt"
	"time"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// Case is one thing to measure. Its variants do the same to equal tables.
type Case struct {
	Name string
	// Floor is what Row.RatioFloor compares with: the name of the bare pass over the same tables.
	Floor FloorKind
	// First says that only pass 0 is timed, since pass 1 merely undoes it. Otherwise the time is that of both.
	First bool
	// Wall says that wall time counts, for more than one thread; else it is the processor time of one.
	Wall bool
	// Shuffled says that the case is worth measuring also where the frames of tables lie in random order.
	Shuffled bool
	// PagesPerOp is the number of pages of one operation, where the time of an operation is of interest; else 0.
	PagesPerOp int
	// Breaks is the number of entries from one break of a run to the next, where that is of interest; else 0.
	Breaks int
	// MaxBytes bounds the tables that the case is run on; 0 does not.
	MaxBytes uint64

	fill fill
	make func(s *Set) ([]Variant, error)
}

// Kind says what a variant is.
type Kind string

// The kinds of variants.
const (
	Ours   Kind = "ours"   // at Variant.Level
	Floor  Kind = "floor"  // the bare reads and writes, with the best code for them
	Scalar Kind = "scalar" // a plain Go loop over the entries
	Locked Kind = "locked" // one entry at a time through the public API: lock from the root, change, unlock
	Kernel Kind = "kernel" // the kernel that runs here, on pages of its own
	// KernelZero is the kernel on the zero page, which has less to look after: more entries than there is memory for.
	KernelZero Kind = "kernel zero page"
)

// Variant is one way to do a case.
type Variant struct {
	Name  string
	Kind  Kind
	Level ptescan.Level // for Ours
	PTEs  int           // entries that one pass is about: what its time is divided by
	Note  string        // what a reader of the figure must know
	Skip  string        // why it cannot run; Pass is nil then

	// Pass does it (0), or undoes it (1), and returns how many entries count.
	Pass func(odd int) (count int64, err error)
	// Close ends the use of what only this variant needs; it may be nil.
	Close func() error
	// begin, unless nil, makes passes possible until end is called.
	begin func() (end func())
	// clock replaces the clock of the case: for what another process does.
	clock func() time.Duration
}

// skipped is a variant that cannot run.
func skipped(name string, kind Kind, why string) Variant {
	return Variant{Name: name, Kind: kind, Skip: why}
}

// Order says where the frames of the PTE tables lie.
type Order string

// The orders of frames.
const (
	Contiguous Order = "contiguous"
	Shuffled   Order = "shuffled"
)

// Sizes returns the sizes of the set: bytes of PTE tables.
func Sizes() []uint64 { return []uint64{256 << 10, 8 << 20, 128 << 20, 1 << 30} }

// SizeName returns a size of tables in words.
func SizeName(bytes uint64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%dGiB", bytes>>30)
	case bytes >= 1<<20:
		return fmt.Sprintf("%dMiB", bytes>>20)
	}
	return fmt.Sprintf("%dKiB", bytes>>10)
}

// Orders returns the orders that the case is measured in.
func (c *Case) Orders() []Order {
	if c.Shuffled {
		return []Order{Contiguous, Shuffled}
	}
	return []Order{Contiguous}
}

// Fits reports whether the case is meant for tables of this size.
func (c *Case) Fits(bytes uint64) bool { return c.MaxBytes == 0 || bytes <= c.MaxBytes }

// Prepare fills the tables of s for the case and returns its variants. They share the tables: each leaves them as it
// found them after pass 1. Close must be called for each.
func (c *Case) Prepare(s *Set) ([]Variant, error) {
	s.Fill(c.fill)
	return c.make(s)
}

// Levels returns the levels that kernels can run at here, best first.
func Levels() (all []ptescan.Level) {
	for l := ptescan.AVX512; ; l-- {
		restore := ptescan.Use(l)
		if ptescan.CPULevel() == l {
			all = append(all, l)
		}
		restore()
		if l == ptescan.Generic {
			return all
		}
	}
}

// atLevels makes a variant of Ours for every level.
func atLevels(s *Set, make func() (func(odd int) (int64, error), error)) ([]Variant, error) {
	var all []Variant
	for _, l := range Levels() {
		restore := ptescan.Use(l)
		pass, err := make()
		restore()
		if err != nil {
			return nil, err
		}
		all = append(all, Variant{Name: l.String(), Kind: Ours, Level: l, PTEs: s.PTEs(), Pass: pass})
	}
	return all, nil
}

// done closes all variants.
func done(all []Variant) error {
	for _, v := range all {
		if v.Close != nil {
			if err := v.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// The protections of the tables.
const (
	rw = x86.ProtShared
	ro = x86.ProtReadonly
)
