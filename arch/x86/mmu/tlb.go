package mmu

import "ptemu/arch/x86"

// Tag names the address space that a cached translation belongs to: a PCID, or whatever else tells the owner's
// address spaces apart, such as the frame of the root.
type Tag uint64

// Tag returns the PCID in CR3, or the frame of the root on a processor without PCIDs.
func (m *MMU) Tag() Tag {
	if m.regs.CR4&CR4PCIDE != 0 {
		return Tag(m.regs.PCID())
	}
	return Tag(m.root.PFN())
}

// TLBSize limits a [TLB]. The zero TLBSize sets no limit: nothing is ever forgotten unless it must be, which is the
// worst that software can meet.
type TLBSize struct {
	Translations int // 0 for no limit, negative for none at all
	Tables       int // entries of the paging-structure caches; likewise
	// Seed begins the sequence that chooses what a full TLB forgets. Equal seeds, equal choices.
	Seed uint64
}

// TLB caches translations, and the tables above them, as a processor does: it never looks at memory, so it goes on
// answering with what was true when it was filled. A TLB is for one goroutine at a time. Owners that flush it
// from another one hold a lock, there and around [Core.Access]. The zero TLB is empty and without limit.
//
// Intel SDM, "Caching Translation Information"
type TLB struct {
	size    TLBSize
	current *space // that of the last Tag asked for
	spaces  map[Tag]*space
	order   []*space // the same, in a definite order
	pool    []*space // empty ones to use again
	global  space    // translations of every Tag
	pages   int      // translations, global ones included
	tables  int
	flushes uint64 // counts invalidations by software
}

// NewTLB returns an empty TLB.
func NewTLB(size TLBSize) *TLB { return &TLB{size: size} }

// space is what is cached for one Tag.
type space struct {
	tag        Tag
	pages      set[entry]
	pageCount  [x86.LevelPUD + 1]int // by level of the leaf
	tables     set[Upper]
	tableCount [x86.LevelPGD + 1]int // by level of the entry
}

// entry is one translation: what is left of a Walk.
type entry struct {
	leaf   Step   // with the A and D that the access set
	upper  uint64 // AND of the entries above
	any    uint64 // OR of all entries
	page   x86.Phys
	offset x86.Virt // mask of the offset in the page
	// may has a bit for each access that unit is known to permit without another look at the tables.
	unit *MMU
	may  uint16
}

// Found is what a TLB says to an access.
type Found uint8

// The answers of [TLB.Lookup].
const (
	// Miss: nothing is cached for the address.
	Miss Found = iota
	// Hit: the access goes through, without a look at the tables.
	Hit
	// Refused: the cached rights do not permit the access. The tables may.
	Refused
	// Clean: the access is a permitted write, but D was clear in the leaf: the processor must walk to set it.
	Clean
)

// String returns "miss", "hit", "refused" or "clean".
func (f Found) String() string {
	switch f {
	case Miss:
		return "miss"
	case Hit:
		return "hit"
	case Refused:
		return "refused"
	case Clean:
		return "clean"
	}
	return "unknown answer"
}

// Lookup asks for what is cached under tag for va, global translations included. m gives the registers as they are
// now: CR0, CR4, AC and the protection keys count when the access is made, not when the entry was filled. If
// translations of several sizes are cached, the smallest answers. The address is 0 unless the answer is Hit.
func (t *TLB) Lookup(m *MMU, tag Tag, va x86.Virt, a Access) (x86.Phys, Found) {
	e := t.find(tag, va)
	if e == nil {
		return 0, Miss
	}
	if e.unit == m && e.may&accessBit(a) != 0 {
		return e.page | x86.Phys(va&e.offset), Hit
	}
	if f := e.judge(m, va, a); f != Hit {
		return 0, f
	}
	return e.page | x86.Phys(va&e.offset), Hit
}

// accessBit numbers the accesses that differ in rights; 0 for an access of no known kind.
func accessBit(a Access) uint16 {
	bit := uint(a.Kind) * 3
	switch {
	case a.Implicit:
		bit++
	case a.User:
		bit += 2
	}
	return 1 << bit
}

