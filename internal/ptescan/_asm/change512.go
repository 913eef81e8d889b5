package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (s *change) line(at reg.Register, i int) Mem {
	return Mem{Base: s.t, Index: at, Scale: 8, Disp: 64 * i}
}

func (s *change) load() {
	for i := range s.old {
		VMOVDQU64(s.line(s.pos, i), s.old[i])
	}
}

func change512() {
	TEXT("changeAVX512", 0, "func(t *Table, first, last uint64, only *Bitmap, next *Table, c *Change, r *Changed)")
	Pragma("noescape")
	Doc("changeAVX512 is Change.applyGeneric.")
	s := &change{c: Dereference(Param("c"))}
	s.acc = ZMM()
	for i := range s.old {
		s.old[i] = ZMM()
	}
	s.prologue(func(r gotypes.Component) {
		VPXORQ(s.acc, s.acc, s.acc)
		VMOVDQU64(s.acc, mem(r.Field("Ask").Index(0)))
	})

	s.ref, s.rel, s.xor, s.free, s.moved = ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	kind := GP64()
	Label("begin")
	Label("dispatch")
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	s.reload()
	MOVQ(s.class("kind"), kind)
	TESTQ(U32(kindFrames|kindNone|kindPath|kindSplit), kind)
	JNE(LabelRef("no_same"))
	MOVQ(s.pos, s.start)
	Comment("The end of the pairs of groups from pos on.")
	MOVQ(s.hi, s.even)
	SUBQ(s.pos, s.even)
	ANDQ(I8(-2*group), s.even)
	JEQ(LabelRef("partly_next"))
	ADDQ(s.pos, s.even)
	TESTQ(U32(kindStore), kind)
	JEQ(LabelRef("unchanged"))
	CMPQ(s.repeated("moved"), U8(0))
	JNE(LabelRef("same_forms"))
	s.same("same", false)
	s.same("same_forms", true)
	s.unchanged()

	Label("no_same")
	TESTQ(U32(kindPath), kind)
	JNE(LabelRef("path"))
	s.load()
	TESTQ(U32(kindNone), kind)
	JNE(LabelRef("no_class"))
	TESTQ(U32(kindSplit), kind)
	JNE(LabelRef("partly_again"))
	s.frames()

	s.sparse()
	s.pages()
	s.others512(pathOthers, "others", true)
	s.others512(pathOthersEmpty, "others_empty", false)
	s.partly()
	s.foreign()
	s.mixed()
	s.path()
	s.edge()

	Label("done")
	s.epilogue()
}

// path goes to the path that served the last group of the table before.
func (s *change) path() {
	Label("path")
	XORQ(U8(kindPath), s.class("kind"))
	path := GP64()
	MOVQ(s.class("path"), path)
	for i, to := range []string{"partly_next", "pages_next", "others_next"} {
		CMPQ(path, U8(pathSparse+i))
		JEQ(LabelRef(to))
	}
	JMP(LabelRef("others_empty_next"))
}

// move makes of v what becomes of the form that it has, in the lanes of act if given. It was worked out as if it were of
// the first form; the bit free is as it was.
func (s *change) move(v reg.VecVirtual, act *reg.OpmaskVirtual) {
	VPXORQ(s.moved, v, test(s.free, v, act), v)
}

// differ sets the flags to "not zero" if an entry of the lines differs from the class in a bit of rel.
func (s *change) differ(n int, line func(i int) Op) {
	t, k := ZMM(), K()
	VPXORQ(line(0), s.ref, t)
	for i := 1; i < n; i++ {
		if m, ok := line(i).(Mem); ok {
			tern(t, s.ref, m, orXor)
		} else {
			tern(t, line(i), s.ref, orXor)
		}
	}
	VPTESTMQ(t, s.rel, k)
	KORTESTB(k, k)
}

