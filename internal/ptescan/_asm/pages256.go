package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pages256 changes groups whose pages are all of the class, and in which nothing else is loud.
func (s *change) pages256(kind reg.GPVirtual) {
	const quads = group / quad
	JMP(LabelRef("group"))
	Label("no_same")
	TESTQ(U32(kindPath), kind)
	JEQ(LabelRef("group"))
	XORQ(U8(kindPath), s.class("kind"))
	CMPQ(s.class("path"), U8(pathOthers))
	JEQ(LabelRef("others_next"))
	Label("group")
	MOVB(U8(0), s.fresh)
	s.fetch(group / 8)
	TESTQ(U32(kindFrames|kindNone|kindSplit), s.class("kind"))
	JNE(LabelRef("group_again"))
	rest, zero, flip := clear256(), clear256(), constant256(s.repeated("flip"))
	in := zeroed()
	var v [quads]reg.VecVirtual
	for i := quads - 1; i >= 0; i-- {
		m := s.member256(i, &v[i], zero, s.ref, s.rel)
		join(m, in)
		t := YMM()
		VPANDN(v[i], m, t)
		VPOR(t, rest, rest)
		VPAND(flip, m, m)
		VPXOR(m, v[i], v[i])
	}
	Comment("No page, and if one is loud, so are all of them together?")
	s.foreign256(rest)
	s.leave256(pathPages, "pages", in, v, nil, "group")
}

// member256 loads quad i to e and returns the lanes that are of a class.
func (s *change) member256(i int, e *reg.VecVirtual, zero, ref, rel reg.VecVirtual) reg.VecVirtual {
	m := YMM()
	if *e == nil {
		*e = YMM()
		VMOVDQU(s.quad(s.pos, i), *e)
	}
	VPXOR(*e, ref, m)
	VPAND(rel, m, m)
	VPCMPEQQ(zero, m, m)
	return m
}

// move256 makes of v, in the entries of the bitmap in, what becomes of the form that they have. They were worked out as if
// they were of the first form.
func (s *change) move256(in reg.GPVirtual, v [group / quad]reg.VecVirtual) {
	none, set, lanes := label("moved"), spread256(in), YMM()
	CMPQ(s.repeated("moved"), U8(0))
	JEQ(LabelRef(none))
	VPMOVZXBQ(constant("lanes", 0x08040201), lanes)
	for i, e := range v {
		m, f := YMM(), s.form256(e)
		VPAND(lanes, set, m)
		VPCMPEQQ(lanes, m, m)
		VPAND(f, m, m)
		VPAND(s.repeated("moved"), m, m)
		VPXOR(m, e, e)
		if i < len(v)-1 {
			VPSLLQ(U8(quad), lanes, lanes)
		}
	}
	Label(none)
}

// spread256 fills a new register with bits.
func spread256(bits reg.GPVirtual) reg.VecVirtual {
	x, y := XMM(), YMM()
	VMOVQ(bits, x)
	VPBROADCASTQ(x, y)
	return y
}

// join adds the lanes of m to bits, below those that are there.
func join(m reg.VecVirtual, bits reg.GPVirtual) {
	b := GP64()
	VMOVMSKPD(m, b.As32())
	SHLL(U8(quad), bits.As32())
	ORL(b.As32(), bits.As32())
}

// foreign256 goes to a slower path if rest, the union of what is not of the class, has pages or is loud.
func (s *change) foreign256(rest reg.VecVirtual) {
	t, top := YMM(), constant256(constant("top", 1<<63))
	VPTEST(constant256(s.pte("Exists")), rest)
	JNE(LabelRef("group_again"))
	loud := constant256(s.own("loud"))
	VPXOR(top, rest, rest)
	VPXOR(top, loud, loud)
	VPCMPGTQ(rest, loud, t)
	VPCMPEQQ(rest, rest, rest)
	VPTEST(rest, t)
	JCC(LabelRef("others"))
}

