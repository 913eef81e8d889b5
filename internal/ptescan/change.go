package ptescan

import (
	"math/bits"

	"ptemu/arch/x86"
)

// Exclusive tells which frames belong to one process alone (PageAnonExclusive): bit i of Bits is frame Base+i. A nil
// Bits knows nothing.
type Exclusive struct {
	Bits []uint64
	Base x86.PFN
}

// Change is a change of entries, ready for the kernels. Make it with [NewChange], once for any number of tables. It
// learns from the tables that it is applied to, so each goroutine needs a copy of its own.
type Change struct {
	pte  x86.PTEChange
	swap *x86.SwapChange // nil: entries that are not pages stay
	bits *uint64         // exclusive frames, nil if unknown
	base uint64          // their first frame
	size uint64          // their number

	// Derived, for the vector kernels.
	set     uint64 // what to xor old&Keep with, if old lacks Valid
	filled  uint64 // bits of which an entry that is not empty has one
	any     uint64 // WritableAny, or all bits if there is no such condition
	install uint64 // swap.Install
	upgrade uint64 // pte.Upgrade
	loud    uint64 // an entry that is no page and less than this stays
	// Without upgrades, a change of an old page with Valid needs a flush if the page differs from flushWant in a bit of
	// flushMask.
	flushMask, flushWant uint64

	level     Level
	exclusive []uint64

	// What each table needs lies together, so that it stays in the cache.
	deciding uint64 // bits of a page that decide about it or change
	class    class
	other    other
}

// class is what the vector kernels learned about the pages that they met: old pages whose bits rel are those of ref. They
// come in two forms, with and without the bit free: often a table mixes clean and dirty pages, and what becomes of them
// differs little. Where free is 0 there is one form. Pages turn into old ^ flip, which is old&^rel ^ xor, and those with
// free into that ^ moved. Tables that follow each other mostly hold pages of one class.
type class struct {
	ref, rel, xor uint64

	kind  uint64 // see _asm
	add   uint64 // 1 if such pages count
	path  uint64 // how the last group was changed: see _asm
	split uint64 // for kindSplit: 0 if only pages with free need a flush, or else all ones

	// Where it depends on the frame whether such a page becomes writable, of those with a bit of need: what else to
	// xor then, and kind if it does not and if it does.
	need, upXor, noKind, upKind uint64

	// One word each, as often as AVX2 needs it. upMoved is what more to xor if a page with free becomes writable.
	flip, free, moved, upMoved [4]uint64
}

// other is what they learned about entries that are neither page nor empty: those whose bits rel are those of ref turn
// into old ^ flip.
type other struct {
	ref, rel, flip uint64
	add            uint64 // 1 if such entries count as rewritten
}

// noClass is class.kind before any page was met.
const noClass = 8

// NewChange prepares a change of pages, and of what is neither page nor empty (nil: leave it). The exclusive frames
// answer for the caller where p.Upgrade is x86.UpgradeAsk; frames outside are asked about.
func NewChange(p x86.PTEChange, s *x86.SwapChange, e Exclusive) Change {
	c := Change{pte: p, swap: s, filled: ^p.Stray, any: p.WritableAny, class: class{kind: noClass},
		other: other{rel: ^uint64(0)}, loud: loud(s)}
	if s != nil {
		c.install = s.Install
	}
	c.set, c.upgrade = p.Set, uint64(p.Upgrade)
	if p.Set&p.Valid != 0 {
		c.set ^= p.Invert
	}
	c.deciding = p.Exists | p.Select | p.Valid | ^p.Keep | p.MoveMask | p.MoveFrom | p.MoveTo
	if p.Upgrade != x86.UpgradeNone {
		c.deciding |= p.WritableMask | p.WritableAny | p.UpgradeFrom | p.UpgradeTo | p.UpgradeSet
	}
	c.class.rel = c.deciding
	c.level = level
	if p.Blank != 0 || !c.deriveFlush() {
		c.level = Generic // too strange for the others
	}
	if c.any == 0 {
		c.any = ^uint64(0)
	}
	if p.Upgrade == x86.UpgradeAsk && len(e.Bits) > 0 && p.Set&p.Valid != 0 {
		c.bits, c.base, c.size = &e.Bits[0], uint64(e.Base), uint64(len(e.Bits))*64
		c.exclusive = e.Bits
	}
	return c
}

