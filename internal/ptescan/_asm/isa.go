package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa writes the simpler kernels for either instruction set. A group of 32 entries is 4 or 8 vectors.
type isa struct {
	wide bool // AVX-512
	zero reg.VecVirtual
}

// lanes is a set of lanes of a vector: a mask register, or a vector that is all ones in these lanes (in the others, if
// not is set).
type lanes struct {
	k   reg.OpmaskVirtual
	y   reg.VecVirtual
	not bool
}

func (x *isa) name(stem string) string {
	if x.wide {
		return stem + "AVX512"
	}
	return stem + "AVX2"
}

func (x *isa) vectors() int {
	if x.wide {
		return group / 8
	}
	return group / quad
}

func (x *isa) vec() reg.VecVirtual {
	if x.wide {
		return ZMM()
	}
	return YMM()
}

// at is vector i of the group at entry pos of a table.
func (x *isa) at(table, pos reg.Register, i int) Mem {
	return Mem{Base: table, Index: pos, Scale: 8, Disp: i * 8 * group / x.vectors()}
}

func (x *isa) load(m Op) reg.VecVirtual {
	v := x.vec()
	if x.wide {
		VMOVDQU64(m, v)
	} else {
		VMOVDQU(m, v)
	}
	return v
}

func (x *isa) store(v reg.VecVirtual, m Mem) {
	if x.wide {
		VMOVDQU64(v, m)
	} else {
		VMOVDQU(v, m)
	}
}

func (x *isa) broadcast(m Op) reg.VecVirtual {
	v := x.vec()
	VPBROADCASTQ(m, v)
	return v
}

func (x *isa) clear() { x.zero = x.vec(); x.xor(x.zero, x.zero, x.zero) }

