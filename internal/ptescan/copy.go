package ptescan

import "ptemu/arch/x86"

// Copy is the copying of page tables at fork, ready for the kernels. Like a [Change] it belongs to one goroutine.
type Copy struct {
	Change
	childKeep uint64
	stream    uint64 // 1: write the child past the caches
}

// NewCopy prepares a copy. With stream, the child's tables are written past the caches: right where parent and
// children do not fit into them.
func NewCopy(p x86.PTECopy, stream bool) Copy {
	c := Copy{Change: NewChange(p.PTEChange, nil, Exclusive{}), childKeep: p.ChildKeep}
	if stream {
		c.stream = 1
	}
	return c
}

// Copied says what was copied.
type Copied struct {
	Pages  Bitmap // entries copied
	Others Bitmap // entries that are neither page nor empty: left to the caller, here and in the child
}

// Apply copies the pages first to last of t to child, whose entries of that range must be zero, and changes them in t
// as they must be changed. Both tables must be locked.
func (c *Copy) Apply(t, child *Table, first, last int, r *Copied) {
	_, _, _ = t[first], t[last], child[first]
	if first > last {
		*r = Copied{}
		return
	}
	annotateWrite(t, first, last)
	annotateWrite(child, first, last)
	switch c.level {
	case AVX512:
		copyAVX512(t, child, uint64(first), uint64(last), c, r)
	case AVX2:
		copyAVX2(t, child, uint64(first), uint64(last), c, r)
	default:
		c.applyGeneric(t, child, first, last, r)
	}
}

func (c *Copy) applyGeneric(t, child *Table, first, last int, r *Copied) {
	*r = Copied{}
	for i := first; i <= last; i++ {
		old := t[i]
		switch {
		case old&c.pte.Exists != 0:
			v := c.pte.Apply(old)
			if v != old {
				t[i] = v
			}
			child[i] = v & c.childKeep
			r.Pages.Set(i)
		case old&c.filled != 0:
			r.Others.Set(i)
		}
	}
}
