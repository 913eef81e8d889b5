package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// Sync writes the dirty pages of the file to its disk, as fsync(2) does. All mappings of a page become clean and
// read-only before, so that the next write to it is noticed. Files without a disk have nothing to do.
//
// Linux: mm/page-writeback.c:write_cache_pages(), folio_clear_dirty_for_io()
func (f *File) Sync() {
	f.sync(0, ^uint64(0))
}

func (f *File) sync(first, end uint64) {
	if !f.writeback {
		return
	}
	for _, head := range f.heads(first, end) {
		f.writeFolio(head)
	}
}

// writeFolio writes the folio at head if it is dirty.
func (f *File) writeFolio(head x86.PFN) {
	m, p := f.m, &f.m.pages[head]
	if p.flags&pgDirty == 0 {
		return
	}
	m.mkClean(head)
	p.flags &^= pgDirty
	for i := range uint64(1) << p.order {
		data := f.store[p.index+i]
		if data == nil {
			data = new(physmem.Frame)
			f.store[p.index+i] = data
		}
		*data = *m.content(head + x86.PFN(i))
	}
}

// mkClean makes the mappings of the folio at head in shared areas clean and read-only, and tells processors.
//
// Linux: mm/rmap.c:folio_mkclean(), page_vma_mkclean_one()
func (m *Machine) mkClean(head x86.PFN) {
	for i := range x86.PFN(1) << m.pages[head].order {
		m.eachMapping(head+i, false, func(p Mapping) bool {
			switch {
			case !p.VMA.shared():
			case !p.Huge:
				m.cleanPTE(p)
			case i == 0:
				m.cleanPMD(p)
			}
			return true
		})
	}
}

func (m *Machine) cleanPTE(p Mapping) {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	if e := c.Get(i); !e.Dirty(m.abi) && !e.Write(m.abi) {
		return
	}
	e := c.GetAndClear(i)
	p.Space.flushPage(p.VA)
	c.Set(i, e.WrProtect(m.abi).MkClean(m.abi))
}

func (m *Machine) cleanPMD(p Mapping) {
	c, err := p.Space.tree.LockPMDs(p.VA, false)
	if err != nil {
		return
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPMD)
	e, dirty := p.VMA.area().CleanPMD(c.Get(i))
	if !dirty {
		return
	}
	c.InvalidateAD(i)
	first := p.VA &^ x86.Virt(x86.LevelPMD.Size()-1)
	m.FlushTLB(p.Space.tree, pgtable.Flush{Range: span(first, x86.EntriesPerTable), Levels: 1 << x86.LevelPMD})
	c.Set(i, e)
}

// Msync writes what shared mappings of files in length bytes from va on have changed, and waits for it (MS_SYNC). Holes
// in the range are ErrNoMem, when all else is done.
//
// Linux: mm/msync.c:msync()
func (c *CPU) Msync(va x86.Virt, length uint64) error {
	s := c.space
	if va%x86.PageSize != 0 {
		return &CallError{"msync", va, ErrInval}
	}
	if length == 0 {
		return nil
	}
	r, err := s.checkPages("msync", va, length)
	if err != nil {
		return &CallError{"msync", va, ErrNoMem}
	}
	s.readLock()
	defer s.readUnlock()
	next, hole := r.First, false
	err = s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		hole = hole || part.First != next
		next = part.Last + 1
		if v.file != nil && v.shared() {
			v.file.sync(v.index(part.First), v.index(part.Last)+1)
		}
		return nil
	})
	if err == nil && (hole || next <= r.Last) {
		err = &CallError{"msync", next, ErrNoMem}
	}
	return err
}
