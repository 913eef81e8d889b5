package pgtable

import (
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// bulkTables is how many tables are changed at most while their PMD table is held in bulk: for some microseconds.
const bulkTables = 32

// bulk changes the tables at the begin of r, which lies in PMD table pfn, while that is held in bulk. It returns the
// address where it stopped: at what is no table, or a table whose lock is held, or because others shall have a turn.
func (w *protector) bulk(r Range, pfn x86.PFN) x86.Virt {
	t, tab := w.t, w.t.ram.Table(pfn)
	i, last := r.First.Index(x86.LevelPMD), r.Last.Index(x86.LevelPMD)
	if i >= last || !pointsToTable(x86.LevelPMD, loadEntry(&tab[i+1])) {
		return r.First // one table is not worth it
	}
	m, ok := t.acquireBulk(pfn, r.First)
	if !ok {
		return r.First
	}
	b := bulkChange{protector: w, work: w.g.work.on(w.p), owed: noDebt.Range}
	c, ok := t.below(tab[i])
	for end := min(last, i+bulkTables-1); ok; i++ {
		part := Range{r.First, min(r.Last, r.First|x86.Virt(x86.LevelPMD.Size()-1))}
		r.First = part.Last + 1
		next, more := PTECursor{}, false
		if i < last {
			next, more = t.below(tab[i+1])
		}
		asked := b.table(c, part, (*ptescan.Table)(next.tab))
		if asked || i == end {
			break // others shall have a turn; answers take long
		}
		c, ok = next, more
	}
	if b.owed.First <= b.owed.Last {
		w.g.Range(b.owed, x86.LevelPTE)
	}
	m.releaseBulk()
	return r.First
}

// below returns the PTE table that entry e of a PMD table, held in bulk, points to, and reports whether there is one and
// its lock was free, so that the caller holds it. To wait for the lock might be for ever: its holder may wait for
// another table. To read it takes long where it is not in a cache, but is done while the table before is changed.
func (t *Tree) below(e uint64) (PTECursor, bool) {
	if !pointsToTable(x86.LevelPMD, e) {
		return PTECursor{}, false
	}
	pfn := t.abi.TableFrame(e)
	s := t.state(pfn)
	return PTECursor{t, t.ram.Table(pfn), s, pfn}, atomic.LoadUint32(&s.lock) == free
}

// bulkChange is what changes of several tables in a row come to.
type bulkChange struct {
	*protector
	work *changing
	owed Range // a flush of its pages
}

// table is [Protection.table] for the part r of a table, and reports whether somebody was asked.
func (b *bulkChange) table(c PTECursor, r Range, next *ptescan.Table) bool {
	done := &b.work.r
	b.work.change.Apply((*ptescan.Table)(c.tab), r.First.Index(x86.LevelPTE), r.Last.Index(x86.LevelPTE), nil, next, done)
	if done.Asked|done.Rewritten|b.p.pte.Blank != 0 {
		b.p.settle(c, done)
	}
	b.pages += int64(done.Present + done.Rewritten)
	if done.First <= done.Last {
		at := r.First &^ x86.Virt(x86.LevelPMD.Size()-1)
		b.owed.First = min(b.owed.First, at+x86.Virt(done.First)<<x86.PageShift)
		b.owed.Last = at + x86.Virt(done.Last+1)<<x86.PageShift - 1
	}
	return done.Asked != 0
}
