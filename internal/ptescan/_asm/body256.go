package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pair is a line: two registers.
type pair [2]reg.VecVirtual

func ymms() pair { return pair{YMM(), YMM()} }

// constant256 fills a new register with the word at m.
func constant256(m Mem) reg.VecVirtual {
	y := YMM()
	VPBROADCASTQ(m, y)
	return y
}

// signs joins the signs of the lanes of a line: a byte.
func signs(p pair) reg.GPVirtual {
	lo, hi := zeroed(), GP64()
	VMOVMSKPD(p[0], lo.As32())
	VMOVMSKPD(p[1], hi.As32())
	SHLL(U8(quad), hi.As32())
	ORL(hi.As32(), lo.As32())
	return lo
}

// body256 decides for each entry of the line at entry at, of those whose bits in act are set if given.
func (s *change) body256(at reg.GPVirtual, act *reg.GPVirtual) {
	upgrade, merge, stored := label("upgrade"), label("merge"), label("stored")
	old, v, skip, valid := ymms(), ymms(), ymms(), ymms()
	zero, t := YMM(), YMM()
	flush, candidates, pages := zeroed(), zeroed(), GP64()
	for i := range old {
		VMOVDQU(s.quad(at, i), old[i])
	}
	MOVQ(s.touched256(old, act), s.pending)
	Comment("Skip what is no page to be changed.")
	VPXOR(zero, zero, zero)
	c := constant256(s.pte("Select"))
	for i := range old {
		VPAND(c, old[i], t)
		VPCMPEQQ(zero, t, skip[i])
	}
	if act != nil {
		s.deactivate(*act, skip, t)
	}
	MOVQ(signs(skip), pages)
	NOTL(pages.As32())
	ANDQ(U32(0xff), pages)
	POPCNTQ(pages, pages)
	ADDQ(pages, s.count)

	Comment("Change all, as if all were pages.")
	c = constant256(s.pte("Keep"))
	for i := range old {
		VPAND(c, old[i], v[i])
	}
	c = constant256(s.own("set"))
	for i := range old {
		VPXOR(c, v[i], v[i])
	}
	c = constant256(s.pte("Valid"))
	for i := range old {
		VPAND(c, old[i], valid[i])
		VPCMPEQQ(c, valid[i], valid[i])
	}
	c = constant256(s.pte("Invert"))
	for i := range old {
		VPAND(c, valid[i], t)
		VPXOR(t, v[i], v[i])
	}
	moved := ymms()
	c = constant256(s.pte("MoveWant"))
	for i := range old {
		VPXOR(c, old[i], moved[i])
	}
	c = constant256(s.pte("MoveMask"))
	for i := range old {
		VPAND(c, moved[i], moved[i])
		VPCMPEQQ(zero, moved[i], moved[i])
	}
	s.exchange(v, moved, "MoveFrom", "MoveTo")
	CMPQ(s.own("upgrade"), U8(0))
	JNE(LabelRef(upgrade))

	Label(merge)
	acc, diff := YMM(), ymms()
	for i := range old {
		VPBLENDVB(skip[i], old[i], v[i], v[i])
		VPXOR(v[i], old[i], diff[i])
	}
	VPOR(diff[0], diff[1], acc)
	VPTEST(acc, acc)
	JEQ(LabelRef(stored))
	for i := range old {
		VMOVDQU(v[i], s.quad(at, i))
	}
	Comment("Who needs a flush?")
	c = constant256(s.pte("FlushCleared"))
	for i := range old {
		VPAND(c, old[i], t)
		c2 := constant256(s.pte("FlushChanged"))
		VPOR(c2, t, t)
		VPAND(t, diff[i], t)
		VPCMPEQQ(zero, t, t)
		VPANDN(valid[i], t, valid[i])
	}
	ORQ(signs(valid), flush)
	Label(stored)

	one := label("no_candidates")
	TESTQ(candidates, candidates)
	JEQ(LabelRef(one))
	s.candidates(at, candidates, flush)
	Label(one)
	s.flushed(flush, at)
	others := GP64()
	MOVQ(s.pending, others)
	s.others256(at, others)

	after := label("line_done")
	JMP(LabelRef(after))
	Label(upgrade)
	s.upgrades256(v, skip, zero, candidates, merge)
	Label(after)
}