// judge applies the rules to an access that they were not applied to before.
func (e *entry) judge(m *MMU, va x86.Virt, a Access) Found {
	if e.unit != m {
		e.unit, e.may = m, 0
	}
	w := e.walk(m, va)
	if w.Refusal(a) != 0 {
		return Refused
	}
	if a.Kind.writes() && e.leaf.Entry&x86.PageDirty == 0 {
		return Clean
	}
	e.may |= accessBit(a)
	return Hit
}

// walk returns the walk that found the entry, as far as it is known.
func (e *entry) walk(m *MMU, va x86.Virt) Walk {
	w := Walk{VA: va, Outcome: Mapped, mmu: m, upper: e.upper, any: e.any, n: 1}
	w.steps[0] = e.leaf
	return w
}

// space returns what is cached under tag, nil if nothing ever was.
func (t *TLB) space(tag Tag) *space {
	if s := t.current; s != nil && s.tag == tag {
		return s
	}
	s := t.spaces[tag]
	if s != nil {
		t.current = s
	}
	return s
}

func (t *TLB) find(tag Tag, va x86.Virt) *entry {
	if s := t.space(tag); s != nil {
		if i := s.findPage(va); i >= 0 {
			return &s.pages.vals[i]
		}
	}
	if i := t.global.findPage(va); i >= 0 {
		return &t.global.pages.vals[i]
	}
	return nil
}

func (s *space) findPage(va x86.Virt) int {
	for l := x86.LevelPTE; l <= x86.LevelPUD; l++ {
		if s.pageCount[l] == 0 {
			continue
		}
		if i := s.pages.find(cacheKey(va, l)); i >= 0 {
			return i
		}
	}
	return -1
}

// Fill caches what w found for access a, under tag, after [Walk.Commit] of the same: the translation with its A and
// D as they then are, and the tables passed. It caches nothing and returns false if there was no translation, or
// it does not permit a: then A may be clear in the leaf, and a processor caches no translation without A. What
// [TLBSize] leaves no room for at all is not cached either.
//
// Intel SDM, "Details of TLB Use"
func (t *TLB) Fill(tag Tag, w *Walk, a Access) bool {
	if w.Outcome != Mapped || w.Refusal(a) != 0 {
		return false
	}
	s := t.space(tag)
	if s == nil {
		s = t.newSpace(tag)
	}
	t.fillTables(s, w)
	if w.Global() {
		s = &t.global
	}
	e := entry{leaf: w.Last(), upper: w.upper, any: w.any, page: w.Page(), offset: x86.Virt(w.Size() - 1), unit: w.mmu}
	e.leaf.Entry |= x86.PageAccessed
	if a.Kind.writes() {
		e.leaf.Entry |= x86.PageDirty
	}
	e.may = accessBit(a)
	t.put(s, cacheKey(w.VA, e.leaf.Level), e)
	return true
}

func (t *TLB) put(s *space, key uint64, e entry) {
	limit := t.size.Translations
	if limit < 0 {
		return
	}
	if limit > 0 && t.pages >= limit && s.pages.find(key) < 0 {
		t.evictPage()
	}
	if s.pages.put(key, e) {
		s.pageCount[e.leaf.Level]++
		t.pages++
	}
}

func (t *TLB) newSpace(tag Tag) *space {
	var s *space
	if n := len(t.pool); n > 0 {
		s, t.pool = t.pool[n-1], t.pool[:n-1]
	} else {
		s = new(space)
	}
	s.tag = tag
	if t.spaces == nil {
		t.spaces = make(map[Tag]*space)
	}
	t.spaces[tag] = s
	t.order = append(t.order, s)
	t.current = s
	return s
}

func (t *TLB) removePage(s *space, i int) {
	s.pageCount[s.pages.vals[i].leaf.Level]--
	s.pages.remove(i)
	t.pages--
}