// same changes groups whose pages are all of the class. It takes two at a time: the loop over a table is then short
// enough for branch predictors to know its end. forms is for a class of two forms.
func (s *change) same(name string, forms bool) {
	const lines = 2 * group / 8
	Label(name)
	var old [lines]reg.VecVirtual
	for i := range old {
		old[i] = ZMM()
		VMOVDQU64(s.line(s.pos, i), old[i])
	}
	s.fetch(lines)
	s.differ(lines, func(i int) Op { return old[i] })
	JNE(LabelRef("same_ends"))
	for i := range old {
		tern(old[i], s.rel, s.xor, clrXor)
		if forms {
			s.move(old[i], nil)
		}
	}
	for i := range old {
		VMOVDQU64(old[i], s.line(s.pos, i))
	}
	ADDQ(U8(2*group), s.pos)
	CMPQ(s.pos, s.even)
	JLT(LabelRef(name))
	JMP(LabelRef("same_ends"))
}

// unchanged is same for a class whose pages do not change.
func (s *change) unchanged() {
	Label("unchanged")
	s.fetch(2 * group / 8)
	s.differ(2*group/8, func(i int) Op { return s.line(s.pos, i) })
	JNE(LabelRef("same_ends"))
	ADDQ(U8(2*group), s.pos)
	CMPQ(s.pos, s.even)
	JLT(LabelRef("unchanged"))
	Label("same_ends")
	s.account()
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	JMP(LabelRef("partly_next"))
}

// edge handles groups that are not whole, line by line.
func (s *change) edge() {
	Label("edge")
	CMPQ(s.pos, s.end)
	JGT(LabelRef("done"))
	Label("edge_group")
	act, at := s.active(), GP64()
	s.constants()

	MOVQ(s.pos, at)
	ADDQ(U8(group), s.pos)
	Label("edge_line")
	TESTL(act.As32(), act.As32())
	JEQ(LabelRef("dispatch"))
	TESTB(act.As8(), act.As8())
	JEQ(LabelRef("edge_next"))
	k := K()
	KMOVB(act.As32(), k)
	VMOVDQU64(s.line(at, 0), s.old[0])
	s.body(1, at, &k)
	Label("edge_next")
	SHRL(U8(8), act.As32())
	ADDQ(U8(8), at)
	JMP(LabelRef("edge_line"))
}

// mixed handles a group entry by entry, and some that follow it.
func (s *change) mixed() {
	Label("mixed")
	n := GP32()
	MOVB(U8(0), s.fresh)
	MOVBLZX(s.backoff, n)
	MOVB(n.As8(), s.run)
	SHLL(U8(2), n)
	ANDL(U8(0x1f), n)
	MOVB(n.As8(), s.backoff)
	s.constants()
	Label("mixed_group")
	s.fetch(4)
	s.body(4, s.pos, nil)
	ADDQ(U8(group), s.pos)
	CMPQ(s.pos, s.hi)
	JGE(LabelRef("edge"))
	DECB(s.run)
	JEQ(LabelRef("dispatch"))
	s.load()
	JMP(LabelRef("mixed_group"))
}

// constants loads the constants of the mixed path. The other paths need the registers.
func (s *change) constants() {
	if s.keep == nil {
		for _, v := range []*reg.VecVirtual{&s.keep, &s.set, &s.selected, &s.valid, &s.moveMask, &s.moveWant,
			&s.moveFrom, &s.moveTo, &s.invert, &s.flushMask,
			&s.flushWant} {
			*v = ZMM()
		}
	}
	VPBROADCASTQ(s.own("set"), s.set)
	VPBROADCASTQ(s.pte("Keep"), s.keep)
	VPBROADCASTQ(s.pte("Select"), s.selected)
	VPBROADCASTQ(s.pte("Valid"), s.valid)
	VPBROADCASTQ(s.pte("MoveMask"), s.moveMask)
	VPBROADCASTQ(s.pte("MoveWant"), s.moveWant)
	VPBROADCASTQ(s.pte("MoveFrom"), s.moveFrom)
	VPBROADCASTQ(s.pte("MoveTo"), s.moveTo)
	VPBROADCASTQ(s.pte("Invert"), s.invert)
	VPBROADCASTQ(s.own("flushMask"), s.flushMask)
	VPBROADCASTQ(s.own("flushWant"), s.flushWant)
}