// exchange replaces the bits from by the bits to in the lanes of m.
func (s *change) exchange(v, m pair, from, to string) {
	t := YMM()
	c := constant256(s.pte(from))
	for i := range v {
		VPAND(c, m[i], t)
		VPANDN(v[i], t, v[i])
	}
	c = constant256(s.pte(to))
	for i := range v {
		VPAND(c, m[i], t)
		VPOR(t, v[i], v[i])
	}
}

// deactivate adds the lanes whose bits in act are clear to skip.
func (s *change) deactivate(act reg.GPVirtual, skip pair, t reg.VecVirtual) {
	x, b := XMM(), YMM()
	VMOVQ(act, x)
	VPBROADCASTQ(x, b)
	for i, lanes := range []uint64{0x08040201, 0x80402010} {
		m := YMM()
		VPMOVZXBQ(constant("lanes"+string(rune('0'+i)), lanes), m)
		VPAND(m, b, t)
		VPCMPEQQ(m, t, t)
		VPCMPEQQ(m, m, m)
		VPANDN(m, t, t)
		VPOR(t, skip[i], skip[i])
	}
}

// upgrades256 finds the write candidates. It makes them writable if all may be, or else adds them to skip, for
// candidates to deal with. It ends with a jump to merge.
func (s *change) upgrades256(v, skip pair, zero reg.VecVirtual, found reg.GPVirtual, merge string) {
	t, w := YMM(), ymms()
	c := constant256(s.pte("WritableMask"))
	for i := range v {
		VPAND(c, v[i], w[i])
	}
	c = constant256(s.pte("WritableWant"))
	for i := range v {
		VPCMPEQQ(c, w[i], w[i])
	}
	c = constant256(s.own("any"))
	for i := range v {
		VPAND(c, v[i], t)
		VPCMPEQQ(zero, t, t)
		VPANDN(w[i], t, w[i])
		VPANDN(w[i], skip[i], w[i])
	}
	all := label("all")
	CMPQ(s.own("upgrade"), U8(2))
	JEQ(LabelRef(all))
	for i := range v {
		VPOR(w[i], skip[i], skip[i])
	}
	MOVQ(signs(w), found)
	JMP(LabelRef(merge))

	Label(all)
	m := ymms()
	c = constant256(s.pte("UpgradeFrom"))
	for i := range v {
		VPAND(c, v[i], m[i])
		VPCMPEQQ(zero, m[i], m[i])
		VPANDN(w[i], m[i], m[i])
	}
	s.exchange(v, m, "UpgradeFrom", "UpgradeTo")
	c = constant256(s.pte("UpgradeSet"))
	for i := range v {
		VPAND(c, w[i], t)
		VPOR(t, v[i], v[i])
	}
	JMP(LabelRef(merge))
}

// candidates decides about the write candidates of a line, one at a time, and adds those that need a flush.
func (s *change) candidates(at, left, flush reg.GPVirtual) {
	next, ask, write, same := label("candidate"), label("ask"), label("write"), label("same_candidate")
	done := label("candidates_done")
	lane, e, v, tmp := GP64(), GP64(), GP64(), GP64()
	Label(next)
	lowest(left, lane)
	BTRQ(lane, left)
	CMPQ(s.own("bits"), U8(0))
	JEQ(LabelRef(ask))
	ADDQ(at, lane)
	MOVQ(Mem{Base: s.t, Index: lane, Scale: 8}, e)
	SUBQ(at, lane)
	s.transform(e, v, tmp)
	frame, word := GP64(), GP64()
	MOVQ(v, frame)
	s.frameBit(frame)
	CMPQ(frame, s.own("size"))
	JAE(LabelRef(ask))
	MOVQ(frame, word)
	SHRQ(U8(6), word)
	MOVQ(s.own("bits"), tmp)
	MOVQ(Mem{Base: tmp, Index: word, Scale: 8}, word)
	BTQ(frame, word)
	JCC(LabelRef(write))
	s.mkWrite(v)
	Label(write)
	CMPQ(v, e)
	JEQ(LabelRef(same))
	ADDQ(at, lane)
	MOVQ(v, Mem{Base: s.t, Index: lane, Scale: 8})
	SUBQ(at, lane)
	kind := GP64()
	s.verdict(e, v, kind)
	SHRQ(U8(1), kind)
	SHLXQ(lane, kind, kind)
	ORQ(kind, flush)
	JMP(LabelRef(same))

	Label(ask)
	bit := GP64()
	MOVQ(U32(1), bit)
	SHLXQ(lane, bit, bit)
	s.ask(bit, at)
	Label(same)
	TESTQ(left, left)
	JNE(LabelRef(next))
	Label(done)
}

