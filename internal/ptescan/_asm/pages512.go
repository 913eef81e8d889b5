package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sparse changes groups in which everything that is not empty is a page of the class.
func (s *change) sparse() {
	Label("partly_next")
	s.load()
	MOVB(U8(0), s.fresh)
	s.fetch(group / 8)
	pages, off := (&isa{wide: true}).collect(), clear512()
	for _, e := range s.old {
		k := K()
		VPTESTMQ_BCST(s.own("filled"), e, k)
		tern(off, e, s.ref, orXor, k)
		VPXORQ_BCST(s.repeated("flip"), e, k, e)
		pages.add(lanes{k: k})
	}
	k := test(off, s.rel, nil)
	in := pages.bits()
	KORTESTB(k, k)
	JNE(LabelRef("pages"))
	CMPQ(s.own("install"), U8(0))
	JEQ(LabelRef("sparse_change"))
	CMPL(in.As32(), I8(-1))
	JNE(LabelRef("partly"))
	Label("sparse_change")
	s.leave(pathSparse, "sparse", in, nil, "partly_next")
}

// pages changes groups whose pages are all of the class, and in which nothing else is loud.
func (s *change) pages() {
	Label("pages_next")
	MOVB(U8(0), s.fresh)
	s.fetch(group / 8)
	Label("pages")
	s.load()
	pages, off, rest := (&isa{wide: true}).collect(), clear512(), clear512()
	for _, e := range s.old {
		k, o := K(), K()
		VPTESTMQ_BCST(s.pte("Exists"), e, k)
		KNOTB(k, o)
		tern(off, e, s.ref, orXor, k)
		VPORQ(e, rest, o, rest)
		VPXORQ_BCST(s.repeated("flip"), e, k, e)
		pages.add(lanes{k: k})
	}
	k, l := test(off, s.rel, nil), K()
	Comment("If one is loud, so are all of them together.")
	VPCMPUQ_BCST(U8(cmpNotLess), s.own("loud"), rest, l)
	in := pages.bits()
	KORTESTB(k, k)
	JNE(LabelRef("partly"))
	KORTESTB(l, l)
	JNE(LabelRef("others"))
	s.leave(pathPages, "pages", in, nil, "pages_next")
}

// leave stores a group, which is in old, counts its pages and its others and goes on with the next: the one at the label,
// if this one was not all of pages of the class.
func (s *change) leave(path uint32, name string, in reg.GPVirtual, others func(kind reg.GPVirtual), next string) {
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
	CMPQ(s.repeated("moved"), U8(0))
	JEQ(LabelRef(name + "_moved"))
	k := K()
	KMOVD(in.As32(), k)
	for i, e := range s.old {
		s.move(e, &k)
		if i < 3 {
			KSHIFTRD(U8(8), k, k)
		}
	}
	Label(name + "_moved")
	for i, e := range s.old {
		VMOVDQU64(e, s.line(s.pos, i))
	}
	TESTQ(U32(kindFlush), kind)
	JEQ(LabelRef(name + "_stored"))
	s.flushed(in, s.pos)
	Label(name + "_stored")
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef(name + "_end"))
	CMPL(in.As32(), I8(-1))
	JNE(LabelRef(next))
	JMP(LabelRef("dispatch"))
	Label(name + "_end")
	CMPL(in.As32(), I8(-1))
	JEQ(LabelRef("edge"))
	ORQ(U8(kindPath), s.class("kind"))
	MOVQ(U32(path), s.class("path"))
	JMP(LabelRef("edge"))
}

// others512 changes groups whose pages are all of the class, and whose others are all alike. If all, none is empty.
func (s *change) others512(path uint32, name string, all bool) {
	Label(name + "_next")
	s.fetch(group / 8)
	Label(name)
	s.load()
	CMPQ(s.own("install"), U8(0))
	JNE(LabelRef("partly_again"))
	CMPB(s.blend, U8(0))
	JNE(LabelRef("partly_again"))
	x := &isa{wide: true}
	pages, rest, off, unlike := x.collect(), x.collect(), clear512(), clear512()
	ref := broadcast512(s.other("ref"))
	for _, e := range s.old {
		k, o := K(), K()
		VPTESTMQ_BCST(s.pte("Exists"), e, k)
		if all {
			KNOTB(k, o)
		} else {
			VPTESTMQ_BCST(s.own("filled"), e, o)
			KANDNB(o, k, o)
			rest.add(lanes{k: o})
		}
		tern(off, e, s.ref, orXor, k)
		tern(unlike, e, ref, orXor, o)
		VPXORQ_BCST(s.other("flip"), e, o, e)
		VPXORQ_BCST(s.repeated("flip"), e, k, e)
		pages.add(lanes{k: k})
	}
	k, u := test(off, s.rel, nil), K()
	VPTESTMQ_BCST(s.other("rel"), unlike, u)
	in, left := pages.bits(), GP64()
	if all {
		MOVQ(in, left)
		NOTL(left.As32())
	} else {
		left = rest.bits()
	}
	KORTESTB(k, k)
	JNE(LabelRef("partly"))
	KORTESTB(u, u)
	if all {
		JNE(LabelRef("others_empty"))
	} else {
		JNE(LabelRef("unlike"))
	}
	s.leave(path, name, in, func(kind reg.GPVirtual) {
		n := GP64()
		POPCNTQ(left, n)
		IMULQ(s.other("add"), n)
		SHLQ(U8(32), n)
		ADDQ(n, s.count)
		ORQ(s.other("add"), kind)
	}, name+"_more")
	Label(name + "_more")
	TESTL(left.As32(), left.As32())
	JNE(LabelRef(name + "_next"))
	JMP(LabelRef("partly_next"))
	if !all {
		s.unlike(left)
	}
}

// unlike makes a kind of the first of the entries left, if it was not that which was known.
func (s *change) unlike(left reg.GPVirtual) {
	Label("unlike")
	e, d := GP64(), GP64()
	lowest(left, e)
	ADDQ(s.pos, e)
	MOVQ(s.line(e, 0), e)
	MOVQ(e, d)
	XORQ(s.other("ref"), d)
	TESTQ(d, s.other("rel"))
	JEQ(LabelRef("unlike_each_other"))
	s.classifyOther(e)
	JMP(LabelRef("others"))
	Label("unlike_each_other")
	MOVB(U8(1), s.blend)
	JMP(LabelRef("partly"))
}

func clear512() reg.VecVirtual {
	z := ZMM()
	VPXORQ(z, z, z)
	return z
}
