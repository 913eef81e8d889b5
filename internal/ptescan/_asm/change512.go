package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// group is the number of entries about which the fast paths decide at a time: four lines.
const group = 32

// What a class of pages leads to (class.kind).
const (
	kindStore  = 1 << iota // its pages change
	kindFlush              // and a processor must be told
	kindFrames             // it depends on the frame
	kindNone               // there is no class: noClass
	kindPath               // the last table ended on class.path
	kindSplit              // kindFlush holds for one form only
)

// change is the state of the kernel while it is being written down. It has seven paths, fastest first:
//
//	same     all pages of the group are of the class, nothing else is in it (in two forms, if the class has)
//	sparse   or empty
//	pages    or else what surely stays
//	others   or else entries of one kind, which may change; once more where there are empty ones, too
//	partly   or else left alone, or of a type that follows the common rule
//	frames   of the class, but it depends on the frames which of two ways they change
//	mixed    masks decide for each entry
//
// A group for which a path does not hold goes on to a slower one. Mixed groups come in runs: after one, the next few
// are taken for mixed, too.
type change struct {
	c    gotypes.Component
	t    reg.Register
	fork bool // only classify is used, for a copy

	pos   reg.GPVirtual // first entry of the group at hand
	start reg.GPVirtual // first entry of the run of same groups
	even  reg.GPVirtual // end of the pairs of groups
	count reg.GPVirtual // pages, and in the upper half other entries that changed
	first reg.GPVirtual // first entry to flush
	not   reg.GPVirtual // entries of the group that are not of the class

	ref, rel, xor, free, moved reg.VecVirtual

	// Constants of the mixed path.
	keep, set, selected, valid, moveMask, moveWant, moveFrom, moveTo, invert, flushMask, flushWant reg.VecVirtual

	old [4]reg.VecVirtual
	acc reg.VecVirtual // bits that differ anywhere in the group

	// Locals: last entry to flush; last entry; whether one more class may be made in vain; whether the class was
	// made for this group; mixed groups to come, and how many the next
	// time; kindStore if others than pages changed; whether a group has others of more than one kind.
	before, changed                          Mem // what body keeps, and of which groups: a bit each
	hi                                       Mem // end of the whole groups
	until, pending                           Mem // for AVX2: end of the group, entries for others256
	last, end                                Mem
	tries, fresh, run, backoff, dirty, blend Mem // bytes of one word
	together                                 Mem // another: whether a group has pages of the class and others
}

func (s *change) pte(name string) Mem { return mem(s.c.Field("pte").Field(name)) }

// result loads the address of the result anew: it is not needed often enough for a register of its own.
func (s *change) result() gotypes.Component { return Dereference(Param("r")) }

func (s *change) own(name string) Mem { return mem(s.c.Field(name)) }

func (s *change) class(name string) Mem { return mem(s.c.Field("class").Field(name)) }

func (s *change) other(name string) Mem { return mem(s.c.Field("other").Field(name)) }

func (s *change) line(at reg.Register, i int) Mem {
	return Mem{Base: s.t, Index: at, Scale: 8, Disp: 64 * i}
}

func (s *change) load() {
	for i := range s.old {
		VMOVDQU64(s.line(s.pos, i), s.old[i])
	}
}

