package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// ksmNode is what the kernel knows of a page that several areas share because their contents were equal: the places that
// were merged. Others may map it too: processes that were forked since.
//
// Linux: mm/ksm.c:struct ksm_stable_node
type ksmNode struct {
	pfn   x86.PFN
	items []ksmItem
}

// ksmItem is a place. Linux: mm/ksm.c:struct ksm_rmap_item
type ksmItem struct {
	space *Space
	anon  *anonVMA
	va    x86.Virt
}

// mayMapKSM calls f for the places that may map the KSM page at head, each once: those that were merged, then the same
// addresses in other processes of their families.
//
// Linux: mm/ksm.c:rmap_walk_ksm()
func (m *Machine) mayMapKSM(head x86.PFN, f func(p Place) bool) {
	node := m.pages[head].ksm
	if node == nil {
		return
	}
	var seen []Place
	for _, forks := range [2]bool{false, true} {
		for _, it := range node.items {
			for _, s := range m.spaces {
				v := s.VMA(it.va)
				if (s != it.space) != forks || v == nil || v.anon == nil || v.anon.root != it.anon.root {
					continue
				}
				p := Place{s, v, it.va}
				if contains(seen, p) {
					continue
				}
				if seen = append(seen, p); !f(p) {
					return
				}
			}
		}
	}
}

func contains(all []Place, p Place) bool {
	for _, o := range all {
		if o == p {
			return true
		}
	}
	return false
}

// dropKSM forgets the node of a page that is freed. Linux: mm/ksm.c:remove_node_from_stable_tree()
func (m *Machine) dropKSM(head x86.PFN) { m.pages[head].ksm = nil }

// movedKSM tells the node that its page is in another frame now. Linux: mm/ksm.c:folio_migrate_ksm()
func (m *Machine) movedKSM(from, to x86.PFN) {
	if n := m.pages[to].ksm; n != nil {
		n.pfn = to
	}
}

// unmerge gives part r of v pages of its own in place of KSM pages, and of zero pages that KSM has put there. The mmap
// lock is held.
//
// Linux: mm/ksm.c:unmerge_ksm_pages()
func (s *Space) unmerge(c *CPU, v *VMA, r pgtable.Range) error {
	for va := r.First; ; va += x86.PageSize {
		if err := s.breakKSM(c, v, va); err != nil {
			return err
		}
		if va+x86.PageSize > r.Last {
			return nil
		}
	}
}

// breakKSM faults until no KSM page is at va. Linux: mm/ksm.c:break_ksm()
func (s *Space) breakKSM(c *CPU, v *VMA, va x86.Virt) error {
	flags := faultUnshare | faultRemote
	if s.m.Policy.UnmergeWrites {
		flags = faultWrite | faultRemote
	}
	for range maxFaults {
		if !s.ksmAt(va) {
			return nil
		}
		f := &fault{c: c, m: s.m, s: s, v: v, va: va, flags: flags}
		if err := f.handle(); err != nil {
			return err
		}
	}
	return &CallError{"madvise", va, ErrAgain}
}

// ksmAt reports that KSM has put the page at va there.
func (s *Space) ksmAt(va x86.Virt) bool {
	m := s.m
	if _, huge := s.hugePMD(va); huge {
		return false
	}
	e := s.pte(va)
	if pfn, ok := m.normal(e); ok {
		return m.pages[pfn].flags&pgKSM != 0
	}
	return m.Policy.KSMZeroDirty && e.Present() && e.PFN(m.abi) == m.zero && e.Dirty(m.abi)
}
