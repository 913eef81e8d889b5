package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// group256 handles one group, in which everything but the pages of the class must be left alone, or can be handled one
// at a time. If it has pages of another class, that becomes the class.
func (s *change) group256() {
	const quads = group / quad
	Label("group_again")
	kind := GP64()
	MOVQ(s.class("kind"), kind)
	MOVQ(U32(0xffffffff), s.not)
	TESTQ(U32(kindNone), kind)
	JNE(LabelRef("foreign"))
	TESTQ(U32(kindFrames), kind)
	JEQ(LabelRef("partly"))
	s.differ256(quads)
	JEQ(LabelRef("frames"))
	JMP(LabelRef("foreign"))

	Label("partly")
	Comment("What is of the class, and what are the others?")
	in, rest, zero := GP64(), YMM(), YMM()
	XORQ(in, in)
	VPXOR(zero, zero, zero)
	VPXOR(rest, rest, rest)
	member := func(i int) (e, m reg.VecVirtual) {
		e, m = YMM(), YMM()
		VMOVDQU(s.quad(s.pos, i), e)
		VPXOR(e, s.ref, m)
		VPAND(s.rel, m, m)
		VPCMPEQQ(zero, m, m)
		return e, m
	}
	for i := quads - 1; i >= 0; i-- {
		e, m := member(i)
		bits := GP64()
		VMOVMSKPD(m, bits.As32())
		VPANDN(e, m, e)
		VPOR(e, rest, rest)
		SHLQ(U8(quad), in)
		ORL(bits.As32(), in.As32())
	}
	XORQ(in, s.not)
	filled := constant256(s.own("filled"))
	MOVQ(U32(0), s.pending)
	VPTEST(filled, rest)
	JNE(LabelRef("partly_others"))
	Label("partly_install")
	CMPQ(s.own("install"), U8(0))
	JEQ(LabelRef("partly_change"))
	TESTQ(s.not, s.not)
	JNE(LabelRef("mixed"))

	Label("partly_change")
	MOVB(U8(1), s.backoff)
	pages := GP64()
	POPCNTQ(in, pages)
	IMULQ(s.class("add"), pages)
	ADDQ(pages, s.count)
	MOVQ(s.class("kind"), kind)
	TESTQ(U32(kindStore), kind)
	JEQ(LabelRef("partly_stored"))
	form := s.forms256(kind)
	for i := range quads {
		e, m := member(i)
		v := YMM()
		f := s.form256(e)
		VPAND(s.repeated("moved"), f, f)
		VPANDN(e, s.rel, v)
		VPXOR(s.xor, v, v)
		VPXOR(f, v, v)
		VPBLENDVB(m, v, e, v)
		VMOVDQU(v, s.quad(s.pos, i))
	}
	TESTQ(U32(kindFlush), kind)
	JEQ(LabelRef("partly_stored"))
	TESTQ(U32(kindSplit), kind)
	JEQ(LabelRef("partly_flush"))
	ANDQ(form, in)
	Label("partly_flush")
	s.flushed(in, s.pos)
	Label("partly_stored")
	left := GP64()
	MOVQ(s.pending, left)
	s.others256(s.pos, left)
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	TESTQ(s.not, s.not)
	JNE(LabelRef("group"))
	JMP(LabelRef("dispatch"))

	Label("partly_others")
	exists := constant256(s.pte("Exists"))
	VPTEST(exists, rest)
	JNE(LabelRef("foreign"))
	CMPQ(s.own("swap"), U8(0))
	JEQ(LabelRef("partly_change"))
	Comment("Which entries that are no pages have a type that can change?")
	sw := Dereference(s.c.Field("swap"))
	shift, ones, touch := XMM(), constant256(one()), constant256(mem(sw.Field("Touch")))
	VMOVQ(mem(sw.Field("TypeShift")), shift)
	MOVQ(U32(0), left)
	for i := quads - 1; i >= 0; i-- {
		e, m := member(i)
		t, bits := YMM(), GP64()
		VPAND(filled, e, t)
		VPCMPEQQ(zero, t, t)
		VPOR(t, m, m)
		VPSRLQ(shift, e, t)
		VPSLLVQ(t, ones, t)
		VPAND(touch, t, t)
		VPCMPEQQ(zero, t, t)
		VPOR(t, m, m)
		VMOVMSKPD(m, bits.As32())
		SHLQ(U8(quad), left)
		ORL(bits.As32(), left.As32())
	}
	NOTL(left.As32())
	MOVQ(left, s.pending)
	JMP(LabelRef("partly_install"))

	Comment("Make a class of the first page that is not of the class.")
	s.mayClassify()
	e, lane := GP64(), GP64()
	CMPL(s.not.As32(), I8(-1))
	SETNE(s.together)
	Label("foreign_next")
	TESTQ(s.not, s.not)
	JEQ(LabelRef("mixed"))
	lowest(s.not, lane)
	BTRQ(lane, s.not)
	ADDQ(s.pos, lane)
	MOVQ(Mem{Base: s.t, Index: lane, Scale: 8}, e)
	TESTQ(e, s.pte("Exists"))
	JEQ(LabelRef("foreign_next"))
	MOVQ(e, left)
	XORQ(s.class("ref"), left)
	TESTQ(left, s.class("rel"))
	JEQ(LabelRef("foreign_next"))
	INCB(s.fresh)
	s.classify(e)
	s.reload()
	TESTQ(U32(kindNone), s.class("kind"))
	JEQ(LabelRef("group_again"))
	Label("in_vain")
	MOVB(U8(0), s.tries)
	JMP(LabelRef("mixed"))
}

// forms256 returns the pages of the group that need a flush, of those of the class, if kind is kindSplit.
func (s *change) forms256(kind reg.GPVirtual) reg.GPVirtual {
	one, form := label("one_form"), zeroed()
	TESTQ(U32(kindSplit), kind)
	JEQ(LabelRef(one))
	s.joinForms(form)
	XORQ(s.class("split"), form)
	Label(one)
	return form
}

// joinForms sets form, which is 0, to the entries of the group that have the bit free.
func (s *change) joinForms(form reg.GPVirtual) {
	for i := group/quad - 1; i >= 0; i-- {
		e := YMM()
		VMOVDQU(s.quad(s.pos, i), e)
		join(s.form256(e), form)
	}
}
