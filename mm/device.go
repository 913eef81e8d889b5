package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// MakeDeviceExclusive gives the page at va to a device alone: the CPU's next access takes it back.
//
// Linux: mm/rmap.c:make_device_exclusive(); until 6.14 make_device_exclusive_range()
func (c *CPU) MakeDeviceExclusive(va x86.Virt) error {
	s, m := c.space, c.m
	if !m.kernel.DevicePrivate {
		return &CallError{"make_device_exclusive", va, ErrNoSys}
	}
	p, err := c.GetPages(va, 1, GUPWrite)
	var access *AccessError
	if errors.As(err, &access) {
		return &CallError{"make_device_exclusive", va, ErrFault}
	} else if err != nil {
		return err
	}
	defer p.Put()
	va = pageOf(va)
	pfn := p.pfns[0]
	if v := s.VMA(va); !m.anonPage(pfn) {
		return &CallError{"make_device_exclusive", va, ErrBusy}
	} else if _, huge := s.hugePMD(va); huge {
		if err := c.splitHugePMD(v, va); err != nil {
			return err
		}
	}
	t, err := s.tree.LockPTEs(va, false)
	if err != nil {
		return &CallError{"make_device_exclusive", va, ErrBusy}
	}
	defer t.Unlock()
	i := va.Index(x86.LevelPTE)
	old := t.Get(i)
	if got, ok := m.normal(old); !ok || got != pfn || m.Policy.DeviceKeepsMapping && !old.Write(m.abi) {
		return &CallError{"make_device_exclusive", va, ErrBusy}
	}
	t.Clear(i)
	s.flushPage(va)
	if old.Dirty(m.abi) {
		m.folio(pfn).flags |= pgDirty
	}
	t.Set(i, m.deviceExclusive(old, pfn))
	if !m.Policy.DeviceKeepsMapping {
		m.removeMapping(pfn) // the entry keeps the reference
	}
	return nil
}

func (m *Machine) deviceExclusive(old x86.PTE, pfn x86.PFN) x86.PTE {
	e := m.layout.MakeReadableDeviceExclusiveEntry(pfn).PTE()
	if old.Write(m.abi) {
		e = m.layout.MakeWritableDeviceExclusiveEntry(pfn).PTE()
	}
	if old.SoftDirty() {
		e = swapentry.SwpMkSoftDirty(e)
	}
	if old.UffdWP() {
		e = swapentry.SwpMkUffdWP(e)
	}
	return e
}

// restoreExclusive ends that a device has a page for itself.
//
// Linux: mm/memory.c:remove_device_exclusive_entry()
func (f *fault) restoreExclusive(d swapentry.Entry) error {
	c, ok := f.relock()
	if !ok {
		return nil
	}
	defer c.Unlock()
	c.Set(f.slot(), f.m.restoreDevice(f.v, f.va, d))
	return nil
}

// restoreDevice returns the entry that takes the place of the device-exclusive entry d, and counts it.
//
// Linux: mm/memory.c:restore_exclusive_pte()
func (m *Machine) restoreDevice(v *VMA, va x86.Virt, d swapentry.Entry) x86.PTE {
	e := x86.MkPTE(m.abi, d.PFN, v.prot).MkOld()
	if d.SoftDirty {
		e = e.MkSoftDirty()
	}
	if d.UffdWP {
		e = e.MkUffdWP(m.abi)
	}
	if m.Policy.DeviceKeepsMapping {
		if m.mayUpgrade(v, e) {
			if m.folio(d.PFN).flags&pgDirty != 0 {
				e = e.MkDirty(m.abi)
			}
			e = m.mkWrite(v, va, e, GainDevice)
		}
		return e
	}
	m.addMapping(d.PFN)
	if d.Write && !d.UffdWP {
		e = m.mkWrite(v, va, e.MkDirty(m.abi), GainDevice)
	}
	return e
}

// restoredAtFork makes the entry a page again, in the parent, and shares that with the child, which gets a copy of a
// page that is pinned.
func (f *forker) restoredAtFork(va x86.Virt, d swapentry.Entry) (child, parent x86.PTE, err error) {
	m := f.m
	if f.mustOwn(d.PFN) {
		e := x86.MkPTE(m.abi, d.PFN, f.from.prot)
		if d.UffdWP {
			e = e.MkUffdWP(m.abi)
		}
		if child, err = f.own(va, e); err != nil {
			return 0, 0, err
		}
		return child, m.restoreDevice(f.from, va, d), nil
	}
	parent = m.restoreDevice(f.from, va, d)
	m.setExclusive(d.PFN, false)
	m.dupMapping(d.PFN)
	if f.from.cow() && parent.Write(m.abi) {
		parent = parent.WrProtect(m.abi)
	}
	child = parent.MkOld()
	if !f.keepsUffd() {
		child = child.ClearUffdWP()
	}
	return child, parent, nil
}
