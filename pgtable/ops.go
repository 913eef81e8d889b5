package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// HugeFunc is told of a slot in leaf position above the PTEs that an operation meets, and does for it what the
// operation does for PTEs. If it splits the entry, it says so, and the PTEs are done then. No lock is held.
type HugeFunc func(s PMDSlot) (split bool, err error)

// locked is a PTE table that an operation is at: locked, with the slots concerned.
type locked struct {
	PTECursor
	first, last int
	next        *physmem.Table // comes next, or nil
	*scratch
}

// eachPTEs calls f for the PTE tables that r touches. Leaves above the PTEs go to huge; without it, they end the
// operation with ErrHuge.
func (t *Tree) eachPTEs(r Range, huge HugeFunc, f func(c locked) error) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	if (r.First^r.Last)>>x86.LevelPMD.Shift() == 0 && t.checkRange(r) == nil {
		// One table: less to do.
		c, err := t.LockPTEs(r.First, false)
		if err == nil {
			err = f(locked{c, r.First.Index(x86.LevelPTE), r.Last.Index(x86.LevelPTE), nil, s})
			c.Unlock()
			return err
		} else if err == ErrNoTable {
			return nil
		}
	}
	return t.EachPMD(r, false, func(slot PMDSlot) error {
		for {
			c, err := slot.LockPTEs()
			switch {
			case err == nil:
				first, last := slot.Slots()
				err = f(locked{c, first, last, slot.Next(), s})
				c.Unlock()
				return err
			case err == ErrNoTable:
				return nil
			case huge == nil:
				return &AddrError{slot.First, err}
			}
			if split, err := huge(slot); err != nil || !split {
				return err
			}
		}
	})
}
