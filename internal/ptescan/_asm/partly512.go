package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// partly changes groups in which everything but the pages of the class is left alone.
func (s *change) partly() {
	Label("partly")
	s.load()
	Label("partly_again")
	Comment("What is not of the class?")
	var k [4]reg.OpmaskVirtual
	rest := ZMM()
	for i := range k {
		t := ZMM()
		k[i] = K()
		VPXORQ(s.old[i], s.ref, t)
		VPTESTMQ(t, s.rel, k[i])
		if i == 0 {
			VMOVDQA64_Z(s.old[i], k[i], rest)
		} else {
			VPORQ(s.old[i], rest, k[i], rest)
		}
	}
	MOVQ(pack(4, func(i int) reg.OpmaskVirtual { return k[i] }), s.not)
	any := K()
	VPTESTMQ_BCST(s.own("filled"), rest, any)
	KORTESTB(any, any)
	JNE(LabelRef("partly_others"))
	CMPQ(s.own("install"), U8(0))
	JNE(LabelRef("partly_install"))

	Label("partly_change")
	MOVB(U8(1), s.backoff)
	n := GP64()
	MOVQ(U32(0xffffffff), n)
	XORQ(s.not, n)
	pages := GP64()
	POPCNTQ(n, pages)
	IMULQ(s.class("add"), pages)
	ADDQ(pages, s.count)
	kind := GP64()
	MOVQ(s.class("kind"), kind)
	ORB(s.dirty, kind.As8())
	TESTQ(U32(kindStore), kind)
	JEQ(LabelRef("partly_stored"))
	for i := range k {
		t := ZMM()
		VMOVDQA64(s.old[i], t)
		tern(t, s.rel, s.xor, clrXor)
		s.move(t, nil)
		VMOVDQA64(s.old[i], k[i], t)
		VMOVDQU64(t, s.line(s.pos, i))
	}
	MOVB(U8(0), s.dirty)
	TESTQ(U32(kindFlush), kind)
	JEQ(LabelRef("partly_stored"))
	TESTQ(U32(kindSplit), kind)
	JNE(LabelRef("partly_split"))
	s.flushed(n, s.pos)
	Label("partly_stored")
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	TESTL(s.not.As32(), s.not.As32())
	JNE(LabelRef("partly_next"))
	JMP(LabelRef("dispatch"))

	Comment("Only one form needs a flush.")
	Label("partly_split")
	form := pack(4, func(i int) reg.OpmaskVirtual { return test(s.free, s.old[i], nil) })
	XORQ(s.class("split"), form)
	ANDQ(form, n)
	s.flushed(n, s.pos)
	ADDQ(U8(group), s.pos)
	JMP(LabelRef("dispatch"))

	Label("partly_install")
	TESTL(s.not.As32(), s.not.As32())
	JEQ(LabelRef("partly_change"))
	JMP(LabelRef("mixed"))

	Label("partly_others")
	VPTESTMQ_BCST(s.pte("Exists"), rest, any)
	KORTESTB(any, any)
	JNE(LabelRef("foreign"))
	CMPQ(s.own("swap"), U8(0))
	JEQ(LabelRef("partly_change"))
	Comment("Entries that are no pages: can any of their types change? Empty ones pass for type 0.")
	sw := Dereference(s.c.Field("swap"))
	shift, ones, types := XMM(), broadcast512(one()), ZMM()
	VMOVQ(mem(sw.Field("TypeShift")), shift)
	var typ [4]reg.VecVirtual
	for i := range k {
		typ[i] = ZMM()
		VPSRLQ(shift, s.old[i], typ[i])
		VPSLLVQ(typ[i], ones, typ[i])
		if i == 0 {
			VMOVDQA64_Z(typ[i], k[i], types)
		} else {
			VPORQ(typ[i], types, k[i], types)
		}
	}
	VPTESTMQ_BCST(mem(sw.Field("Touch")), types, any)
	KORTESTB(any, any)
	JEQ(LabelRef("partly_change"))
	Comment("Do all that can change follow the common rule?")
	CMPQ(s.own("install"), U8(0))
	JNE(LabelRef("mixed"))
	VPTESTMQ_BCST(mem(sw.Field("Uncommon")), types, any)
	KORTESTB(any, any)
	JNE(LabelRef("mixed"))
	filled, touch := broadcast512(s.own("filled")), broadcast512(mem(sw.Field("Touch")))
	keep, xor := broadcast512(mem(sw.Field("CommonKeep"))), broadcast512(mem(sw.Field("CommonXor")))
	changed := pack(4, func(i int) reg.OpmaskVirtual {
		v, m := ZMM(), K()
		VPTESTMQ(filled, s.old[i], k[i], m)
		VPTESTMQ(touch, typ[i], m, m)
		VMOVDQA64(s.old[i], v)
		tern(v, keep, xor, andXor, m)
		VPCMPUQ(U8(cmpDiffers), v, s.old[i], m)
		VMOVDQA64(v, s.old[i])
		return m
	})
	TESTQ(changed, changed)
	JEQ(LabelRef("partly_change"))
	MOVB(U8(kindStore), s.dirty)
	s.rewritten(changed)
	JMP(LabelRef("partly_change"))
}

// foreign makes a class of the first page of the group that is not of the class, and goes back to try it: once a
// group, once more if the class has one form only, and until that fails.
func (s *change) foreign() {
	Label("no_class")
	MOVQ(pack(4, func(i int) reg.OpmaskVirtual {
		t := ZMM()
		VPXORQ(s.old[i], s.ref, t)
		return test(s.rel, t, nil)
	}), s.not)
	s.mayClassify()
	e := GP64()
	exists := broadcast512(s.pte("Exists"))
	pages := pack(4, func(i int) reg.OpmaskVirtual { return test(exists, s.old[i], nil) })
	MOVQ(pages, e)
	ANDQ(s.not, pages)
	JEQ(LabelRef("mixed"))
	CMPQ(pages, e)
	SETNE(s.together)
	INCB(s.fresh)
	lowest(pages, e)
	ADDQ(s.pos, e)
	MOVQ(s.line(e, 0), e)

	s.classify(e)
	s.reload()
	Comment("Start over with this group.")
	kind := GP64()
	MOVQ(s.class("kind"), kind)
	TESTQ(U32(kindNone), kind)
	JNE(LabelRef("mixed"))
	TESTQ(U32(kindFrames), kind)
	JEQ(LabelRef("partly_again"))
	JMP(LabelRef("dispatch"))

	Label("in_vain")
	MOVB(U8(0), s.tries)
	JMP(LabelRef("mixed"))
}
