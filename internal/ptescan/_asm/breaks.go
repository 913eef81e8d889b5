package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// breaking is the state of the kernel that finds the ends of runs.
type breaking struct {
	*isa
	t, out, pos, all reg.GPVirtual

	attributes, follow, frame, valid, step reg.VecVirtual

	last reg.VecVirtual // the entry before the group, in all lanes; only up to date after a break

	mask, flip, expect, plain, add reg.VecVirtual // see expectFrames
}

// breaks is breaksGeneric.
func (x *isa) breaks() {
	x.begin("breaks", "func(t *Table, prev uint64, p *runsParams, breaks *Bitmap) uint64")
	b := &breaking{isa: x, t: GP64(), out: GP64(), pos: GP64(), all: GP64()}
	Load(Param("t"), b.t)
	Load(Param("breaks"), b.out)
	p := Dereference(Param("p"))
	b.attributes = x.field(p, "Attributes")
	b.last = x.broadcast(NewParamAddr("prev", 8))
	x.clear()
	x.store(x.zero, Mem{Base: b.out})
	if !x.wide {
		x.store(x.zero, Mem{Base: b.out, Disp: 32})
	}
	XORQ(b.all, b.all)
	XORQ(b.pos, b.pos)
	CMPQ(mem(p.Field("Follow")), U8(0))
	JNE(LabelRef("frames"))

	Comment("Attributes only.")
	b.loop("attributes", func() {}, b.sameAttributes, func(e, prev reg.VecVirtual) lanes {
		x.xor(e, prev, prev)
		return x.any(prev, b.attributes, nil)
	})

	Comment("Frames, too.")
	Label("frames")
	b.follow, b.frame = x.field(p, "Follow"), x.field(p, "Frame")
	b.valid, b.step = x.field(p, "Valid"), x.field(p, "Step")
	b.mask, b.flip, b.expect, b.plain, b.add = x.vec(), x.vec(), x.vec(), x.vec(), x.vec()
	b.loop("consecutive", b.expectFrames, b.sameFrames, b.differentFrame)

	Label("done")
	Store(b.all, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// loop goes over the groups. As long as same, which sets the flags, finds no break, that is all. Else it asks differs
// for the lanes of each vector that break, given the entries and their predecessors, and calls start anew. The loop
// takes two groups at a time, so that it is short enough for branch predictors to know its end.
func (b *breaking) loop(name string, start, same func(), differs func(e, prev reg.VecVirtual) lanes) {
	start()
	Label(name)
	for range 2 {
		same()
		JNE(LabelRef(name + "_break"))
		ADDQ(U8(group), b.pos)
		CMPQ(b.pos, U32(512))
		JEQ(LabelRef("done"))
	}
	JMP(LabelRef(name))

	Label(name + "_break")
	Comment("What came before the group?")
	begin := label("begin")
	TESTQ(b.pos, b.pos)
	JEQ(LabelRef(begin))
	VPBROADCASTQ(Mem{Base: b.t, Index: b.pos, Scale: 8, Disp: -8}, b.last)
	Label(begin)
	c := b.collect()
	for i := range b.vectors() {
		e := b.load(b.at(b.t, b.pos, i))
		prev := b.vec()
		if i > 0 {
			m := b.at(b.t, b.pos, i)
			m.Disp -= 8
			prev = b.load(m)
		} else if b.wide {
			VALIGNQ(U8(7), b.last, e, prev)
		} else {
			VPERMQ(U8(0x93), e, prev)
			VPBLENDD(U8(3), b.last, prev, prev)
		}
		c.add(differs(e, prev))
	}
	bits, n := c.bits(), GP64()
	ORQ(bits, b.all)
	MOVQ(b.pos, n)
	SHRQ(U8(3), n)
	MOVL(bits.As32(), Mem{Base: b.out, Index: n, Scale: 1})
	VPBROADCASTQ(Mem{Base: b.t, Index: b.pos, Scale: 8, Disp: 8 * (group - 1)}, b.last)
	ADDQ(U8(group), b.pos)
	CMPQ(b.pos, U32(512))
	JEQ(LabelRef("done"))
	start()
	JMP(LabelRef(name))
}

// sameAttributes compares all entries with the one before the group.
func (b *breaking) sameAttributes() {
	acc := b.vec()
	for i := range b.vectors() {
		m := b.at(b.t, b.pos, i)
		switch {
		case i == 0:
			b.xor(m, b.last, acc)
		case b.wide:
			tern(acc, b.last, m, orXor)
		default:
			d := YMM()
			VPXOR(m, b.last, d)
			VPOR(d, acc, acc)
		}
	}
	if b.wide {
		k := test(b.attributes, acc, nil)
		KORTESTB(k, k)
	} else {
		VPTEST(b.attributes, acc)
	}
}

// expectFrames works out what should follow last: the same attributes and, if it is to be followed, the next frames.
// Without Valid everything is compared inverted: then the frames ascend.
func (b *breaking) expectFrames() {
	follows := b.any(b.last, b.follow, nil)
	b.or(b.only(follows, b.frame), b.attributes, b.mask)
	b.or(b.follow, b.mask, b.mask)
	b.or(b.valid, b.mask, b.mask)
	if b.wide {
		ones, k := b.vec(), K()
		VPTERNLOGQ(U8(0xff), ones, ones, ones)
		VPTESTNMQ(b.valid, b.last, k)
		VMOVDQA64_Z(ones, k, b.flip)
		VPMOVZXBQ(constant("next8", 0x0807060504030201), b.expect)
	} else {
		VPAND(b.valid, b.last, b.flip)
		VPCMPEQQ(b.zero, b.flip, b.flip)
		VPMOVZXBQ(constant("next4", 0x04030201), b.expect)
	}
	VPMULUDQ(b.step, b.expect, b.expect)
	b.xor(b.flip, b.last, b.plain)
	VPADDQ(b.plain, b.expect, b.expect)
	VPSLLQ(U8(map[bool]uint8{true: 3, false: 2}[b.wide]), b.step, b.add)
}

// sameFrames compares a group with what is expected: the frames of expect, which may have carried into the attributes,
// and the attributes of plain.
func (b *breaking) sameFrames() {
	acc, t := b.vec(), b.vec()
	for i := range b.vectors() {
		m := b.at(b.t, b.pos, i)
		if b.wide {
			VMOVDQA64(b.expect, t)
			tern(t, b.frame, b.plain, func(x, y, z bool) bool { return x && y || z && !y })
			tern(t, b.flip, m, func(x, y, z bool) bool { return x != y != z })
		} else {
			VPXOR(b.expect, b.plain, t)
			VPAND(b.frame, t, t)
			VPXOR(b.plain, t, t)
			VPXOR(b.flip, t, t)
			VPXOR(m, t, t)
		}
		if i == 0 {
			b.and(b.mask, t, acc)
		} else {
			b.or(t, acc, acc)
		}
		VPADDQ(b.add, b.expect, b.expect)
	}
	b.and(b.mask, acc, acc)
	b.test(acc)
}

// differentFrame is breaksRun.
func (b *breaking) differentFrame(e, prev reg.VecVirtual) lanes {
	d, want := b.vec(), b.vec()
	b.xor(e, prev, d)
	b.and(b.attributes, d, d)
	b.and(b.frame, prev, want)
	up, down := b.vec(), b.vec()
	VPADDQ(b.step, want, up)
	VPSUBQ(b.step, want, down)
	b.merge(b.any(e, b.valid, nil), up, down)
	b.xor(e, down, down)
	b.and(b.frame, down, down)
	b.or(b.only(b.any(e, b.follow, nil), down), d, d)
	return b.any(d, d, nil)
}
