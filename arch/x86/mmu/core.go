package mmu

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ErrStuck says that an access found the tables changed under each of many walks ([ErrStale]). Contention does
// not explain it: a hook that changes them every time does, and so does a table that was freed while the processor
// has it cached, and in which the Setter no longer writes.
var ErrStuck = errors.New("walked too often")

// maxWalks bounds the walks of one access.
const maxWalks = 256

// Core is one processor's way to memory: its paging unit and its TLB. It is for one goroutine at a time.
type Core struct {
	MMU *MMU // the registers as they are now; replaced when they change
	Tag Tag  // under which MMU's translations are cached
	TLB *TLB
	// Spurious makes an access fault when cached entries refuse it, without a look at the tables. Processors may do
	// so after a change that only adds rights. Without it, an access faults only if a walk from the root refuses it.
	Spurious bool
	// BeforeCommit, if not nil, is called after each walk, before it sets A and D: there other processors and the
	// kernel may act. It must not use this Core for an access, but may flush its TLB; then the walk is made again, since
	// a processor finishes a flush before it goes on.
	BeforeCommit func(w *Walk)

	walk Walk // that of the access under way: here it stays off the heap
}

// NewCore returns a processor in the state of m, with an empty TLB and the Tag of m.
func NewCore(m *MMU, size TLBSize) *Core { return &Core{MMU: m, Tag: m.Tag(), TLB: NewTLB(size)} }

// Load loads CR3: from now on m and tag count. Unless keep is set (bit 63 of the operand), what is cached under
// tag is dropped, but for global translations.
func (c *Core) Load(m *MMU, tag Tag, keep bool) {
	c.MMU, c.Tag = m, tag
	if !keep {
		c.TLB.FlushTag(tag, false)
	}
}

// Access makes one access to va and returns the physical address that it reaches. It asks the TLB; if that does not
// do, it walks the tables in mem, from the lowest one that is cached, has set mark A and D, and fills the TLB.
// The error is a [*Fault]; a [*TableError] if a table cannot be read; wraps [ErrStuck]; or is another one of set.
//
// A cached entry that refuses the access is dropped, and the access walks, at last from the root: only if the
// tables refuse as well does it fault. Spurious changes that.
//
// Intel SDM, "Invalidation of TLBs and Paging-Structure Caches", "Optional Invalidation"
func (c *Core) Access(mem physmem.Reader, set Setter, va x86.Virt, a Access) (x86.Phys, error) {
	p, found := c.TLB.Lookup(c.MMU, c.Tag, va, a)
	switch {
	case found == Hit:
		return p, nil
	case found == Refused && c.Spurious:
		return 0, c.fault(c.TLB.find(c.Tag, va).walk(c.MMU, va), a)
	case found != Miss:
		c.TLB.forgetPages(c.Tag, va)
	}
	var err error
	for range maxWalks {
		if p, err = c.try(mem, set, va, a); !errors.Is(err, ErrStale) {
			return p, err
		}
	}
	return 0, fmt.Errorf("mmu: %v at %v: %w (%d times): %w", a, va, ErrStuck, maxWalks, err)
}

// try makes one walk. It returns ErrStale if another is due.
func (c *Core) try(mem physmem.Reader, set Setter, va x86.Virt, a Access) (x86.Phys, error) {
	start, flushes := c.TLB.Start(c.Tag, va), c.TLB.flushes
	c.walk = c.MMU.WalkFrom(mem, va, start)
	w := &c.walk
	if c.BeforeCommit != nil {
		if c.BeforeCommit(w); c.TLB.flushes != flushes {
			return 0, ErrStale
		}
	}
	if err := w.Commit(a, set); err != nil {
		return 0, err
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.Refusal(a) == 0 {
		c.TLB.Fill(c.Tag, w, a)
		p, _ := w.Phys()
		return p, nil
	}
	if start.Level != 0 && !c.Spurious {
		c.TLB.Faulted(c.Tag, va)
		return 0, ErrStale
	}
	return 0, c.fault(*w, a)
}

func (c *Core) fault(w Walk, a Access) error {
	_, err := w.Translate(a)
	c.TLB.Faulted(c.Tag, w.VA)
	return err
}
