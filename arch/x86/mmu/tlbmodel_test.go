package mmu_test

import (
	"fmt"
	"maps"
	"slices"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// The model of a processor with caches: plain maps from page numbers to the whole list of entries that were used,
// and the SDM's rules on what is cached, used and dropped. It shares only the register values with the package.
// Rights are judged by the oracle of oracle_test.go, on the entries as they were when they were used.

// cell names what is cached: by tag (0 for global), the number of the structure whose entry was the last used, and
// the address bits that picked the entries.
type cell struct {
	tag    mmu.Tag
	number int
	page   uint64
}

func cellOf(tag mmu.Tag, number int, va uint64) cell {
	return cell{tag, number, va >> (12 + 9*(number-1))}
}

type cpuModel struct {
	s        state
	mem      ram
	spurious bool
	tlb, psc map[cell]translation
	seen     map[string]int // what the run came across
}

// cached returns the translation that answers for va: the smallest, the tag's own first.
func (c *cpuModel) cached(tag mmu.Tag, va uint64) (translation, bool) {
	for _, k := range []mmu.Tag{tag, 0} {
		for number := 1; number <= 3; number++ {
			if tr, ok := c.tlb[cellOf(k, number, va)]; ok {
				lowest := 12 + 9*(number-1)
				tr.physical = c.s.field(tr.leaf().value, 51, lowest) + va%(1<<lowest)
				return tr, true
			}
		}
	}
	return translation{}, false
}

func (c *cpuModel) dropPage(tag mmu.Tag, va uint64) {
	for number := 1; number <= 3; number++ {
		delete(c.tlb, cellOf(tag, number, va))
		delete(c.tlb, cellOf(0, number, va))
	}
}

func (c *cpuModel) faulted(tag mmu.Tag, va uint64) {
	c.dropPage(tag, va)
	for number := 2; number <= 5; number++ {
		delete(c.psc, cellOf(tag, number, va))
	}
}

// access returns what an access does, in words.
func (c *cpuModel) access(tag mmu.Tag, cr3, va uint64, a mmu.Access) string {
	writing := a.Kind == mmu.Write || a.Kind == mmu.ShadowWrite
	if tr, ok := c.cached(tag, va); ok {
		permitted := c.s.permitted(tr, a)
		c.seen[fmt.Sprintf("cached, size %d, global %t", tr.leaf().number, tr.leaf().flag(8))]++
		if permitted && (!writing || tr.leaf().flag(6)) {
			return fmt.Sprintf("%#x", tr.physical)
		}
		if !permitted && c.spurious {
			c.seen["spurious fault"]++
			c.faulted(tag, va)
			return fmt.Sprintf("#PF %#x", c.s.errorCode(tr, a))
		}
		c.seen[fmt.Sprintf("walk again, refused %t", !permitted)]++
		c.dropPage(tag, va)
	}
	var begin translation
	for number := 5; number >= 2; number-- {
		if tr, ok := c.psc[cellOf(tag, number, va)]; ok {
			begin = tr
		}
	}
	tr := c.translate(begin, cr3, va)
	c.seen[fmt.Sprintf("%d levels in advance", len(begin.used))]++
	if tr.unreadable {
		return "unreadable"
	}
	denied := tr.notPresent || tr.reserved || !c.s.permitted(tr, a)
	c.setAccessed(&tr, len(begin.used), denied, writing)
	if !denied {
		c.fill(tag, va, tr, len(begin.used))
		return fmt.Sprintf("%#x", tr.physical)
	}
	c.faulted(tag, va)
	if len(begin.used) > 0 && !c.spurious {
		c.seen["walk again from the root"]++
		return c.access(tag, cr3, va, a)
	}
	return fmt.Sprintf("#PF %#x", c.s.errorCode(tr, a))
}

// translate goes on where begin ended.
func (c *cpuModel) translate(begin translation, cr3, va uint64) translation {
	tr := translation{used: slices.Clone(begin.used), places: slices.Clone(begin.places)}
	table, number := c.s.field(cr3, 51, 12), c.s.levels
	if n := len(tr.used); n > 0 {
		table, number = c.s.field(tr.used[n-1].value, 51, 12), tr.used[n-1].number-1
	}
	for ; ; number-- {
		lowest := 12 + 9*(number-1)
		at := table + va>>lowest%512*8
		if c.mem[x86.PFN(at>>12)] == nil {
			tr.unreadable = true
			return tr
		}
		e := entry{c.mem.get(at), number}
		tr.used, tr.places = append(tr.used, e), append(tr.places, at)
		if tr.notPresent = !e.flag(0); tr.notPresent {
			return tr
		}
		if tr.reserved = c.s.setsReserved(e); tr.reserved {
			return tr
		}
		if e.mapsPage() {
			tr.physical = c.s.field(e.value, 51, lowest) + va%(1<<lowest)
			return tr
		}
		table = c.s.field(e.value, 51, 12)
	}
}

// setAccessed sets A in the entries read from memory that led on, and in the leaf A, and D for a write.
func (c *cpuModel) setAccessed(tr *translation, from int, denied, writing bool) {
	last := len(tr.used) - 1
	for i := from; i <= last; i++ {
		bits := uint64(1 << 5)
		if i == last && denied {
			return
		}
		if i == last && writing {
			bits |= 1 << 6
		}
		tr.used[i].value |= bits
		c.mem.set(tr.places[i], c.mem.get(tr.places[i])|bits)
	}
}

// fill caches the translation, and each beginning of it that ends at a table and was read from memory.
func (c *cpuModel) fill(tag mmu.Tag, va uint64, tr translation, from int) {
	last := len(tr.used) - 1
	for i := from; i < last; i++ {
		k := cellOf(tag, tr.used[i].number, va)
		c.psc[k] = translation{used: slices.Clone(tr.used[:i+1]), places: tr.places[:i+1]}
	}
	if tr.used[last].flag(8) {
		tag = 0
	}
	c.tlb[cellOf(tag, tr.used[last].number, va)] = tr
}

// flushRange drops what maps any address from first to last: structures from number up, and tables if asked.
func (c *cpuModel) flushRange(tag mmu.Tag, first, last uint64, number int, tables bool) {
	meets := func(k cell) bool {
		lowest := 12 + 9*(k.number-1)
		return (k.tag == tag || k.tag == 0) && k.page >= first>>lowest && k.page <= last>>lowest
	}
	maps.DeleteFunc(c.tlb, func(k cell, _ translation) bool { return meets(k) && k.number >= number })
	maps.DeleteFunc(c.psc, func(k cell, _ translation) bool { return tables && meets(k) })
}

func (c *cpuModel) flushTag(tag mmu.Tag, globals bool) {
	drop := func(k cell, _ translation) bool { return k.tag == tag || globals && k.tag == 0 }
	maps.DeleteFunc(c.tlb, drop)
	maps.DeleteFunc(c.psc, drop)
}
