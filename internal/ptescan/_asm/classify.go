package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// form is what becomes of a page of one form of a class: if it does not, or cannot, become writable because of its frame, and
// if it does. If it cannot, upKind is kindNone.
type form struct{ flip, kind, upXor, upKind Mem }

func newForm() form {
	f := AllocLocal(32)
	return form{f, f.Offset(8), f.Offset(16), f.Offset(24)}
}

// classify makes a class of the page e, which it destroys. If e differs from the class before by one bit, it tries to
// have both in one, but for a fork, which knows only classes of one form.
func (s *change) classify(e reg.GPVirtual) {
	var forms [2]form
	for i := range forms {
		forms[i] = newForm()
	}
	free, t := GP64(), GP64()
	if s.fork {
		XORQ(free, free)
	} else {
		s.guess(e, free)
	}
	Label("classify_again")
	ANDNQ(e, free, e)
	s.evaluate(e, forms[0])
	XORQ(free, e)
	s.evaluate(e, forms[1])
	XORQ(free, e)
	s.unite(forms, free)

	Label("accept")
	MOVQ(e, s.class("ref"))
	s.repeat("free", free)
	MOVQ(s.own("deciding"), t)
	ANDNQ(t, free, free)
	MOVQ(free, s.class("rel"))
	ANDNQ(e, free, t)
	XORQ(e, t)
	XORQ(forms[0].flip, t)
	MOVQ(t, s.class("xor"))
	MOVQ(forms[0].flip, t)
	s.repeat("flip", t)
	TESTQ(e, s.pte("Select"))
	SETNE(t.As8())
	ANDQ(U8(1), t)
	MOVQ(t, s.class("add"))
}

// guess sets free to the bit in which e differs from the class, if it is one, or else to that of the class.
func (s *change) guess(e, free reg.GPVirtual) {
	d, t := GP64(), GP64()
	MOVQ(s.repeated("free"), free)
	MOVQ(e, d)
	XORQ(s.class("ref"), d)
	ANDQ(s.own("deciding"), d)
	ANDNQ(d, free, d)
	LEAQ(Mem{Base: d, Disp: -1}, t)
	ANDQ(d, t)
	JNE(LabelRef("classify_again"))
	MOVQ(s.pte("Exists"), t)
	ORQ(s.pte("Frame"), t)
	ANDNQ(d, t, d)
	CMOVQNE(d, free)
}

// repeat stores r in all words of a field of the class, and repeated is the first of them.
func (s *change) repeat(field string, r reg.GPVirtual) {
	for i := range quad {
		MOVQ(r, mem(s.c.Field("class").Field(field).Index(i)))
	}
}

func (s *change) repeated(field string) Mem { return mem(s.c.Field("class").Field(field).Index(0)) }

// evaluate works out what becomes of the page e.
func (s *change) evaluate(e reg.GPVirtual, f form) {
	v, t, up, all, ready := GP64(), GP64(), GP64(), label("all"), label("evaluated")
	MOVQ(U32(0), f.upXor)
	MOVQ(U32(kindNone), f.upKind)
	MOVQ(e, v)
	TESTQ(e, s.pte("Select"))
	JEQ(LabelRef(ready))
	s.transform(e, v, t)
	CMPQ(s.own("upgrade"), U8(0))
	JEQ(LabelRef(ready))
	MOVQ(s.pte("WritableMask"), t)
	ANDQ(v, t)
	CMPQ(t, s.pte("WritableWant"))
	JNE(LabelRef(ready))
	TESTQ(v, s.own("any"))
	JEQ(LabelRef(ready))
	CMPQ(s.own("upgrade"), U8(2))
	JEQ(LabelRef(all))
	MOVQ(v, up)
	s.mkWrite(up)
	s.verdict(e, up, t)
	MOVQ(t, f.upKind)
	XORQ(v, up)
	MOVQ(up, f.upXor)
	JMP(LabelRef(ready))
	Label(all)
	s.mkWrite(v)
	Label(ready)
	s.verdict(e, v, t)
	MOVQ(t, f.kind)
	XORQ(e, v)
	MOVQ(v, f.flip)
}

// unite makes of two forms what is common to the class. If they have too little in common, it makes free 0 and goes
// back to "classify_again".
func (s *change) unite(f [2]form, free reg.GPVirtual) {
	kind, moved, t, t2 := GP64(), GP64(), GP64(), GP64()
	MOVQ(f[0].flip, moved)
	XORQ(f[1].flip, moved)
	Comment("The bit free must be left as it is by the first form's change.")
	TESTQ(free, f[0].flip)
	JNE(LabelRef("unite_fails"))
	MOVQ(f[0].upKind, t)
	ANDQ(f[1].upKind, t)
	TESTQ(U32(kindNone), t)
	JEQ(LabelRef("unite_frames"))
	MOVQ(f[0].kind, kind)
	MOVQ(kind, t)
	ORQ(f[1].kind, kind)
	XORQ(f[1].kind, t)
	JEQ(LabelRef("united"))
	Comment("Do both forms come together?")
	if !s.fork {
		CMPB(s.together, U8(0))
		JEQ(LabelRef("unite_fails"))
	}
	TESTQ(U32(kindFlush), t)
	JEQ(LabelRef("united"))
	ORQ(U8(kindSplit), kind)
	MOVQ(f[0].kind, t)
	SHRQ(U8(1), t)
	ANDQ(U8(1), t)
	NEGQ(t)
	MOVQ(t, s.class("split"))
	JMP(LabelRef("united"))

	Comment("It depends on the frames, and on the caller if he gave no bits.")
	Label("unite_frames")
	CMPQ(s.own("bits"), U8(0))
	JEQ(LabelRef("unite_fails"))
	TESTQ(moved, moved)
	JNE(LabelRef("unite_fails"))
	MOVQ(f[0].kind, t)
	MOVQ(t, s.class("noKind"))
	CMPQ(t, f[1].kind)
	JNE(LabelRef("unite_fails"))
	MOVQ(f[1].upKind, t)
	MOVQ(t, s.class("upKind"))
	MOVQ(f[0].upKind, t2)
	MOVQ(f[1].upXor, kind)
	MOVQ(kind, s.class("upXor"))
	MOVQ(free, s.class("need"))
	TESTQ(U32(kindNone), t2)
	JNE(LabelRef("unite_need"))
	CMPQ(t, t2)
	JNE(LabelRef("unite_fails"))
	MOVQ(f[0].upXor, t)
	MOVQ(t, s.class("upXor"))
	MOVQ(I32(-1), s.class("need"))
	XORQ(kind, t)
	Label("unite_up")
	s.repeat("upMoved", t)
	MOVQ(U32(kindFrames), kind)
	JMP(LabelRef("united"))
	Label("unite_need")
	TESTQ(U32(kindNone), t)
	JNE(LabelRef("unite_fails"))
	XORQ(t, t)
	JMP(LabelRef("unite_up"))

	Label("unite_fails")
	MOVQ(U32(kindNone), kind)
	XORQ(moved, moved)
	TESTQ(free, free)
	JEQ(LabelRef("united"))
	XORQ(free, free)
	JMP(LabelRef("classify_again"))
	Label("united")
	MOVQ(kind, s.class("kind"))
	s.repeat("moved", moved)
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
