package mmu

import (
	"iter"
	"strings"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Cached is one translation in a [TLB].
type Cached struct {
	Tag    Tag      // 0 if Global
	VA     x86.Virt // the first address that it maps
	Page   x86.Phys // the first byte there
	Leaf   Step     // as it was, with the A and D that were set then
	Rights Rights
	Global bool
}

// Size returns the bytes that c maps.
func (c Cached) Size() uint64 { return c.Leaf.Level.Size() }

// CachedTable is one table in the paging-structure caches of a [TLB].
type CachedTable struct {
	Tag Tag
	VA  x86.Virt // the first address that is translated by the table
	Upper
}

// Len returns the numbers of translations and of tables that are cached.
func (t *TLB) Len() (translations, tables int) { return t.pages, t.tables }

// Each calls f for every translation, until f returns false: those of each Tag, then the global ones, in an order
// that depends on nothing but the history of t. Range accepts it: for c := range t.Each. t must not change
// meanwhile.
func (t *TLB) Each(f func(Cached) bool) {
	for _, s := range t.order {
		if !s.each(false, f) {
			return
		}
	}
	t.global.each(true, f)
}

// Of returns the translations cached under tag, global ones not included.
func (t *TLB) Of(tag Tag) iter.Seq[Cached] {
	return func(yield func(Cached) bool) {
		if s := t.spaces[tag]; s != nil {
			s.each(false, yield)
		}
	}
}

func (s *space) each(global bool, f func(Cached) bool) bool {
	for i := range s.pages.vals {
		e := &s.pages.vals[i]
		va, _ := keyVA(s.pages.keys[i])
		w := e.walk(e.unit, va)
		if !f(Cached{Tag: s.tag, VA: va, Page: e.page, Leaf: e.leaf, Rights: w.Rights(), Global: global}) {
			return false
		}
	}
	return true
}

// EachTable calls f for every cached table, until f returns false.
func (t *TLB) EachTable(f func(CachedTable) bool) {
	for _, s := range t.order {
		for i, u := range s.tables.vals {
			va, _ := keyVA(s.tables.keys[i])
			if !f(CachedTable{Tag: s.tag, VA: va, Upper: u}) {
				return
			}
		}
	}
}

// Stale says in what a cached translation differs from the tables, where that matters. A translation that only
// permits less than the tables is not stale.
type Stale uint8

// The ways to be stale.
const (
	StaleGone   Stale = 1 << iota // the tables have no translation
	StalePage                     // the tables lead to other memory
	StaleRights                   // the tables permit less, or say otherwise whose address it is
	StaleDirty                    // D is clear in the tables: a write would not set it
	StaleKey                      // the tables have another protection key
	StaleType                     // the tables have another memory type
)

var staleNames = [...]string{"gone", "page", "rights", "dirty", "key", "type"}

// String returns the differences joined by "|", "0" if there is none.
func (s Stale) String() string {
	var names []string
	for i, name := range staleNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "0"
	}
	return strings.Join(names, "|")
}

// Compare compares c with what the tables say of one address in its page.
func (c Cached) Compare(w *Walk) (s Stale) {
	p, ok := w.Phys()
	if !ok {
		return StaleGone
	}
	differ := func(yes bool, how Stale) {
		if yes {
			s |= how
		}
	}
	was := Walk{Outcome: Mapped, n: 1, steps: [x86.LevelPGD]Step{c.Leaf}}
	had, have := c.Rights, w.Rights()
	differ(p != c.Page+x86.Phys(w.VA-c.VA), StalePage)
	differ(had.U != have.U || had.W && !have.W || had.X && !have.X || had.Shadow && !have.Shadow, StaleRights)
	differ(c.Leaf.Entry&^w.Last().Entry&x86.PageDirty != 0, StaleDirty)
	differ(was.PKey() != w.PKey(), StaleKey)
	differ(was.PATIndex() != w.PATIndex(), StaleType)
	return s
}

// Compare walks the tables of m for all that c maps, and returns every difference found.
func (m *MMU) Compare(mem physmem.Reader, c Cached) (s Stale) {
	for offset := uint64(0); offset < c.Size(); {
		w := m.Walk(mem, c.VA+x86.Virt(offset))
		s |= c.Compare(&w)
		step := c.Size()
		if l := w.Last().Level; l != 0 {
			step = min(step, l.Size())
		}
		offset += step
	}
	return s
}
