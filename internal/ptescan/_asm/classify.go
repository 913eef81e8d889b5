package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// classify makes a class of the page e, which it destroys.
func (s *change) classify(e reg.GPVirtual) {
	bits := GP64()
	v, kind := GP64(), GP64()
	XORQ(kind, kind)
	MOVQ(e, v)
	MOVQ(kind, s.class("add"))
	TESTQ(e, s.pte("Select"))
	JEQ(LabelRef("accept"))
	MOVQ(U32(1), s.class("add"))
	s.transform(e, v, bits)
	CMPQ(s.own("upgrade"), U8(0))
	JEQ(LabelRef("verdict"))
	MOVQ(s.pte("WritableMask"), bits)
	ANDQ(v, bits)
	CMPQ(bits, s.pte("WritableWant"))
	JNE(LabelRef("verdict"))
	TESTQ(v, s.own("any"))
	JEQ(LabelRef("verdict"))
	CMPQ(s.own("upgrade"), U8(2))
	JEQ(LabelRef("upgrade"))
	Comment("If only the caller knows, there is no class.")
	MOVQ(U32(kindNone), kind)
	CMPQ(s.own("bits"), U8(0))
	JEQ(LabelRef("accept"))
	Comment("It depends on the frames: work out both outcomes.")
	up := GP64()
	MOVQ(v, up)
	s.mkWrite(up)
	MOVQ(up, bits)
	XORQ(v, bits)
	MOVQ(bits, s.class("upXor"))
	s.verdict(e, v, kind)
	MOVQ(kind, s.class("noKind"))
	s.verdict(e, up, kind)
	MOVQ(kind, s.class("upKind"))
	MOVQ(U32(kindFrames), kind)
	JMP(LabelRef("accept"))
	Label("upgrade")
	s.mkWrite(v)
	Label("verdict")
	s.verdict(e, v, kind)

	Label("accept")
	MOVQ(kind, s.class("kind"))
	MOVQ(e, s.class("ref"))
	MOVQ(e, bits)
	XORQ(v, bits)
	MOVQ(bits, s.class("flip"))
	MOVQ(s.own("deciding"), bits)
	ANDNQ(e, bits, e)
	XORQ(e, v)
	MOVQ(v, s.class("xor"))
}

// transform sets v to PTEChange.Apply(e).
func (s *change) transform(e, v, tmp reg.GPVirtual) {
	MOVQ(e, v)
	ANDQ(s.pte("Keep"), v)
	XORQ(s.own("set"), v)
	XORQ(tmp, tmp)
	TESTQ(e, s.pte("Valid"))
	CMOVQNE(s.pte("Invert"), tmp)
	XORQ(tmp, v)
	moved := GP64()
	MOVQ(s.pte("MoveFrom"), moved)
	ANDNQ(v, moved, moved)
	ORQ(s.pte("MoveTo"), moved)
	MOVQ(s.pte("MoveMask"), tmp)
	ANDQ(e, tmp)
	CMPQ(tmp, s.pte("MoveWant"))
	CMOVQEQ(moved, v)
}

// mkWrite is PTEChange.MkWrite.
func (s *change) mkWrite(v reg.GPVirtual) {
	from, done := GP64(), label("upgraded")
	MOVQ(s.pte("UpgradeFrom"), from)
	TESTQ(v, from)
	JEQ(LabelRef(done))
	ANDNQ(v, from, v)
	ORQ(s.pte("UpgradeTo"), v)
	Label(done)
	ORQ(s.pte("UpgradeSet"), v)
}

// verdict sets kind to what it means that e becomes v.
func (s *change) verdict(e, v, kind reg.GPVirtual) {
	diff, m, quiet := GP64(), GP64(), label("quiet")
	XORQ(kind, kind)
	MOVQ(v, diff)
	XORQ(e, diff)
	SETNE(kind.As8())
	MOVQ(s.pte("FlushCleared"), m)
	ANDQ(e, m)
	ORQ(s.pte("FlushChanged"), m)
	TESTQ(diff, m)
	JEQ(LabelRef(quiet))
	TESTQ(e, s.pte("Valid"))
	JEQ(LabelRef(quiet))
	ORQ(U8(kindFlush), kind)
	Label(quiet)
}

// classifyOther makes a kind of e, which is neither page nor empty. If that cannot be, nothing will be of the kind. It goes
// on at "unlike_each_other" then.
func (s *change) classifyOther(e reg.GPVirtual) {
	sw := Dereference(s.c.Field("swap"))
	entry := func(table string, typ reg.Register) Mem {
		m := mem(sw.Field(table).Index(0))
		m.Index, m.Scale = typ, 8
		return m
	}
	typ, v, rel := GP64(), GP64(), GP64()
	MOVQ(mem(sw.Field("TypeShift")), v)
	MOVQ(I32(-1), rel)
	SHLXQ(v, rel, rel)
	SHRXQ(v, e, typ)
	Comment("Half the type's lowest bit is the highest one of what empty entries lack and others mostly have.")
	MOVQ(rel, v)
	SHRQ(U8(1), v)
	ORQ(v, rel)
	ORQ(s.pte("Exists"), rel)
	MOVQ(I32(-1), v)
	MOVQ(v, s.other("rel"))
	MOVQ(U32(0), s.other("ref"))
	for _, set := range []string{"Ask", "Drop"} {
		MOVQ(mem(sw.Field(set)), v)
		BTQ(typ, v)
		JCS(LabelRef("unlike_each_other"))
	}
	MOVQ(entry("Keep", typ), v)
	MOVQ(v, s.other("flip"))
	NOTQ(v)
	ORQ(v, rel)
	MOVQ(s.other("flip"), v)
	ANDQ(e, v)
	XORQ(entry("Xor", typ), v)
	XORQ(e, v)
	MOVQ(v, s.other("flip"))
	XORQ(typ, typ)
	TESTQ(v, v)
	SETNE(typ.As8())
	MOVQ(typ, s.other("add"))
	Comment("An empty entry must not be of the kind.")
	MOVQ(rel, v)
	ANDQ(s.own("filled"), v)
	TESTQ(e, v)
	JEQ(LabelRef("unlike_each_other"))
	MOVQ(e, s.other("ref"))
	MOVQ(rel, s.other("rel"))
}
