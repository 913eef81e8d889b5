package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

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
	s.exclusiveBits(first, high, word, bits)

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