// fetch fetches the same lines of the next table, if there is one.
func (s *change) fetch(lines int) {
	none, next := label("no_next"), Load(Param("next"), GP64())
	TESTQ(next, next)
	JEQ(LabelRef(none))
	for i := range lines {
		PREFETCHT1(Mem{Base: next, Index: s.pos, Scale: 8, Disp: 64 * i})
	}
	Label(none)
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

// The paths by number: class.path.
const (
	pathSparse = iota
	pathPages
	pathOthers
	pathOthersEmpty
)

// reload loads the class.
func (s *change) reload() {
	VPBROADCASTQ(s.class("rel"), s.rel)
	VPBROADCASTQ(s.class("ref"), s.ref)
	VPBROADCASTQ(s.class("xor"), s.xor)
	if s.free != nil {
		VPBROADCASTQ(s.repeated("free"), s.free)
		VPBROADCASTQ(s.repeated("moved"), s.moved)
	}
}

// move makes of v what becomes of the form that it has, in the lanes of act if given. It was worked out as if it were of
// the first form; the bit free is as it was.
func (s *change) move(v reg.VecVirtual, act *reg.OpmaskVirtual) {
	VPXORQ(s.moved, v, test(s.free, v, act), v)
}

// epilogue returns the result.
func (s *change) epilogue() {
	n := zeroed()
	VZEROUPPER()
	r := s.result()
	MOVL(s.count.As32(), n.As32())
	Store(n, r.Field("Present"))
	SHRQ(U8(32), s.count)
	Store(s.count, r.Field("Rewritten"))
	Store(s.first, r.Field("First"))
	MOVQ(s.last, n)
	Store(n, r.Field("Last"))
	RET()
}

// prologue sets up what all paths need. clear is to clear Changed.Ask.
func (s *change) prologue(clear func(r gotypes.Component)) {
	s.t = Load(Param("t"), GP64())
	s.pos, s.start, s.even, s.count, s.first, s.not = GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	s.last, s.end, s.hi, s.until, s.pending = AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	flags := AllocLocal(8)
	for i, m := range []*Mem{&s.tries, &s.backoff, &s.fresh, &s.run, &s.dirty, &s.blend, &s.together} {
		*m = flags.Offset(i)
	}

	Comment("Nothing is known yet, but maybe the class.")
	XORQ(s.count, s.count)
	r := s.result()
	CMPQ(mem(r.Field("Asked")), U8(0))
	JEQ(LabelRef("clean"))
	clear(r)
	MOVQ(s.count, mem(r.Field("Asked")))
	Label("clean")
	MOVQ(U32(512), s.first)
	MOVQ(I32(-1), s.last)
	Comment("One class may be made in vain; the first run of mixed groups is one long.")
	MOVQ(U32(0x0101), flags)

	Comment("Whole groups lie from pos, or the group after it, up to hi. With a bitmap of entries no group is whole.")
	hi := Load(Param("last"), GP64())
	MOVQ(hi, s.end)
	INCQ(hi)
	ANDQ(I8(-group), hi)
	only := Load(Param("only"), GP64())
	TESTQ(only, only)
	CMOVQNE(s.count, hi)
	MOVQ(hi, s.hi)
	Load(Param("first"), s.pos)
	TESTQ(U32(group-1), s.pos)
	JEQ(LabelRef("begin"))
	ANDQ(I8(-group), s.pos)
	JMP(LabelRef("edge_group"))
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

// account counts the run of same groups that ends at pos.
func (s *change) account() {
	none, n := label("accounted"), GP64()
	MOVQ(s.pos, n)
	SUBQ(s.start, n)
	JEQ(LabelRef(none))
	IMULQ(s.class("add"), n)
	ADDQ(n, s.count)
	TESTQ(U32(kindFlush), s.class("kind"))
	JEQ(LabelRef(none))
	CMPQ(s.start, s.first)
	CMOVQLT(s.start, s.first)
	LEAQ(Mem{Base: s.pos, Disp: -1}, n)
	MOVQ(n, s.last)
	Label(none)
}

// flushed notes that the entries of the mask, which begins at entry at, need a flush.
func (s *change) flushed(mask, at reg.GPVirtual) {
	none, n := label("no_flush"), GP64()
	TESTQ(mask, mask)
	JEQ(LabelRef(none))
	lowest(mask, n)
	ADDQ(at, n)
	CMPQ(n, s.first)
	CMOVQLT(n, s.first)
	highest(mask, n)
	ADDQ(at, n)
	MOVQ(n, s.last)
	Label(none)
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

// active returns the entries of the group that take part.
func (s *change) active() reg.GPVirtual {
	act, n := GP64(), GP64()
	MOVQ(U32(0xffffffff), act)
	Load(Param("first"), n)
	SUBQ(s.pos, n)
	JLE(LabelRef("no_head"))
	SHLXL(n.As32(), act.As32(), act.As32())
	Label("no_head")
	LEAQ(Mem{Base: s.pos, Disp: group - 1}, n)
	SUBQ(s.end, n)
	JLE(LabelRef("no_tail"))
	tail := GP32()
	MOVL(I32(-1), tail)
	SHRXL(n.As32(), tail, tail)
	ANDL(tail, act.As32())
	Label("no_tail")
	only := Load(Param("only"), GP64())
	TESTQ(only, only)
	JEQ(LabelRef("no_only"))
	MOVQ(s.pos, n)
	SHRQ(U8(3), n)
	ANDL(Mem{Base: only, Index: n, Scale: 1}, act.As32())
	Label("no_only")
	return act
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