// and, andNot (a &^ b), or and xor are bit by bit.
func (x *isa) and(a, b Op, dst reg.VecVirtual) {
	if x.wide {
		VPANDQ(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

func (x *isa) andNot(a, b Op, dst reg.VecVirtual) {
	if x.wide {
		VPANDNQ(a, b, dst)
	} else {
		VPANDN(a, b, dst)
	}
}

func (x *isa) or(a, b Op, dst reg.VecVirtual) {
	if x.wide {
		VPORQ(a, b, dst)
	} else {
		VPOR(a, b, dst)
	}
}

func (x *isa) xor(a, b Op, dst reg.VecVirtual) {
	if x.wide {
		VPXORQ(a, b, dst)
	} else {
		VPXOR(a, b, dst)
	}
}

// any returns the lanes of in, or of all if in is nil, in which v has a bit of mask.
func (x *isa) any(v, mask reg.VecVirtual, in *lanes) lanes {
	if x.wide {
		if in == nil {
			return lanes{k: test(mask, v, nil)}
		}
		return lanes{k: test(mask, v, &in.k)}
	}
	t := YMM()
	VPAND(mask, v, t)
	VPCMPEQQ(x.zero, t, t)
	switch {
	case in == nil:
		return lanes{y: t, not: true}
	case in.not:
		VPOR(in.y, t, t)
		return lanes{y: t, not: true}
	}
	VPANDN(in.y, t, t)
	return lanes{y: t}
}

// none returns the lanes of in in which v has no bit of mask.
func (x *isa) none(v, mask reg.VecVirtual, in lanes) lanes {
	if x.wide {
		k := K()
		VPTESTNMQ(mask, v, in.k, k)
		return lanes{k: k}
	}
	t := YMM()
	VPAND(mask, v, t)
	VPCMPEQQ(x.zero, t, t)
	if in.not {
		VPANDN(t, in.y, t)
	} else {
		VPAND(t, in.y, t)
	}
	return lanes{y: t}
}

// merge sets dst to v in the lanes of l.
func (x *isa) merge(l lanes, v, dst reg.VecVirtual) {
	switch {
	case x.wide:
		VMOVDQA64(v, l.k, dst)
	case l.not:
		VPBLENDVB(l.y, dst, v, dst)
	default:
		VPBLENDVB(l.y, v, dst, dst)
	}
}

// only returns v in the lanes of l, and 0 in others.
func (x *isa) only(l lanes, v reg.VecVirtual) reg.VecVirtual {
	r := x.vec()
	switch {
	case x.wide:
		VMOVDQA64_Z(v, l.k, r)
	case l.not:
		VPANDN(v, l.y, r)
	default:
		VPAND(v, l.y, r)
	}
	return r
}

// collector joins the lanes of the vectors of a group to an integer, first entry lowest. All have the same sense.
type collector struct {
	x   *isa
	n   int
	k   [2]reg.OpmaskVirtual
	sum reg.GPVirtual
	not bool
}

func (x *isa) collect() *collector { return &collector{x: x} }

func (c *collector) add(l lanes) {
	defer func() { c.n++ }()
	if !c.x.wide {
		if c.n == 0 {
			c.sum, c.not = zeroed(), l.not
			VMOVMSKPD(l.y, c.sum.As32())
			return
		}
		part := GP32()
		VMOVMSKPD(l.y, part)
		SHLL(U8(c.n*quad), part)
		ORL(part, c.sum.As32())
		return
	}
	if c.n%2 == 0 {
		c.k[c.n/2] = l.k
		return
	}
	w := K()
	KUNPCKBW(c.k[c.n/2], l.k, w)
	c.k[c.n/2] = w
}

// bits returns the integer.
func (c *collector) bits() reg.GPVirtual {
	switch {
	case c.x.wide:
		d, k := zeroed(), K()
		KUNPCKWD(c.k[0], c.k[1], k)
		KMOVD(k, d.As32())
		return d
	case c.not:
		NOTL(c.sum.As32())
	}
	return c.sum
}

// test sets the flags to "not zero" if v has a bit.
func (x *isa) test(v reg.VecVirtual) {
	if x.wide {
		k := test(v, v, nil)
		KORTESTB(k, k)
	} else {
		VPTEST(v, v)
	}
}

// active returns the lanes of vector i whose bits are set in act.
func (x *isa) active(act reg.GPVirtual, i int) lanes {
	if x.wide {
		k := K()
		KMOVD(act.As32(), k)
		if i > 0 {
			KSHIFTRD(U8(8*i), k, k)
		}
		return lanes{k: k}
	}
	word, t, m := XMM(), YMM(), YMM()
	VMOVQ(act, word)
	VPBROADCASTQ(word, t)
	VPMOVZXBQ(constant("lanes", 0x08040201), m)
	if i > 0 {
		VPSLLQ(U8(i*quad), m, m)
	}
	VPAND(m, t, t)
	VPCMPEQQ(m, t, t)
	return lanes{y: t}
}

// clearBitmap clears a bitmap of the result.
func (x *isa) clearBitmap(c gotypes.Component) {
	m := mem(c.Index(0))
	if x.wide {
		VMOVDQU64(x.zero, m)
		return
	}
	VMOVDQU(x.zero, m)
	VMOVDQU(x.zero, m.Offset(32))
}

// setBits stores the bits of the group at pos in a bitmap.
func (x *isa) setBits(c gotypes.Component, pos, bits reg.GPVirtual) {
	m, n := mem(c.Index(0)), GP64()
	MOVQ(pos, n)
	SHRQ(U8(3), n)
	m.Index, m.Scale = n, 1
	MOVL(bits.As32(), m)
}

// wholeTable calls body to write the work on one group, twice: the loop is then short enough for branch predictors to
// know its end.
func wholeTable(pos reg.GPVirtual, body func()) {
	XORQ(pos, pos)
	Label("loop")
	for range 2 {
		body()
		ADDQ(U8(group), pos)
	}
	CMPQ(pos, U32(512))
	JNE(LabelRef("loop"))
}

// someGroups does so for the groups that hold the entries from parameter first to parameter last. Where a group reaches
// beyond, partial gets a bitmap of the entries that take part. It also gets the whole groups for which body jumps to
// "mixed".
func someGroups(pos reg.GPVirtual, body func(), partial func(act reg.GPVirtual)) {
	first, last, end := GP64(), GP64(), GP64()
	Load(Param("first"), pos)
	ANDQ(I8(-group), pos)
	Label("groups")
	Comment("How many whole groups are there from here on? Two at a time as long as there are.")
	Load(Param("last"), end)
	CMPQ(pos, end)
	JGT(LabelRef("done"))
	Load(Param("first"), first)
	CMPQ(pos, first)
	JLT(LabelRef("partial"))
	INCQ(end)
	SUBQ(pos, end)
	CMPQ(end, U8(group))
	JLT(LabelRef("partial"))
	CMPQ(end, U8(2*group))
	JLT(LabelRef("single"))
	ANDQ(I8(-2*group), end)
	ADDQ(pos, end)
	Label("pairs")
	for range 2 {
		body()
		ADDQ(U8(group), pos)
	}
	CMPQ(pos, end)
	JLT(LabelRef("pairs"))
	JMP(LabelRef("groups"))

	Label("single")
	body()
	ADDQ(U8(group), pos)
	JMP(LabelRef("groups"))

	Label("partial")
	act, tail := GP64(), GP64()
	MOVQ(U32(0xffffffff), act)
	MOVQ(act, tail)
	SUBQ(pos, first)
	JLE(LabelRef("from_start"))
	SHLXL(first.As32(), act.As32(), act.As32())
	Label("from_start")
	Load(Param("last"), last)
	LEAQ(Mem{Base: pos, Disp: group - 1}, end)
	SUBQ(last, end)
	JLE(LabelRef("to_end"))
	SHRXL(end.As32(), tail.As32(), tail.As32())
	ANDQ(tail, act)
	Label("to_end")
	Label("partial_group")
	partial(act)
	ADDQ(U8(group), pos)
	JMP(LabelRef("groups"))

	Label("mixed")
	MOVQ(U32(0xffffffff), act)
	JMP(LabelRef("partial_group"))
	Label("done")
}
