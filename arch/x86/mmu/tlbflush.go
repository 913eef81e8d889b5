package mmu

import "ptemu/arch/x86"

// FlushPage is INVLPG with tag as the current PCID: it drops every translation of va, of any size, global or of
// tag, and all tables cached under tag.
//
// Intel SDM, "Operations that Invalidate TLBs and Paging-Structure Caches"
func (t *TLB) FlushPage(tag Tag, va x86.Virt) {
	t.flushes++
	t.forgetPages(tag, va)
	if s := t.space(tag); s != nil {
		t.clearTables(s)
	}
}

// FlushRange drops translations of tag, and global ones, that map any address in [first, last] and whose leaf has
// the lowest of the levels given (bit 1<<level) or a higher one. So flushes a kernel that steps through the range
// in pages of the smallest size that changed: a larger page that it meets goes too, a smaller one may stay. With
// tables it also drops the tables that a walk of those addresses could begin from; without, they stay, as after
// AMD's INVLPGB of final translations only. A range whose first address is above its last is empty.
//
// Linux: arch/x86/mm/tlb.c:flush_tlb_mm_range(), flush_tlb_func()
func (t *TLB) FlushRange(tag Tag, first, last x86.Virt, levels uint8, tables bool) {
	t.flushes++
	if first > last {
		return
	}
	s := t.space(tag)
	if s != nil && tables {
		t.tables -= len(s.tables.keys)
		s.forgetTables(first, last)
		t.tables += len(s.tables.keys)
	}
	for l, named := x86.LevelPTE, false; l <= x86.LevelPUD; l++ {
		named = named || levels&(1<<l) != 0
		if !named {
			continue
		}
		if s != nil {
			t.flushLevel(s, first, last, l)
		}
		t.flushLevel(&t.global, first, last, l)
	}
}

// flushLevel drops the translations of one size: page by page, or by looking at all if these are fewer.
func (t *TLB) flushLevel(s *space, first, last x86.Virt, l x86.Level) {
	if s.pageCount[l] == 0 {
		return
	}
	from, to := uint64(first)>>l.Shift(), uint64(last)>>l.Shift()
	if to-from < uint64(len(s.pages.keys)) {
		for page := from; page <= to; page++ {
			if i := s.pages.find(cacheKey(x86.Virt(page<<l.Shift()), l)); i >= 0 {
				t.removePage(s, i)
			}
		}
		return
	}
	for i := len(s.pages.keys) - 1; i >= 0; i-- {
		va, level := keyVA(s.pages.keys[i])
		if page := uint64(va) >> l.Shift(); level == l && page >= from && page <= to {
			t.removePage(s, i)
		}
	}
}

// FlushTag drops what is cached under tag, as a load of CR3 does (bit 63 of the operand clear). With globals it
// drops the global translations too, those that other tags filled included.
func (t *TLB) FlushTag(tag Tag, globals bool) {
	t.flushes++
	if globals {
		t.clearPages(&t.global)
	}
	s := t.space(tag)
	if s == nil {
		return
	}
	t.clearPages(s)
	t.clearTables(s)
	t.current = nil
	delete(t.spaces, tag)
	for i, o := range t.order {
		if o == s {
			last := len(t.order) - 1
			t.order[i], t.order[last] = t.order[last], nil
			t.order = t.order[:last]
			break
		}
	}
	t.pool = append(t.pool, s)
}

// FlushAll drops everything, as a change of CR4.PGE does.
func (t *TLB) FlushAll() {
	for len(t.order) > 0 {
		t.FlushTag(t.order[len(t.order)-1].tag, false)
	}
	t.clearPages(&t.global)
	t.flushes++
}

// Faulted tells the TLB of a page fault: it drops what made an access to va fault, if it was stale: every
// translation of va, global or of tag, and the tables that its walk could begin from. So a fault that only
// stale entries explain does not come twice.
//
// Intel SDM, "Operations that Invalidate TLBs and Paging-Structure Caches"
func (t *TLB) Faulted(tag Tag, va x86.Virt) {
	t.forgetPages(tag, va)
	if s := t.space(tag); s != nil {
		t.tables -= len(s.tables.keys)
		s.forgetTablesOf(va)
		t.tables += len(s.tables.keys)
	}
}

// forgetPages drops every translation of va.
func (t *TLB) forgetPages(tag Tag, va x86.Virt) {
	s := t.space(tag)
	for l := x86.LevelPTE; l <= x86.LevelPUD; l++ {
		if s != nil {
			t.flushLevel(s, va, va, l)
		}
		t.flushLevel(&t.global, va, va, l)
	}
}

func (t *TLB) clearPages(s *space) {
	t.pages -= len(s.pages.keys)
	s.pages.clear()
	s.pageCount = [len(s.pageCount)]int{}
}

func (t *TLB) clearTables(s *space) {
	t.tables -= len(s.tables.keys)
	s.clearTables()
}

func (t *TLB) removeTable(s *space, i int) {
	s.removeTable(i)
	t.tables--
}
