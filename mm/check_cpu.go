package mm

import (
	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// caches checks that no processor has cached more than the tables say. What may be narrower is not looked at.
func (c *checker) caches() {
	for _, s := range c.m.spaces {
		if s.flushPending() || s.batched {
			continue
		}
		c.s = s
		for _, p := range c.m.cpus {
			if p.core == nil {
				continue
			}
			u, err := c.m.unit(s, p.pkru)
			if err != nil {
				c.at(0, 0, "no paging unit: %v", err)
				return
			}
			c.cached(p, u)
			c.cachedTables(p, u)
		}
	}
	c.s = nil
}

func (c *checker) cached(p *CPU, u *mmu.MMU) {
	p.Cached(c.s, func(e mmu.Cached) bool {
		if stale := c.stale(u, e); stale != 0 {
			c.at(e.VA, e.Leaf.Entry, "CPU %d has cached a translation that the tables do not give any more (%v), and no flush is owed", p.id, stale)
		}
		return true
	})
}

// stale compares a cached translation with the tables. That a read-only dirty page was one of a shadow stack, as the
// processor sees it, does not matter: shadow stacks are off.
func (c *checker) stale(u *mmu.MMU, e mmu.Cached) (all mmu.Stale) {
	mem := c.s.tree.Memory()
	for offset := uint64(0); offset < e.Size() && all == 0; {
		w := u.Walk(mem, e.VA+x86.Virt(offset))
		s := e.Compare(&w)
		if had, have := e.Rights, w.Rights(); s&mmu.StaleRights != 0 && had.U == have.U && (have.W || !had.W) && (have.X || !had.X) {
			s &^= mmu.StaleRights
		}
		all |= s
		offset += min(e.Size(), max(w.Last().Level.Size(), x86.PageSize))
	}
	return all
}

// cachedTables checks the paging-structure caches: a table that was freed must not be known.
func (c *checker) cachedTables(p *CPU, u *mmu.MMU) {
	mem, tag := c.s.tree.Memory(), c.s.tag()
	p.core.TLB.EachTable(func(t mmu.CachedTable) bool {
		if t.Tag != tag || t.Level == 0 {
			return true
		}
		w := u.Walk(mem, t.VA)
		for _, step := range w.Steps() {
			if step.Level == t.Level && (step.Entry^t.Entry)&^x86.PageAccessed == 0 {
				return true
			}
		}
		c.at(t.VA, t.Entry, "CPU %d has cached a table that the tables do not lead to any more", p.id)
		return true
	})
}
