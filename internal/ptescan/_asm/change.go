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

// mayClassify begins the path foreign: to make a class for the group it goes on, once, and once more if the class that
// was made has one form only.
func (s *change) mayClassify() {
	Label("foreign")
	CMPB(s.fresh, U8(1))
	JLT(LabelRef("foreign_try"))
	JNE(LabelRef("in_vain"))
	CMPQ(s.repeated("free"), U8(0))
	JNE(LabelRef("in_vain"))
	Label("foreign_try")
	CMPB(s.tries, U8(0))
	JEQ(LabelRef("mixed"))
}

// exclusiveBits sets word to the bits of a group of frames in the bitmap of exclusive ones: from bit first, which is spoilt,
// up to bit high, which is spoilt, too.
func (s *change) exclusiveBits(first, high, word, bits reg.GPVirtual) {
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
}
