package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The AVX2 form of change has no path sparse. Constants come from memory where they are needed: there are 16 registers.
// Entries that are no pages, can change and are not alike, and write candidates in mixed groups, are handled one at a time.

// quad is the number of entries in a register.
const quad = 4

func (s *change) quad(at reg.Register, i int) Mem {
	return Mem{Base: s.t, Index: at, Scale: 8, Disp: 32 * i}
}

func change256() {
	TEXT("changeAVX2", 0, "func(t *Table, first, last uint64, only *Bitmap, next *Table, c *Change, r *Changed)")
	Pragma("noescape")
	Doc("changeAVX2 is Change.applyGeneric.")
	s := &change{c: Dereference(Param("c"))}
	s.prologue(func(r gotypes.Component) {
		zero, ask := YMM(), mem(r.Field("Ask").Index(0))
		VPXOR(zero, zero, zero)
		VMOVDQU(zero, ask)
		VMOVDQU(zero, ask.Offset(32))
	})

	s.ref, s.rel, s.xor = YMM(), YMM(), YMM()
	Label("begin")
	Label("dispatch")
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	s.reload()
	kind := GP64()
	MOVQ(s.class("kind"), kind)
	TESTQ(U32(kindFrames|kindNone|kindPath|kindSplit), kind)
	JNE(LabelRef("no_same"))
	MOVQ(s.pos, s.start)
	Comment("The end of the pairs of groups from pos on.")
	MOVQ(s.hi, s.even)
	SUBQ(s.pos, s.even)
	ANDQ(I8(-2*group), s.even)
	JEQ(LabelRef("group"))
	ADDQ(s.pos, s.even)
	TESTQ(U32(kindStore), kind)
	JEQ(LabelRef("unchanged"))
	CMPQ(s.repeated("moved"), U8(0))
	JNE(LabelRef("same_forms"))
	s.same256()
	s.sameForms256()
	s.pages256(kind)
	s.alike256()
	s.group256()
	s.frames256()
	s.mixed256()
	s.edge256()
	Label("done")
	s.epilogue()
}

// differ256 sets the flags to "not zero" if one of n quads of entries differs from the class in a bit of rel.
func (s *change) differ256(n int) {
	t, off := YMM(), YMM()
	for i := range n {
		if i == 0 {
			VPXOR(s.quad(s.pos, i), s.ref, off)
			continue
		}
		VPXOR(s.quad(s.pos, i), s.ref, t)
		VPOR(t, off, off)
	}
	VPTEST(s.rel, off)
}

// same256 changes pairs of groups whose pages are all of the class.
func (s *change) same256() {
	const quads = 2 * group / quad // of unchanged
	Label("same")
	for range 2 {
		var old [group / quad]reg.VecVirtual
		t, off := YMM(), YMM()
		s.fetch(group / 8)
		for i := range old {
			old[i] = YMM()
			VMOVDQU(s.quad(s.pos, i), old[i])
		}
		VPXOR(old[0], s.ref, off)
		for _, e := range old[1:] {
			VPXOR(e, s.ref, t)
			VPOR(t, off, off)
		}
		VPTEST(s.rel, off)
		JNE(LabelRef("same_ends"))
		for i, e := range old {
			VPANDN(e, s.rel, e)
			VPXOR(s.xor, e, e)
			VMOVDQU(e, s.quad(s.pos, i))
		}
		ADDQ(U8(group), s.pos)
	}
	CMPQ(s.pos, s.even)
	JLT(LabelRef("same"))
	JMP(LabelRef("same_ends"))

	Label("unchanged")
	s.fetch(quads / 2)
	s.differ256(quads)
	JNE(LabelRef("same_ends"))
	ADDQ(U8(2*group), s.pos)
	CMPQ(s.pos, s.even)
	JLT(LabelRef("unchanged"))
	Label("same_ends")
	s.account()
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
}

// sameForms256 is same256 for a class of two forms.
func (s *change) sameForms256() {
	JMP(LabelRef("group"))
	Label("same_forms")
	free, moved := constant256(s.repeated("free")), constant256(s.repeated("moved"))
	Label("same_forms_next")
	for range 2 {
		var old [group / quad]reg.VecVirtual
		t, off := YMM(), YMM()
		s.fetch(group / 8)
		for i := range old {
			old[i] = YMM()
			VMOVDQU(s.quad(s.pos, i), old[i])
		}
		VPXOR(old[0], s.ref, off)
		for _, e := range old[1:] {
			VPXOR(e, s.ref, t)
			VPOR(t, off, off)
		}
		VPTEST(s.rel, off)
		JNE(LabelRef("same_ends"))
		for i, e := range old {
			m := YMM()
			VPAND(free, e, m)
			VPCMPEQQ(free, m, m)
			VPAND(moved, m, m)
			VPANDN(e, s.rel, e)
			VPXOR(s.xor, e, e)
			VPXOR(m, e, e)
			VMOVDQU(e, s.quad(s.pos, i))
		}
		ADDQ(U8(group), s.pos)
	}
	CMPQ(s.pos, s.even)
	JLT(LabelRef("same_forms_next"))
	JMP(LabelRef("same_ends"))
}

// form256 returns the lanes of e that have the bit free.
func (s *change) form256(e reg.VecVirtual) reg.VecVirtual {
	m := YMM()
	VPAND(s.repeated("free"), e, m)
	VPCMPEQQ(s.repeated("free"), m, m)
	return m
}

// mixed256 handles a group line by line, and some that follow it.
func (s *change) mixed256() {
	Label("mixed")
	n := GP32()
	MOVBLZX(s.backoff, n)
	MOVB(n.As8(), s.run)
	SHLL(U8(2), n)
	ANDL(U8(0x1f), n)
	MOVB(n.As8(), s.backoff)
	Label("mixed_group")
	s.fetch(group / 8)
	at, end := GP64(), GP64()
	MOVQ(s.pos, at)
	LEAQ(Mem{Base: s.pos, Disp: group}, end)
	MOVQ(end, s.until)
	Label("mixed_line")
	s.body256(at, nil)
	ADDQ(U8(8), at)
	CMPQ(at, s.until)
	JLT(LabelRef("mixed_line"))
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	DECB(s.run)
	JEQ(LabelRef("dispatch"))
	JMP(LabelRef("mixed_group"))
}

// edge256 handles a group that is not whole, line by line.
func (s *change) edge256() {
	Label("edge")
	CMPQ(s.pos, s.end)
	JGT(LabelRef("done"))
	Label("edge_group")
	act := s.active()
	at := GP64()
	MOVQ(s.pos, at)
	ADDQ(U8(group), s.pos)
	Label("edge_line")
	TESTL(act.As32(), act.As32())
	JEQ(LabelRef("dispatch"))
	TESTB(act.As8(), act.As8())
	JEQ(LabelRef("edge_next"))
	s.body256(at, &act)
	Label("edge_next")
	SHRL(U8(8), act.As32())
	ADDQ(U8(8), at)
	JMP(LabelRef("edge_line"))
}
