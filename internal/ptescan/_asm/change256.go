package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The AVX2 form of change has the paths same, frames and mixed. Constants of the mixed path come from memory where
// they are needed: there are 16 registers. Entries that are no pages and can change, and write candidates in mixed
// groups, are handled one at a time.

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

// rewrite256 changes n quads of entries of the class.
func (s *change) rewrite256(n int) {
	for i := range n {
		t := YMM()
		VPANDN(s.quad(s.pos, i), s.rel, t)
		VPXOR(s.xor, t, t)
		VMOVDQU(t, s.quad(s.pos, i))
	}
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
	Label("foreign")
	CMPB(s.fresh, U8(1))
	JLT(LabelRef("foreign_try"))
	JNE(LabelRef("in_vain"))
	CMPQ(s.repeated("free"), U8(0))
	JNE(LabelRef("in_vain"))
	Label("foreign_try")
	CMPB(s.tries, U8(0))
	JEQ(LabelRef("mixed"))
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

// frames256 changes a group of write candidates by the bitmap of exclusive frames.
func (s *change) frames256() {
	const quads = group / quad
	Label("frames")
	first, word, high, bits := GP64(), GP64(), GP64(), GP64()
	MOVQ(s.quad(s.pos, 0), first)
	s.frameOf(first)
	MOVQ(s.own("size"), bits)
	CMPQ(first, bits)
	JAE(LabelRef("mixed"))
	LEAQ(Mem{Base: first, Disp: group - 1}, high)
	CMPQ(high, bits)
	JAE(LabelRef("frames_random"))
	Comment("Do the frames follow each other?")
	shift, frame, expect, step := XMM(), YMM(), YMM(), YMM()
	off, zero := YMM(), YMM()
	VMOVQ(s.pte("FrameShift"), shift)
	VPBROADCASTQ(s.pte("Frame"), frame)
	VPBROADCASTQ(constant("four", quad), step)
	VPSLLQ(shift, step, step)
	VPMOVZXBQ(constant("iota", 0x03020100), expect)
	VPSLLQ(shift, expect, expect)
	VPBROADCASTQ(s.quad(s.pos, 0), off)
	VPANDN(off, s.rel, off)
	VPXOR(s.xor, off, off)
	VPAND(frame, off, off)
	VPADDQ(off, expect, expect)
	VPXOR(off, off, off)
	VPXOR(zero, zero, zero)
	for i := range quads {
		v := YMM()
		VPANDN(s.quad(s.pos, i), s.rel, v)
		VPXOR(s.xor, v, v)
		VPAND(frame, v, v)
		VPXOR(expect, v, v)
		VPOR(v, off, off)
		if i < quads-1 {
			VPADDQ(step, expect, expect)
		}
	}
	VPTEST(off, off)
	JNE(LabelRef("frames_random"))
	MOVQ(s.own("bits"), bits)
	MOVQ(first, word)
	SHRQ(U8(6), word)
	SHRQ(U8(6), high)
	MOVQ(Mem{Base: bits, Index: word, Scale: 8}, word)
	MOVQ(Mem{Base: bits, Index: high, Scale: 8}, high)
	Comment("The second word may be the first one again; then it is shifted out.")
	SHRXQ(first, word, word)
	NEGQ(first)
	SHLXQ(first, high, high)
	TESTQ(U32(63), first)
	CMOVQEQ(word, high)
	ORQ(high, word)

	Label("frames_change")
	ADDQ(U8(group), s.count)
	CMPQ(s.class("need"), I8(-1))
	JEQ(LabelRef("frames_all"))
	XORQ(high, high)
	s.joinForms(high)
	ANDQ(high, word)
	Label("frames_all")
	s.outcome(word, kindStore, high)
	JEQ(LabelRef("frames_next"))
	CMPQ(s.repeated("upMoved"), U8(0))
	JNE(LabelRef("frames_forms"))
	s.upgradeFrames(word, false)
	JMP(LabelRef("frames_stored"))
	Label("frames_forms")
	s.upgradeFrames(word, true)
	Label("frames_stored")
	s.outcome(word, kindFlush, high)
	s.flushed(high, s.pos)
	Label("frames_next")
	ADDQ(U8(group), s.pos)
	JMP(LabelRef("dispatch"))

	Comment("One bit at a time, from the last entry to the first.")
	Label("frames_random")
	n := GP64()
	MOVQ(U32(group), n)
	XORQ(word, word)
	Label("frames_bit")
	for i := 1; i <= quad; i++ {
		LEAQ(Mem{Base: s.pos, Index: n, Scale: 1}, first)
		MOVQ(Mem{Base: s.t, Index: first, Scale: 8, Disp: -8 * i}, first)
		s.frameOf(first)
		CMPQ(first, s.own("size"))
		JAE(LabelRef("mixed"))
		MOVQ(s.own("bits"), bits)
		MOVQ(first, high)
		SHRQ(U8(6), high)
		MOVQ(Mem{Base: bits, Index: high, Scale: 8}, high)
		BTQ(first, high)
		ADCQ(word, word)
	}
	SUBQ(U8(quad), n)
	JNE(LabelRef("frames_bit"))
	JMP(LabelRef("frames_change"))
}

// upgradeFrames changes a group of the class, and makes the entries of the bitmap word writable. forms tells that it
// matters which form they have.
func (s *change) upgradeFrames(word reg.GPVirtual, forms bool) {
	up, lanes, set := constant256(s.class("upXor")), YMM(), spread256(word)
	VPMOVZXBQ(constant("lanes", 0x08040201), lanes)
	for i := range group / quad {
		v, m, e := YMM(), YMM(), s.quad(s.pos, i)
		VPAND(lanes, set, m)
		VPCMPEQQ(lanes, m, m)
		if forms {
			f := YMM()
			VMOVDQU(e, f)
			VPAND(s.repeated("free"), f, f)
			VPCMPEQQ(s.repeated("free"), f, f)
			VPAND(s.repeated("upMoved"), f, f)
			VPXOR(up, f, f)
			VPAND(f, m, m)
		} else {
			VPAND(up, m, m)
		}
		VPANDN(e, s.rel, v)
		VPXOR(s.xor, v, v)
		VPXOR(m, v, v)
		VMOVDQU(v, e)
		if i < group/quad-1 {
			VPSLLQ(U8(quad), lanes, lanes)
		}
	}
}

// frameOf turns e, an entry of the class, into the number of its frame's bit.
func (s *change) frameOf(e reg.GPVirtual) {
	tmp := GP64()
	MOVQ(s.class("rel"), tmp)
	ANDNQ(e, tmp, e)
	XORQ(s.class("xor"), e)
	s.frameBit(e)
}

// frameBit turns an entry with Valid into the number of its frame's bit.
func (s *change) frameBit(e reg.GPVirtual) {
	tmp := GP64()
	ANDQ(s.pte("Frame"), e)
	MOVQ(s.pte("FrameShift"), tmp)
	SHRXQ(tmp, e, e)
	SUBQ(s.own("base"), e)
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
