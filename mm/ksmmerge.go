package mm

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// KSMMerge looks at places in their order, as ksmd does in one pass over stable memory, and merges pages with equal
// contents: with a KSM page that exists, or two with each other. It returns how many entries map another page now. Only
// small anonymous pages of VMMergeable areas are taken, and none that somebody else holds. An address without an area is
// an error.
//
// Linux: mm/ksm.c:cmp_and_merge_page()
func (m *Machine) KSMMerge(c *CPU, places ...Place) (int, error) { return m.ksmPass(c, places, false) }

// KSMMergeZero is [Machine.KSMMerge] for a kernel whose KSM merges pages of zeros with the zero page.
//
// Linux: /sys/kernel/mm/ksm/use_zero_pages
func (m *Machine) KSMMergeZero(c *CPU, places ...Place) (int, error) {
	return m.ksmPass(c, places, true)
}

func (m *Machine) ksmPass(c *CPU, places []Place, zero bool) (n int, err error) {
	k := merger{m: m, c: c, zero: zero}
	for pfn := range m.pages {
		if m.pages[pfn].ksm != nil {
			k.stable = append(k.stable, x86.PFN(pfn))
		}
	}
	for _, p := range places {
		p.VA = pageOf(p.VA)
		if p.VMA = p.Space.VMA(p.VA); p.VMA == nil {
			return n, &CallError{"ksm", p.VA, ErrFault}
		}
		p.Space.readLock()
		n += k.scan(p)
		p.Space.readUnlock()
	}
	return n, nil
}

// merger is one pass of ksmd.
type merger struct {
	m        *Machine
	c        *CPU
	zero     bool
	stable   []x86.PFN // KSM pages
	unstable []Place   // looked at, and merged with nothing yet
}

// scan looks at one page, and returns how many entries it has changed to another page.
func (k *merger) scan(p Place) int {
	m := k.m
	pfn, ok := k.page(p)
	if !ok || m.pages[pfn].flags&pgKSM != 0 {
		return 0
	}
	m.get(pfn)
	defer m.put(pfn)
	for _, s := range k.stable {
		if m.pages[s].ksm != nil && *m.content(s) == *m.content(pfn) {
			return count(m.mergeWith(p, pfn, s))
		}
	}
	if k.zero && *m.content(pfn) == (physmem.Frame{}) {
		return count(m.mergeWith(p, pfn, m.zero))
	}
	for i, o := range k.unstable {
		other, ok := k.page(o)
		if !ok || other == pfn || m.pages[other].flags&pgKSM != 0 || *m.content(other) != *m.content(pfn) {
			continue
		}
		n := k.mergeTwo(p, pfn, o, other)
		if n > 0 {
			k.unstable = append(k.unstable[:i], k.unstable[i+1:]...)
		}
		return n
	}
	k.unstable = append(k.unstable, p)
	return 0
}

func count(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

// page returns the page at p if ksmd takes it. A large folio is split first.
func (k *merger) page(p Place) (x86.PFN, bool) {
	m := k.m
	if v := p.Space.VMA(p.VA); p.Space.exited || v == nil || v != p.VMA || v.flags&VMMergeable == 0 || v.anon == nil {
		return 0, false
	}
	pfn, ok := p.Space.presentPage(p.VA)
	if !ok || !m.anonPage(pfn) {
		return 0, false
	}
	if head := m.head(pfn); m.pages[head].order > 0 {
		m.get(head)
		ok = m.splitFolio(k.c, head)
		m.put(head)
		if ok { // the zero page may have taken its place
			pfn, ok = p.Space.presentPage(p.VA)
			ok = ok && m.anonPage(pfn)
		}
	}
	return pfn, ok
}

// presentPage returns the page that is mapped at va, also as part of a huge page.
func (s *Space) presentPage(va x86.Virt) (x86.PFN, bool) {
	if d, huge := s.hugePMD(va); huge {
		head, ok := s.m.normalPMD(d)
		return head + x86.PFN(va.Index(x86.LevelPTE)), ok
	}
	return s.m.normal(s.pte(va))
}

// mergeTwo makes pfn, mapped at p, a KSM page, and maps it at o in place of other.
//
// Linux: mm/ksm.c:try_to_merge_two_pages()
func (k *merger) mergeTwo(p Place, pfn x86.PFN, o Place, other x86.PFN) int {
	m := k.m
	if _, ok := m.ksmProtect(p, pfn); !ok {
		return 0
	}
	f := &m.pages[pfn]
	f.flags |= pgKSM | pgDirty
	f.anon, f.index = nil, 0
	f.ksm = &ksmNode{pfn: pfn, items: []ksmItem{{p.Space, p.VMA.anon, p.VA}}}
	m.get(other)
	defer m.put(other)
	if !m.mergeWith(o, other, pfn) {
		// A KSM page with one user is of no use: the fault copies it.
		_ = p.Space.breakKSM(k.c, p.VMA, p.VA)
		return 0
	}
	k.stable = append(k.stable, pfn)
	return 1
}

// mergeWith maps page to, a KSM page or the zero page of the same content, at p in place of page pfn, to which the
// caller has a reference.
//
// Linux: mm/ksm.c:try_to_merge_one_page()
func (m *Machine) mergeWith(p Place, pfn, to x86.PFN) bool {
	e, ok := m.ksmProtect(p, pfn)
	if !ok || *m.content(pfn) != *m.content(to) || !m.ksmReplace(p, e, pfn, to) {
		return false
	}
	if n := m.pages[to].ksm; n != nil {
		n.items = append(n.items, ksmItem{p.Space, p.VMA.anon, p.VA})
	}
	return true
}

// ksmProtect makes the entry at p, which maps page pfn, read-only and clean, and the page not exclusive, so that its
// content stays as it is. False: somebody else holds the page and may write it.
//
// Linux: mm/ksm.c:write_protect_page()
func (m *Machine) ksmProtect(p Place, pfn x86.PFN) (x86.PTE, bool) {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return 0, false
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	e := c.Get(i)
	if got, ok := m.normal(e); !ok || got != pfn {
		return 0, false
	}
	exclusive := m.exclusive(pfn)
	if !e.Write(m.abi) && !e.Dirty(m.abi) && !exclusive && !p.Space.flushPending() {
		return e, true
	}
	c.Clear(i)
	p.Space.flushPage(p.VA)
	f := m.folio(pfn)
	if f.ref != 1+int32(m.mapcount(pfn))+m.cacheRefs(pfn) || exclusive && !m.tryShare(pfn) {
		c.Set(i, e)
		return 0, false
	}
	if e.Dirty(m.abi) {
		f.flags |= pgDirty
	}
	e = e.MkClean(m.abi).WrProtect(m.abi)
	c.Set(i, e)
	return e, true
}

// ksmReplace maps page to at p, if the entry there still is old, which maps page pfn.
//
// Linux: mm/ksm.c:replace_page()
func (m *Machine) ksmReplace(p Place, old x86.PTE, pfn, to x86.PFN) bool {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return false
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	if c.Get(i) != old {
		return false
	}
	e := x86.MkPTE(m.abi, to, p.VMA.prot)
	if to != m.zero {
		m.dupMapping(to)
	} else if e = e.MkSpecial(); m.Policy.KSMZeroDirty {
		e = e.MkDirty(m.abi)
	}
	c.Clear(i)
	p.Space.flushPage(p.VA)
	c.Set(i, e)
	m.removeMapping(pfn)
	if m.mapcount(pfn) == 0 {
		m.freeSwapCache(pfn)
	}
	m.put(pfn)
	return true
}
