package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// anonymous handles the first touch of a page of private anonymous memory.
//
// Linux: mm/memory.c:do_anonymous_page()
func (f *fault) anonymous() error {
	if f.v.shared() {
		return f.bus()
	}
	if f.flags&faultWrite == 0 {
		e := x86.MkPTE(f.m.abi, f.m.zero, f.v.prot).MkSpecial()
		return f.install(e, func() {})
	}
	order := f.anonOrder()
	pfn, err := f.m.alloc(order)
	if err != nil && order > 0 {
		order = 0
		pfn, err = f.m.alloc(0)
	}
	if err != nil {
		return f.oom()
	}
	f.v.prepareAnon()
	e := x86.MkPTE(f.m.abi, pfn, f.v.prot)
	if f.v.writable() {
		e = f.m.mkWrite(f.v, f.va, e.MkDirty(f.m.abi), GainFault)
	}
	if order > 0 {
		return f.installLarge(pfn, e)
	}
	stored := false
	err = f.install(e, func() {
		f.m.addNewAnon(pfn, f.v, f.va)
		stored = true
	})
	if !stored {
		f.m.put(pfn)
	}
	return err
}

// install stores e in the empty slot, unless userfaultfd is to fill it, and calls stored if it did.
func (f *fault) install(e x86.PTE, stored func()) error {
	c, ok, err := f.relockNew()
	if !ok {
		return err
	}
	defer c.Unlock()
	if f.v.flags&VMUffdMissing != 0 {
		return f.userfault(false)
	}
	if f.wasMarker() {
		e = e.MkUffdWP(f.m.abi)
	}
	c.Set(f.slot(), e)
	stored()
	return nil
}

// userfault hands the access over to the area's userfaultfd.
//
// Linux: fs/userfaultfd.c:handle_userfault()
func (f *fault) userfault(wp bool) error {
	if f.v.uffd.sigbus() {
		return f.bus()
	}
	return &UffdFault{VA: f.va, WP: wp, Write: f.flags&faultWrite != 0, Uffd: f.v.uffd}
}

// anonOrder chooses the order of the folio: the largest that is wanted, lies in the area, and meets empty slots only.
//
// Linux: mm/memory.c:alloc_anon_folio()
func (f *fault) anonOrder() uint8 {
	if f.m.cfg.Orders == 0 || !f.m.Policy.MTHP || f.v.flags&vmUffd != 0 || f.v.flags&VMNoHugePage != 0 {
		return 0
	}
	for order := uint8(hugeOrder - 1); order > 1; order-- {
		if f.m.cfg.Orders>>order&1 == 0 {
			continue
		}
		r := f.around(order)
		if r.First >= f.v.Start && r.Last < f.v.End && f.empty(r) {
			return order
		}
	}
	return 0
}

// around returns the 2^order pages, aligned to their number, that hold the address.
func (f *fault) around(order uint8) pgtable.Range {
	n := uint64(1) << order
	return span(f.va&^x86.Virt(n*x86.PageSize-1), n)
}

// empty reports that all slots of r, which lies in one table, are empty.
func (f *fault) empty(r pgtable.Range) bool {
	c, err := f.s.tree.LockPTEs(r.First, false)
	if err != nil {
		return true
	}
	defer c.Unlock()
	for i := r.First.Index(x86.LevelPTE); i <= r.Last.Index(x86.LevelPTE); i++ {
		if !c.Get(i).None() {
			return false
		}
	}
	return true
}

// installLarge stores the entries of a new large folio at pfn, of which e is the first.
func (f *fault) installLarge(pfn x86.PFN, e x86.PTE) error {
	r := f.around(f.m.pages[pfn].order)
	c, ok, err := f.relockNew()
	if !ok {
		f.m.put(pfn)
		return err
	}
	defer c.Unlock()
	c.SetRange(r.First.Index(x86.LevelPTE), f.m.folioSize(pfn), e)
	f.m.addNewAnon(pfn, f.v, r.First)
	return nil
}
