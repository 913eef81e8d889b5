package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// test is VPTESTMQ in the lanes of act, if given.
func test(x Op, y reg.VecVirtual, act *reg.OpmaskVirtual) reg.OpmaskVirtual {
	k := K()
	if act == nil {
		VPTESTMQ(x, y, k)
	} else {
		VPTESTMQ(x, y, *act, k)
	}
	return k
}

// body decides for each entry. It handles n lines from entry at on, which are in old, in the lanes of act if given.
func (s *change) body(n int, at reg.GPVirtual, act *reg.OpmaskVirtual) {
	main, upgrades, store, done := label("pages"), label("upgrades"), label("store"), label("stored")
	VPXORQ(s.acc, s.acc, s.acc)

	Comment("Count the pages.")
	var sel [4]reg.OpmaskVirtual
	for i := range n {
		sel[i] = test(s.selected, s.old[i], act)
	}
	all := pack(n, func(i int) reg.OpmaskVirtual { return sel[i] })
	pages := GP64()
	POPCNTQ(all, pages)
	ADDQ(pages, s.count)
	if act == nil {
		CMPL(all.As32(), I8(-1))
	} else {
		a := GP32()
		KMOVB(*act, a)
		CMPL(all.As32(), a)
	}
	JEQ(LabelRef(main))
	s.others(n, at, act, main)

	Label(main)
	var v [4]reg.VecVirtual
	for i := range n {
		v[i] = ZMM()
	}
	flush := GP64()
	CMPQ(s.own("upgrade"), U8(0))
	JNE(LabelRef(upgrades))
	MOVQ(pack(n, func(i int) reg.OpmaskVirtual {
		valid := s.apply(s.old[i], v[i], sel[i])
		tern(s.acc, s.old[i], v[i], orXor)
		t, k := ZMM(), K()
		VMOVDQA64(s.old[i], t)
		tern(t, s.flushWant, s.flushMask, xorAnd)
		VPTESTMQ(t, t, valid, k)
		return k
	}), flush)
	JMP(LabelRef(store))

	Label(upgrades)
	s.upgrades(n, at, sel, v, flush)

	Label(store)
	k := test(s.acc, s.acc, nil)
	KORTESTB(k, k)
	JEQ(LabelRef(done))
	for i := range n {
		VMOVDQU64(v[i], s.line(at, i))
	}
	s.flushed(flush, at)
	Label(done)
}

// apply sets v to PTEChange.Apply(old) in the lanes of k, and to old in others. It returns those of k with Valid.
func (s *change) apply(old, v reg.VecVirtual, k reg.OpmaskVirtual) reg.OpmaskVirtual {
	VMOVDQA64(old, v)
	tern(v, s.keep, s.set, andXor, k)
	valid, t, m := K(), ZMM(), K()
	VPTESTMQ(s.valid, old, k, valid)
	VPXORQ(s.invert, v, valid, v)
	VPXORQ(s.moveWant, old, t)
	VPTESTNMQ(s.moveMask, t, k, m)
	tern(v, s.moveFrom, s.moveTo, clrOr, m)
	return valid
}

