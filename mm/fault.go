package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// faultFlags say what an access wanted. Linux: include/linux/mm_types.h:enum fault_flag
type faultFlags uint8

const (
	faultWrite   faultFlags = 1 << iota
	faultUnshare            // a page of one's own is wanted, though nothing is written (GUP)
	faultFetch
	faultUser    // by the processor; else by GUP
	faultPresent // the page is there, and the processor refuses
	faultPkey    // the protection key refused it
	faultRemote  // no protection key applies
	faultForce   // FOLL_FORCE: the area's write permission does not matter
)

// fault is a page fault under way.
//
// Linux: include/linux/mm.h:struct vm_fault
type fault struct {
	c     *CPU
	m     *Machine
	s     *Space
	v     *VMA
	va    x86.Virt // of the page
	flags faultFlags
	orig  x86.PTE // what was found; whoever stores makes sure that it still is there
}

// fault handles the fault of an access to va in the space that the CPU runs. With nil, the access is to be made again.
// Else it cannot be made: an *AccessError, *UffdFault or *WaitError.
//
// Linux: arch/x86/mm/fault.c:do_user_addr_fault(), mm/memory.c:handle_mm_fault()
func (c *CPU) fault(va x86.Virt, flags faultFlags) error {
	return c.faultIn(c.space, va, flags)
}

func (c *CPU) faultIn(s *Space, va x86.Virt, flags faultFlags) error {
	c.m.event(Event{Kind: EventFault, CPU: c.id, VA: va, Tree: s.tree, Write: flags&faultWrite != 0})
	c.point(PointFault)
	s.readLock()
	defer s.readUnlock()
	v := s.VMA(va)
	if v == nil {
		return &AccessError{va, SegvMapErr}
	}
	if !v.keyAllows(flags, c.pkru) {
		return &AccessError{va, SegvPkuErr}
	}
	if sig := v.refuses(flags); sig != 0 {
		return &AccessError{va, sig}
	}
	if flags&faultPresent != 0 && flags&faultWrite == 0 { // a page that is there, and refuses
		return &AccessError{va, SegvAccErr}
	}
	f := &fault{c: c, m: c.m, s: s, v: v, va: pageOf(va), flags: flags}
	return f.handle()
}

// keyAllows reports that the protection key of the area permits what a processor wants, whether there is a page or not.
//
// Linux: arch/x86/include/asm/mmu_context.h:arch_vma_access_permitted()
func (v *VMA) keyAllows(f faultFlags, pkru uint32) bool {
	if f&faultUser == 0 || f&(faultFetch|faultRemote) != 0 {
		return true
	}
	return x86.PKRUAllows(pkru, x86.PTE(v.prot).Pkey(), f&faultWrite != 0)
}

// refuses returns why the area does not allow the access, 0 if it does. Linux: arch/x86/mm/fault.c:access_error()
func (v *VMA) refuses(f faultFlags) Signal {
	switch {
	case f&faultPkey != 0 && f&faultRemote == 0:
		return SegvPkuErr
	case f&faultForce != 0:
		return 0
	case f&faultWrite != 0 && !v.writable():
		return SegvAccErr
	case f&faultWrite == 0 && v.flags&vmAccess == 0:
		return SegvAccErr
	}
	return 0
}

// handle is __handle_mm_fault().
func (f *fault) handle() error {
	if done, err := f.handleHuge(); done || err != nil {
		return err
	}
	f.orig = f.s.pte(f.va)
	switch {
	case f.orig.None():
		return f.missing()
	case !f.orig.Present():
		return f.notPresent()
	case f.orig.Protnone() && f.v.flags&vmAccess != 0:
		return f.numaHint()
	case f.flags&(faultWrite|faultUnshare) != 0 && !f.orig.Write(f.m.abi):
		return f.writeProtected()
	}
	return f.spurious()
}

