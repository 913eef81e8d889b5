package mmu

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Upper is what a paging-structure cache keeps of a walk that passed an entry that leads to a table: which table,
// and the rights that all entries so far leave. A walk may begin there, and then sees neither a later change of
// those entries nor that the table was freed. The zero Upper is the root.
//
// Intel SDM, "Caches for Paging Structures"
type Upper struct {
	// Step is the entry as the walk read it. Its Level is that of the entry: the table has the one below.
	Step
	and, or uint64 // over that entry and all above
}

// Table returns the table that the entry led to, 0 for the zero Upper.
func (u Upper) Table(m *MMU) x86.Phys { return x86.Phys(u.Entry & m.addr) }

// WalkFrom is [MMU.Walk] from where u left off: it reads entries of the levels below u only, and they are all that
// [Walk.Steps] has. u must be of a walk of va, or of an address with the same bits down to u's level.
func (m *MMU) WalkFrom(mem physmem.Reader, va x86.Virt, u Upper) Walk {
	if u.Level == 0 || !m.paging.Canonical(va) {
		return m.Walk(mem, va)
	}
	w := Walk{VA: va, mmu: m, upper: u.and, any: u.or, start: u}
	scratch := frames.Get().(*physmem.Frame)
	w.descend(mem, scratch, u.Table(m), u.Level-1)
	frames.Put(scratch)
	return w
}

// uppers calls f for every entry that led the walk to another table, root first.
func (w *Walk) uppers(f func(Upper)) {
	u := w.start
	if u.Level == 0 {
		u.and = ^uint64(0)
	}
	for _, s := range w.steps[:max(w.n, 1)-1] {
		u = Upper{Step: s, and: u.and & s.Entry, or: u.or | s.Entry}
		f(u)
	}
}

// cacheKey names the piece of the address space that one entry of level l covers.
func cacheKey(va x86.Virt, l x86.Level) uint64 { return uint64(va)>>l.Shift()<<3 | uint64(l) }

// keyVA returns the first address of the piece that a key names, and the level.
func keyVA(key uint64) (x86.Virt, x86.Level) {
	l := x86.Level(key & 7)
	return x86.Virt(key >> 3 << l.Shift()), l
}

// upper returns the lowest cached table for va: there the processor begins.
func (s *space) upper(va x86.Virt) Upper {
	for l := x86.LevelPMD; l <= x86.LevelPGD; l++ {
		if s.tableCount[l] == 0 {
			continue
		}
		if i := s.tables.find(cacheKey(va, l)); i >= 0 {
			return s.tables.vals[i]
		}
	}
	return Upper{}
}

func (s *space) putTable(key uint64, u Upper) bool {
	if !s.tables.put(key, u) {
		return false
	}
	s.tableCount[u.Level]++
	return true
}

func (s *space) removeTable(i int) {
	s.tableCount[s.tables.keys[i]&7]--
	s.tables.remove(i)
}

func (s *space) clearTables() {
	s.tables.clear()
	s.tableCount = [len(s.tableCount)]int{}
}

// forgetTables drops the tables that a walk of an address in [first, last] could begin from.
func (s *space) forgetTables(first, last x86.Virt) {
	for i := len(s.tables.keys) - 1; i >= 0; i-- {
		if va, l := keyVA(s.tables.keys[i]); va <= last && va+x86.Virt(l.Size()-1) >= first {
			s.removeTable(i)
		}
	}
}

// forgetTablesOf is forgetTables for one address.
func (s *space) forgetTablesOf(va x86.Virt) {
	for l := x86.LevelPMD; l <= x86.LevelPGD; l++ {
		if i := s.tables.find(cacheKey(va, l)); i >= 0 {
			s.removeTable(i)
		}
	}
}

// Start returns where a walk of va may begin: at the lowest table that is cached for it under tag, or, with the
// zero Upper, at the root.
func (t *TLB) Start(tag Tag, va x86.Virt) Upper {
	if s := t.space(tag); s != nil {
		return s.upper(va)
	}
	return Upper{}
}

// fillTables keeps the tables that w passed.
func (t *TLB) fillTables(s *space, w *Walk) {
	if t.size.Tables < 0 {
		return
	}
	w.uppers(func(u Upper) {
		key := cacheKey(w.VA, u.Level)
		if t.size.Tables > 0 && t.tables >= t.size.Tables && s.tables.find(key) < 0 {
			t.evictTable()
		}
		if s.putTable(key, u) {
			t.tables++
		}
	})
}
