package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// frames changes groups of write candidates by the bitmap of exclusive frames, if their frames follow each other. It
// begins with the group in old.
func (s *change) frames() {
	shift, frame := reg.VecVirtual(XMM()), broadcast512(s.pte("Frame"))
	VMOVQ(s.pte("FrameShift"), shift)
	up := broadcast512(s.class("upXor"))
	var iota [4]reg.VecVirtual
	for i := range iota {
		iota[i] = ZMM()
		VPMOVZXBQ(constant("iota"+string(rune('0'+i)), 0x0706050403020100+uint64(i)*0x0808080808080808), iota[i])
		VPSLLQ(shift, iota[i], iota[i])
	}
	Label("frames")
	s.fetch(4)
	s.differ(4, func(i int) Op { return s.old[i] })
	JNE(LabelRef("no_class"))
	var v [4]reg.VecVirtual
	for i := range v {
		v[i] = ZMM()
		VMOVDQA64(s.old[i], v[i])
		tern(v[i], s.rel, s.xor, clrXor)
	}
	// Whether an entry has the bit free has not changed.
	need := func(i int) reg.OpmaskVirtual {
		k := K()
		VPTESTMQ_BCST(s.class("need"), v[i], k)
		return k
	}
	Comment("Do the frames follow each other?")
	first, start, off, k := GP64(), ZMM(), ZMM(), K()
	VMOVQ(v[0].AsX(), first)
	ANDQ(s.pte("Frame"), first)
	VPBROADCASTQ(first, start)
	for i := range v {
		t := ZMM()
		VPSUBQ(start, v[i], t)
		tern(t, frame, iota[i], andXor)
		if i == 0 {
			VMOVDQA64(t, off)
		} else {
			VPORQ(t, off, off)
		}
	}
	VPTESTMQ(off, off, k)
	KORTESTB(k, k)
	JNE(LabelRef("frames_random"))

	Comment("Are they all in the bitmap? Then get 32 bits of it.")
	word, high, bits := GP64(), GP64(), GP64()
	MOVQ(s.pte("FrameShift"), word)
	SHRXQ(word, first, first)
	SUBQ(s.own("base"), first)
	MOVQ(s.own("size"), bits)
	CMPQ(first, bits)
	JAE(LabelRef("mixed"))
	LEAQ(Mem{Base: first, Disp: group - 1}, high)
	CMPQ(high, bits)
	JAE(LabelRef("mixed"))
	s.exclusiveBits(first, high, word, bits)

	Label("frames_known")
	CMPQ(s.class("need"), I8(-1))
	JEQ(LabelRef("frames_all"))
	ANDQ(pack(4, need), word)
	Label("frames_all")
	CMPQ(s.repeated("upMoved"), U8(0))
	JEQ(LabelRef("frames_up"))
	KMOVD(word.As32(), k)
	for i := range v {
		m := test(s.free, v[i], &k)
		VPXORQ_BCST(s.repeated("upMoved"), v[i], m, v[i])
		if i < 3 {
			KSHIFTRD(U8(8), k, k)
		}
	}
	Label("frames_up")
	KMOVD(word.As32(), k)
	for i := range v {
		VPXORQ(up, v[i], k, v[i])
		if i < 3 {
			KSHIFTRD(U8(8), k, k)
		}
	}
	Label("frames_change")
	MOVB(U8(0), s.fresh)
	ADDQ(U8(group), s.count)
	s.outcome(word, kindStore, high)
	JEQ(LabelRef("frames_next"))
	for i := range v {
		VMOVDQU64(v[i], s.line(s.pos, i))
	}
	s.outcome(word, kindFlush, high)
	s.flushed(high, s.pos)
	Label("frames_next")
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	s.load()
	JMP(LabelRef("frames"))

	Label("frames_random")
	var n [4]reg.VecVirtual
	size, in := broadcast512(s.own("size")), K()
	for i := range n {
		n[i] = ZMM()
		VPANDQ(frame, v[i], n[i])
		VPSRLQ(shift, n[i], n[i])
		VPSUBQ_BCST(s.own("base"), n[i], n[i])
		if i == 0 {
			VPCMPUQ(U8(cmpLess), size, n[i], in)
		} else {
			VPCMPUQ(U8(cmpLess), size, n[i], in, in)
		}
	}
	all := GP32()
	KMOVB(in, all)
	CMPL(all, U32(0xff))
	JNE(LabelRef("mixed"))
	ones := broadcast512(one())
	MOVQ(pack(4, func(i int) reg.OpmaskVirtual {
		k := K()
		KXNORB(in, in, k)
		g := s.gather(n[i], k)
		return test(ones, g, nil)
	}), word)
	JMP(LabelRef("frames_known"))
}

// outcome sets dst, and the flags, to the lanes in which flag holds, if bits are the lanes that are upgraded.
func (s *change) outcome(bits reg.GPVirtual, flag int, dst reg.GPVirtual) {
	no, shift := GP64(), uint8(0)
	for flag>>shift != 1 {
		shift++
	}
	for _, half := range []struct {
		kind string
		dst  reg.GPVirtual
	}{{"noKind", no}, {"upKind", dst}} {
		MOVQ(s.class(half.kind), half.dst)
		if shift > 0 {
			SHRQ(U8(shift), half.dst)
		}
		ANDQ(U8(1), half.dst)
		NEGQ(half.dst)
	}
	ANDQ(bits, dst)
	ANDNQ(no, bits, no)
	ORL(no.As32(), dst.As32())
}