// spurious handles a fault on an entry that permits the access: another CPU was faster, or a processor's TLB was stale.
//
// Linux: mm/memory.c:handle_pte_fault(), at its end
func (f *fault) spurious() error {
	c, ok := f.relock()
	if !ok {
		return nil
	}
	defer c.Unlock()
	e := f.orig.MkYoung()
	if f.flags&faultWrite != 0 {
		e = e.MkDirty(f.m.abi)
	}
	c.SetAccessFlags(f.slot(), e, f.flags&faultWrite != 0)
	return nil
}

// slot returns the entry's place in its table.
func (f *fault) slot() int { return f.va.Index(x86.LevelPTE) }

// relock locks the PTE table if the entry still is what the fault found. If not, the fault is over: the access is made
// again.
//
// Linux: mm/memory.c:pte_same() after pte_offset_map_lock()
func (f *fault) relock() (pgtable.PTECursor, bool) {
	c, err := f.s.tree.LockPTEs(f.va, false)
	if err != nil {
		return c, false
	}
	if c.Get(f.slot()) != f.orig {
		c.Unlock()
		return c, false
	}
	return c, true
}

// relockNew is relock for an entry that may have no table yet: it is made. The error is that of memory.
func (f *fault) relockNew() (c pgtable.PTECursor, ok bool, err error) {
	c, err = f.s.tree.LockPTEs(f.va, true)
	switch {
	case noMemory(err):
		return c, false, f.oom()
	case err != nil: // a huge page came in between
		return c, false, nil
	case c.Get(f.slot()) != f.orig:
		c.Unlock()
		return c, false, nil
	}
	return c, true, nil
}

func (f *fault) oom() error { return &AccessError{f.va, Killed} }

func (f *fault) bus() error { return &AccessError{f.va, BusAdrErr} }

// missing handles an empty slot. Linux: mm/memory.c:do_pte_missing()
func (f *fault) missing() error {
	if f.v.Anonymous() {
		return f.anonymous()
	}
	return f.fileFault()
}

// notPresent handles an entry that is neither empty nor a page. Linux: mm/memory.c:do_swap_page(), at its beginning
func (f *fault) notPresent() error {
	d := f.m.layout.Decode(x86.LevelPTE, uint64(f.orig))
	switch d.Kind {
	case swapentry.KindMigration:
		return f.waitMigration(func() bool { return f.s.pte(f.va) != f.orig })
	case swapentry.KindHWPoison:
		return &AccessError{f.va, BusHWPoison}
	case swapentry.KindMarker:
		return f.marker(d.Marker)
	case swapentry.KindDeviceExclusive:
		return f.restoreExclusive(d)
	case swapentry.KindSwap:
		return f.swapIn(d)
	}
	return f.bus() // 6.1's swap-in error, device-private pages of no driver
}

// marker handles a marker. Linux: mm/memory.c:handle_pte_marker()
func (f *fault) marker(bits swapentry.Marker) error {
	switch {
	case bits&swapentry.MarkerPoisoned != 0:
		return &AccessError{f.va, BusHWPoison}
	case bits&swapentry.MarkerGuard != 0:
		return &AccessError{f.va, SegvMapErr}
	case bits&swapentry.MarkerUffdWP == 0 || f.v.Anonymous() && !f.m.Policy.UffdWPUnpopulated:
		return f.bus()
	case f.v.flags&VMUffdWP == 0:
		if c, ok := f.relock(); ok {
			c.Clear(f.slot())
			c.Unlock()
		}
		return nil
	}
	return f.missing()
}

// wasMarker reports that the slot held a uffd-wp marker, which the new entry takes over.
//
// Linux: mm/memory.c:vmf_orig_pte_uffd_wp()
func (f *fault) wasMarker() bool {
	return f.v.flags&VMUffdWP != 0 && f.m.layout.PTEUffdWPMarker(f.orig)
}

// waitMigration waits until gone reports that the entry is not what it was.
//
// Linux: mm/migrate.c:migration_entry_wait()
func (f *fault) waitMigration(gone func() bool) error {
	if !f.m.waitFor(gone) {
		return &WaitError{f.va}
	}
	return nil
}
