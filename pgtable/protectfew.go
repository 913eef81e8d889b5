package pgtable

import "ptemu/arch/x86"

// fewPages is how many pages at most are changed without a vector kernel, whose start takes as long.
const fewPages = 8

// few is a change of pages without the vector kernels, for a range in one table. It knows no answers: what depends on
// more than the bits of a page is left to them.
type few struct {
	below    x86.Virt // a range must end less than this above its first address: 0 if nothing can be done here
	deciding uint64   // bits of a page that decide about it or change: where these agree, the same bits flip
}

// newFew works out for which ranges the change can be done here.
func (p *Protection) newFew() few {
	c := &p.pte
	f := few{below: fewPages * x86.PageSize}
	switch {
	case p.hints, c.Blank != 0, (c.FlushChanged|c.FlushCleared)&c.Invert != 0:
		f.below = 0
	case p.batches:
		f.below = x86.PageSize // one page is a batch of its own
	}
	f.deciding = c.Exists | c.Select | c.Valid | ^c.Keep | c.Set | c.MoveMask | c.MoveFrom | c.MoveTo
	if c.Upgrade != x86.UpgradeNone {
		f.deciding |= c.WritableMask | c.WritableAny
	}
	return f
}

// fits reports that r consists of few whole pages in one table.
func (f *few) fits(r Range) bool {
	return r.Last-r.First < f.below && (r.First|(r.Last+1))%x86.PageSize == 0 && (r.First^r.Last)>>x86.LevelPMD.Shift() == 0
}

// changeFew changes r, which fits, if a table is there. Otherwise it reports that the change is still to be done.
func (p *Protection) changeFew(t *Tree, g *Gather, r Range) (pages int64, done bool) {
	c, err := t.LockPTEs(r.First, false)
	if err != nil {
		return 0, err == ErrNoTable && !p.populate
	}
	first, last := r.First.Index(x86.LevelPTE), r.Last.Index(x86.LevelPTE)
	rest := p.alike(g, c, first, last)
	pages = int64(rest - first)
	if rest <= last {
		pages += p.table(g, c, rest, last, nil)
	}
	c.Unlock()
	return pages, true
}

// alike changes slots first to last, up to the first one of which it knows too little. It returns that one, or last+1.
func (p *Protection) alike(g *Gather, c PTECursor, first, last int) int {
	slots := c.tab[first : last+1]
	from, to := len(slots), -1 // owed to the processors
	for i := 0; i < len(slots); {
		ref := slots[i]
		v := p.pte.Apply(ref)
		if ref&p.pte.Select == 0 || p.pte.Writable(v) {
			last = first + i - 1
			break
		}
		n := flipAlike(slots[i:], p.few.deciding, ref^v)
		if p.pte.NeedsFlush(ref, v) {
			from, to = min(from, i), i+n-1
		}
		i += n
	}
	if from <= to {
		g.PTEs(c, first+from, first+to)
	}
	return last + 1
}

// flipAlike flips bits of the entries that agree with the first in the deciding bits, up to one that does not. It
// returns how many they are.
func flipAlike(slots []uint64, deciding, flip uint64) int {
	ref := slots[0]
	for i, e := range slots {
		if (e^ref)&deciding != 0 {
			return i
		}
		if flip != 0 {
			slots[i] = e ^ flip
		}
	}
	return len(slots)
}