// loud returns the least entry that s may change, as far as types tell. It has Exists bits, which no such entry has, if
// s changes nothing.
func loud(s *x86.SwapChange) uint64 {
	switch {
	case s == nil || s.Install == 0 && s.Touch == 0:
		return ^uint64(0)
	case s.Install != 0:
		return 0
	}
	return max(1, uint64(bits.TrailingZeros32(uint32(s.Touch)))<<s.TypeShift)
}

// deriveFlush works out flushMask and flushWant. It fails for a change of which they cannot tell, which none is that
// arch/x86 makes.
func (c *Change) deriveFlush() bool {
	p := &c.pte
	c.flushMask = p.FlushChanged&^p.Keep | p.FlushCleared&^p.Keep&^p.Set
	c.flushWant = p.Set & c.flushMask
	if (p.MoveFrom|p.MoveTo)&p.FlushChanged != 0 || p.MoveTo&p.FlushCleared&^p.Keep != 0 {
		return false
	}
	if cleared := p.MoveFrom & p.FlushCleared & p.Keep; cleared != 0 {
		if p.MoveMask == cleared && p.MoveWant == cleared {
			c.flushMask |= cleared
		} else {
			// What moves must need the flush anyway.
			return (p.MoveWant^c.flushWant)&p.MoveMask&c.flushMask != 0
		}
	}
	return true
}

// Changed says what a change of one table came to.
type Changed struct {
	// Ask has the entries that were left as they are because the caller must decide: pages that may become
	// writable (they count in Present), and other entries of the types in SwapChange.Ask (they do not count).
	Ask Bitmap
	// Present is the number of pages, changed or not; Rewritten that of other entries that changed. The kernel
	// counts both.
	Present   uint64
	Rewritten uint64
	// First and Last enclose the entries whose change a processor must be told of. First > Last: there is none.
	First, Last int64
	// Asked reports that Ask is not empty.
	Asked uint64
}

// Apply changes the entries first to last of t. With only, entries whose bit is clear are left alone and not counted.
// next is the table that will be changed next, or nil: it is fetched into the cache meanwhile, which helps where the
// tables lie in memory and costs a little where they are in a cache.
func (c *Change) Apply(t *Table, first, last int, only *Bitmap, next *Table, r *Changed) {
	_, _ = t[first], t[last]
	if first > last {
		*r = Changed{First: int64(len(t)), Last: -1}
		return
	}
	annotateWrite(t, first, last)
	if first == last { // not worth a vector
		c.applyGeneric(t, first, last, only, r)
		return
	}
	switch c.level {
	case AVX512:
		changeAVX512(t, uint64(first), uint64(last), only, next, c, r)
	case AVX2:
		changeAVX2(t, uint64(first), uint64(last), only, next, c, r)
	default:
		c.applyGeneric(t, first, last, only, r)
	}
}

// applyGeneric is what the vector kernels do.
func (c *Change) applyGeneric(t *Table, first, last int, only *Bitmap, r *Changed) {
	*r = Changed{First: int64(len(t)), Last: -1}
	p := &c.pte
	for i := first; i <= last; i++ {
		old := t[i]
		switch {
		case only != nil && !only.Has(i):
		case old&p.Select != 0:
			r.Present++
			v := p.Apply(old)
			if p.Writable(v) {
				upgrade, known := c.mayWrite(v)
				if !known {
					r.ask(i)
					continue
				}
				if upgrade {
					v = p.MkWrite(v)
				}
			}
			if v != old {
				t[i] = v
			}
			if p.NeedsFlush(old, v) {
				r.First = min(r.First, int64(i))
				r.Last = int64(i)
			}
		case c.swap != nil && old&p.Exists == 0:
			c.applySwap(t, i, r)
		}
	}
}

// mayWrite says whether the write candidate v becomes writable, if that is known.
func (c *Change) mayWrite(v uint64) (yes, known bool) {
	if c.pte.Upgrade == x86.UpgradeAll {
		return true, true
	}
	if n := v&c.pte.Frame>>c.pte.FrameShift - c.base; n < c.size {
		return c.exclusive[n>>6]>>(n&63)&1 != 0, true
	}
	return false, false
}

// applySwap changes entry i, which is not a page.
func (c *Change) applySwap(t *Table, i int, r *Changed) {
	old := t[i]
	if old&c.filled == 0 {
		if c.install != 0 {
			t[i] = c.install
			r.Rewritten++
		}
		return
	}
	v, ask := c.swap.Apply(old)
	switch {
	case ask:
		r.ask(i)
	case v != old:
		t[i] = v
		r.Rewritten++
	}
}

func (r *Changed) ask(i int) {
	r.Ask.Set(i)
	r.Asked = 1
}