// touched256 returns the entries of a line that are not pages and that can change, of those in act if given.
func (s *change) touched256(old pair, act *reg.GPVirtual) reg.GPVirtual {
	done, none, left := label("no_others"), label("no_install"), zeroed()
	CMPQ(s.own("swap"), U8(0))
	JEQ(LabelRef(done))
	sw := Dereference(s.c.Field("swap"))
	Comment("Which entries that are no pages have a type that can change?")
	zero, shift, hit, empty, page := YMM(), XMM(), ymms(), ymms(), ymms()
	VPXOR(zero, zero, zero)
	VMOVQ(mem(sw.Field("TypeShift")), shift)
	exists, filled := constant256(s.pte("Exists")), constant256(s.own("filled"))
	ones, touch := constant256(one()), constant256(mem(sw.Field("Touch")))
	for i := range hit {
		e := old[i]
		VPAND(exists, e, page[i])
		VPCMPEQQ(zero, page[i], page[i])
		VPAND(filled, e, empty[i])
		VPCMPEQQ(zero, empty[i], empty[i])
		VPSRLQ(shift, e, hit[i])
		VPSLLVQ(hit[i], ones, hit[i])
		VPAND(touch, hit[i], hit[i])
		VPCMPEQQ(zero, hit[i], hit[i])
		VPANDN(page[i], hit[i], hit[i])
		VPANDN(hit[i], empty[i], hit[i])
	}
	MOVQ(signs(hit), left)
	CMPQ(s.own("install"), U8(0))
	JEQ(LabelRef(none))
	ORQ(signs(empty), left)
	Label(none)
	if act != nil {
		a := GP64()
		MOVQ(*act, a)
		ANDQ(a, left)
	}
	Label(done)
	return left
}

// others256 handles the entries of the line that are not pages and that can change. It does so after the pages, which
// it leaves alone.
func (s *change) others256(at, left reg.GPVirtual) {
	done, next := label("others_done"), label("other")
	TESTQ(left, left)
	JEQ(LabelRef(done))
	sw := Dereference(s.c.Field("swap"))
	Label(next)
	full, keep, store, last := label("full"), label("keep"), label("put"), label("last_other")
	lane, e, typ, v := GP64(), GP64(), GP64(), GP64()
	lowest(left, lane)
	BTRQ(lane, left)
	ADDQ(at, lane)
	MOVQ(Mem{Base: s.t, Index: lane, Scale: 8}, e)
	TESTQ(e, s.own("filled"))
	JNE(LabelRef(full))
	MOVQ(s.own("install"), v)
	JMP(LabelRef(store))
	Label(full)
	MOVQ(mem(sw.Field("TypeShift")), v)
	SHRXQ(v, e, typ)
	MOVQ(mem(sw.Field("Ask")), v)
	BTQ(typ, v)
	notAsked := label("not_asked")
	JCC(LabelRef(notAsked))
	SUBQ(at, lane)
	MOVQ(U32(1), v)
	SHLXQ(lane, v, v)
	s.ask(v, at)
	JMP(LabelRef(last))
	Label(notAsked)
	MOVQ(mem(sw.Field("Drop")), v)
	BTQ(typ, v)
	JCC(LabelRef(keep))
	MOVQ(mem(sw.Field("DropMask")), v)
	ANDQ(e, v)
	CMPQ(v, mem(sw.Field("DropWant")))
	JNE(LabelRef(keep))
	XORQ(v, v)
	JMP(LabelRef(store))
	Label(keep)
	table := mem(sw.Field("Keep").Index(0))
	table.Index, table.Scale = typ, 8
	MOVQ(e, v)
	ANDQ(table, v)
	table = mem(sw.Field("Xor").Index(0))
	table.Index, table.Scale = typ, 8
	XORQ(table, v)
	CMPQ(v, e)
	JEQ(LabelRef(last))
	Label(store)
	MOVQ(v, Mem{Base: s.t, Index: lane, Scale: 8})
	MOVQ(U32(1), v)
	SHLQ(U8(32), v)
	ADDQ(v, s.count)
	Label(last)
	TESTQ(left, left)
	JNE(LabelRef(next))
	Label(done)
}