// leave256 stores a group and goes on with the next.
func (s *change) leave256(path uint32, name string, in reg.GPVirtual, v [group / quad]reg.VecVirtual,
	others func(kind reg.GPVirtual), next string) {
	kind, n := GP64(), GP64()
	MOVQ(s.class("kind"), kind)
	MOVB(U8(1), s.backoff)
	if others != nil {
		others(kind)
	}
	POPCNTQ(in, n)
	if others == nil {
		JEQ(LabelRef(name + "_stored"))
	}
	IMULQ(s.class("add"), n)
	ADDQ(n, s.count)
	TESTQ(U32(kindStore), kind)
	JEQ(LabelRef(name + "_stored"))
	s.move256(in, v)
	for i, e := range v {
		VMOVDQU(e, s.quad(s.pos, i))
	}
	TESTQ(U32(kindFlush), kind)
	JEQ(LabelRef(name + "_stored"))
	s.flushed(in, s.pos)
	Label(name + "_stored")
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef(name + "_end"))
	CMPL(in.As32(), I8(-1))
	JEQ(LabelRef("dispatch"))
	JMP(LabelRef(next))
	Label(name + "_end")
	CMPL(in.As32(), I8(-1))
	JEQ(LabelRef("edge"))
	ORQ(U8(kindPath), s.class("kind"))
	MOVQ(U32(path), s.class("path"))
	JMP(LabelRef("edge"))
}

// alike256 changes groups whose pages are all of the class, and whose others are all alike, or empty.
func (s *change) alike256() {
	const quads = group / quad
	Label("others_next")
	s.fetch(group / 8)
	Label("others")
	CMPQ(s.own("install"), U8(0))
	JNE(LabelRef("group_again"))
	CMPB(s.blend, U8(0))
	JNE(LabelRef("group_again"))
	rest, zero := clear256(), clear256()
	in, alike := zeroed(), zeroed()
	var v [quads]reg.VecVirtual
	for i := quads - 1; i >= 0; i-- {
		m := s.member256(i, &v[i], zero, s.ref, s.rel)
		join(m, in)
		t, d := YMM(), YMM()
		VPBROADCASTQ(s.other("ref"), t)
		VPBROADCASTQ(s.other("rel"), d)
		VPXOR(v[i], t, t)
		VPAND(d, t, t)
		VPCMPEQQ(zero, t, t)
		VPANDN(t, m, t)
		join(t, alike)
		VPOR(m, t, d)
		VPANDN(v[i], d, d)
		VPOR(d, rest, rest)
		VPAND(s.repeated("flip"), m, m)
		VPBROADCASTQ(s.other("flip"), d)
		VPAND(d, t, t)
		VPOR(t, m, m)
		VPXOR(m, v[i], v[i])
	}
	VPTEST(constant256(s.pte("Exists")), rest)
	JNE(LabelRef("group_again"))
	VPTEST(constant256(s.own("filled")), rest)
	JNE(LabelRef("unlike"))
	s.leave256(pathOthers, "others", in, v, func(kind reg.GPVirtual) {
		n := GP64()
		POPCNTQ(alike, n)
		IMULQ(s.other("add"), n)
		SHLQ(U8(32), n)
		ADDQ(n, s.count)
		ORQ(s.other("add"), kind)
	}, "others_next")

	Comment("Make a kind of the first entry that is neither page nor empty, if it is not of the kind that was known.")
	Label("unlike")
	e, n := GP64(), GP64()
	LEAQ(Mem{Base: s.pos, Disp: -1}, n)
	Label("unlike_next")
	INCQ(n)
	MOVQ(Mem{Base: s.t, Index: n, Scale: 8}, e)
	TESTQ(e, s.pte("Exists"))
	JNE(LabelRef("unlike_next"))
	TESTQ(e, s.own("filled"))
	JEQ(LabelRef("unlike_next"))
	d := GP64()
	MOVQ(e, d)
	XORQ(s.other("ref"), d)
	TESTQ(d, s.other("rel"))
	JEQ(LabelRef("unlike_each_other"))
	s.classifyOther(e)
	JMP(LabelRef("others"))
	Label("unlike_each_other")
	MOVB(U8(1), s.blend)
	JMP(LabelRef("group_again"))
}

func clear256() reg.VecVirtual {
	y := YMM()
	VPXOR(y, y, y)
	return y
}
