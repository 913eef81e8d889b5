package mm

import (
	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/pgtable"
)

// The processors' caches are those of package mmu: a translation stays until it is flushed, however stale.

// unitKey is what an MMU is made from.
type unitKey struct {
	root x86.PFN
	pkru uint32
}

// unit returns the paging unit for a space and a setting of the protection keys; the same one each time, because what
// the caches know is kept per unit.
func (m *Machine) unit(s *Space, pkru uint32) (*mmu.MMU, error) {
	k := unitKey{s.tree.Root(), pkru}
	if u := m.units[k]; u != nil {
		return u, nil
	}
	r := mmu.LinuxRegs(uint64(k.root.Phys()), int(m.abi.Paging().Levels)).WithPaging(m.abi.Paging())
	r.CR4 |= mmu.CR4PKE | mmu.CR4SMEP | mmu.CR4SMAP
	r.PKRU = pkru
	u, err := mmu.New(r, m.abi.Paging())
	if err == nil {
		m.units[k] = u
	}
	return u, err
}

// tag is the PCID of a space. Every space has one of its own, and all are kept, so that nothing is lost at a switch.
func (s *Space) tag() mmu.Tag { return mmu.Tag(s.id) }

// load makes the core ready for the space.
func (c *CPU) load() error {
	u, err := c.m.unit(c.space, c.pkru)
	if err != nil {
		return err
	}
	if c.core == nil {
		c.core = mmu.NewCore(u, mmu.TLBSize{})
		c.core.BeforeCommit = func(*mmu.Walk) { c.point(PointWalked) }
	}
	c.core.Load(u, c.space.tag(), true)
	return nil
}

// try makes an access once.
func (c *CPU) try(va x86.Virt, k mmu.Kind) (x86.Phys, error) {
	if c.space == nil {
		return 0, &AccessError{va, SegvMapErr}
	}
	return c.core.Access(c.space.tree.Memory(), c.space.tree, va, mmu.Access{Kind: k, User: true})
}

// flush forgets what f covers of a space.
func (c *CPU) flush(s *Space, f pgtable.Flush) {
	switch {
	case c.core == nil:
	case f.All:
		c.core.TLB.FlushTag(s.tag(), false)
	default:
		c.core.TLB.FlushRange(s.tag(), f.First, f.Last, f.Levels, f.FreedTables)
	}
}

// forgetSpace drops all that processors know of a space that is gone.
func (m *Machine) forgetSpace(s *Space) {
	for _, c := range m.cpus {
		if c.core != nil {
			c.core.TLB.FlushTag(s.tag(), true)
		}
	}
	for k := range m.units {
		if k.root == s.tree.Root() {
			delete(m.units, k)
		}
	}
}

// Cached calls f for every translation that a processor has cached for the space.
func (c *CPU) Cached(s *Space, f func(mmu.Cached) bool) {
	if c.core == nil {
		return
	}
	for e := range c.core.TLB.Of(s.tag()) {
		if !f(e) {
			return
		}
	}
}