// upgrades is the middle of body for a change that lets pages become writable.
func (s *change) upgrades(n int, at reg.GPVirtual, sel [4]reg.OpmaskVirtual, v [4]reg.VecVirtual, flush reg.GPVirtual) {
	asked := zeroed()
	XORQ(flush, flush)
	for i := range n {
		up, ask, known := label("up"), label("ask"), label("known")
		valid := s.apply(s.old[i], v[i], sel[i])
		w, t := K(), ZMM()
		VPANDQ_BCST(s.pte("WritableMask"), v[i], t)
		VPCMPEQQ_BCST(s.pte("WritableWant"), t, sel[i], w)
		VPTESTMQ_BCST(s.own("any"), v[i], w, w)
		KORTESTB(w, w)
		JEQ(LabelRef(known))
		unknown := K()
		KMOVB(w, unknown)
		CMPQ(s.own("upgrade"), U8(2))
		JEQ(LabelRef(up))
		CMPQ(s.own("bits"), U8(0))
		JEQ(LabelRef(ask))
		s.exclusive(v[i], w, unknown)
		Label(up)
		q := K()
		VPTESTMQ_BCST(s.pte("UpgradeFrom"), v[i], w, q)
		tern(v[i], broadcast512(s.pte("UpgradeFrom")), broadcast512(s.pte("UpgradeTo")), clrOr, q)
		VPORQ_BCST(s.pte("UpgradeSet"), v[i], w, v[i])
		CMPQ(s.own("upgrade"), U8(2))
		JEQ(LabelRef(known))
		Label(ask)
		Comment("What is not known stays as it was, and is asked about.")
		VMOVDQA64(s.old[i], unknown, v[i])
		a := GP32()
		KMOVB(unknown, a)
		if i > 0 {
			SHLL(U8(8*i), a)
		}
		ORL(a, asked.As32())
		Label(known)
		diff, m, k, f := ZMM(), ZMM(), K(), GP32()
		VPXORQ(s.old[i], v[i], diff)
		VPORQ(diff, s.acc, s.acc)
		VPANDQ_BCST(s.pte("FlushCleared"), s.old[i], m)
		VPORQ_BCST(s.pte("FlushChanged"), m, m)
		VPTESTMQ(diff, m, valid, k)
		KMOVB(k, f)
		if i > 0 {
			SHLL(U8(8*i), f)
		}
		ORL(f, flush.As32())
	}
	s.ask(asked, at)
}

// ask adds the lanes of asked to the entries that the caller must decide about.
func (s *change) ask(asked reg.GPVirtual, at reg.GPVirtual) {
	none, n := label("nothing_to_ask"), GP64()
	TESTL(asked.As32(), asked.As32())
	JEQ(LabelRef(none))
	r := s.result()
	MOVQ(U32(1), mem(r.Field("Asked")))
	ask := mem(r.Field("Ask").Index(0))
	MOVQ(at, n)
	SHRQ(U8(3), n)
	ask.Index, ask.Scale = n, 1
	Comment("The last lines or nothing into what lies behind the bitmap.")
	ORL(asked.As32(), ask)
	Label(none)
}

// exclusive narrows the candidates w to those whose frame is exclusive, and unknown to those whose frame the bitmap
// does not have.
func (s *change) exclusive(v reg.VecVirtual, w, unknown reg.OpmaskVirtual) {
	n, k := s.frameIndex(v), K()
	VPCMPUQ_BCST(U8(cmpLess), s.own("size"), n, w, w)
	KANDNB(unknown, w, unknown)
	KMOVB(w, k)
	VPTESTMQ_BCST(one(), s.gather(n, k), w, w)
}

// frameIndex returns the bits of the bitmap that tell of the frames of v.
func (s *change) frameIndex(v reg.VecVirtual) reg.VecVirtual {
	shift, n := XMM(), ZMM()
	VMOVQ(s.pte("FrameShift"), shift)
	VPANDQ_BCST(s.pte("Frame"), v, n)
	VPSRLQ(shift, n, n)
	VPSUBQ_BCST(s.own("base"), n, n)
	return n
}

// gather returns, in bit 0 of the lanes of k, bits n of the bitmap. It clears k.
func (s *change) gather(n reg.VecVirtual, k reg.OpmaskVirtual) reg.VecVirtual {
	i, bits, base := ZMM(), ZMM(), GP64()
	VPSRLQ(U8(6), n, i)
	MOVQ(s.own("bits"), base)
	VMOVDQA64(n, bits)
	VPGATHERQQ(Mem{Base: base, Index: i, Scale: 8}, k, bits)
	VPRORVQ(n, bits, bits)
	return bits
}

// Predicates of VPCMPUQ.
const (
	cmpLess    = 1
	cmpDiffers = 4
	cmpNotLess = 5
)
