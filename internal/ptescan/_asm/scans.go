package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scans writes the simpler kernels.
func scans(wide bool) {
	x := &isa{wide: wide}
	x.sort()
	x.harvest()
	x.zap()
	x.copies()
	x.breaks()
}

// begin starts the kernel that is to do what the function of that stem and "Generic" does.
func (x *isa) begin(stem, signature string) {
	TEXT(x.name(stem), 0, signature)
	Pragma("noescape")
	Doc(x.name(stem) + " is " + stem + "Generic.")
}

// lanesIn returns the lanes of vector i that take part: nil for all.
func (x *isa) lanesIn(act *reg.GPVirtual, i int) *lanes {
	if act == nil {
		return nil
	}
	l := x.active(*act, i)
	return &l
}

func (x *isa) field(c gotypes.Component, name string) reg.VecVirtual {
	return x.broadcast(mem(c.Field(name)))
}

// sort is sortGeneric.
func (x *isa) sort() {
	x.begin("sort", "func(t *Table, k *kindsParams, r *Sorted)")
	t, k, r := Load(Param("t"), GP64()), Dereference(Param("k")), Dereference(Param("r"))
	exists, filled := x.field(k, "Exists"), x.field(k, "Filled")
	x.clear()
	pos := GP64()
	wholeTable(pos, func() {
		pages, others := x.collect(), x.collect()
		for i := range x.vectors() {
			e := x.load(x.at(t, pos, i))
			pages.add(x.any(e, exists, nil))
			others.add(x.any(e, filled, nil))
		}
		p, o := pages.bits(), others.bits()
		x.setBits(r.Field("Pages"), pos, p)
		XORQ(p, o)
		x.setBits(r.Field("Others"), pos, o)
	})
	VZEROUPPER()
	RET()
}

// harvest is harvestGeneric.
func (x *isa) harvest() {
	x.begin("harvest", "func(t *Table, first, last uint64, h *harvestParams, r *Harvested)")
	t, h, r := Load(Param("t"), GP64()), Dereference(Param("h")), Dereference(Param("r"))
	exists, report, clear := x.field(h, "Exists"), x.field(h, "Report"), x.field(h, "Clear")
	x.clear()
	x.clearBitmap(r.Field("Found"))
	x.clearBitmap(r.Field("Changed"))
	pos := GP64()
	both(pos, func(act *reg.GPVirtual) {
		found, changed, same := x.collect(), x.collect(), label("same")
		lose := func(i int, in *lanes) (e, lost reg.VecVirtual, page lanes) {
			e, lost = x.load(x.at(t, pos, i)), x.vec()
			page = x.any(e, exists, in)
			x.and(clear, e, lost)
			return e, x.only(page, lost), page
		}
		var v []reg.VecVirtual
		for i := range x.vectors() {
			e, lost, page := lose(i, x.lanesIn(act, i))
			found.add(x.any(e, report, &page))
			changed.add(x.any(lost, clear, nil))
			if x.wide {
				x.xor(lost, e, e)
				v = append(v, e)
			}
		}
		x.setBits(r.Field("Found"), pos, found.bits())
		c := changed.bits()
		TESTQ(c, c)
		JEQ(LabelRef(same))
		x.setBits(r.Field("Changed"), pos, c)
		for i := range x.vectors() {
			if !x.wide {
				e, lost, _ := lose(i, x.lanesIn(act, i))
				x.xor(lost, e, e)
				v = append(v, e)
			}
			x.store(v[i], x.at(t, pos, i))
		}
		Label(same)
	})
	VZEROUPPER()
	RET()
}

// zap is zapGeneric.
func (x *isa) zap() {
	x.begin("zap", "func(t, saved *Table, first, last uint64, z *zapParams, r *Zapped)")
	t, saved := Load(Param("t"), GP64()), Load(Param("saved"), GP64())
	z, r := Dereference(Param("z")), Dereference(Param("r"))
	exists, filled := x.field(z, "Exists"), x.field(z, "Filled")
	protected, marker := x.field(z, "Protected"), x.field(z, "Marker")
	x.clear()
	x.clearBitmap(r.Field("Pages"))
	x.clearBitmap(r.Field("Others"))
	pos := GP64()
	both(pos, func(act *reg.GPVirtual) {
		pages, others, none := x.collect(), x.collect(), label("no_page")
		for i := range x.vectors() {
			e, in := x.load(x.at(t, pos, i)), x.lanesIn(act, i)
			page := x.any(e, exists, in)
			pages.add(page)
			others.add(x.any(e, filled, in))
		}
		p, o := pages.bits(), others.bits()
		x.setBits(r.Field("Pages"), pos, p)
		XORQ(p, o)
		x.setBits(r.Field("Others"), pos, o)
		TESTQ(p, p)
		JEQ(LabelRef(none))
		for i := range x.vectors() {
			e := x.load(x.at(t, pos, i))
			page := x.any(e, exists, x.lanesIn(act, i))
			left := x.only(x.any(e, protected, &page), marker)
			x.store(e, x.at(saved, pos, i))
			x.merge(page, left, e)
			x.store(e, x.at(t, pos, i))
		}
		Label(none)
	})
	VZEROUPPER()
	RET()
}

// both is someGroups for a body that serves for whole and for partial groups.
func both(pos reg.GPVirtual, body func(act *reg.GPVirtual)) {
	someGroups(pos, func() { body(nil) }, func(act reg.GPVirtual) { body(&act) })
}

// copies is Copy.applyGeneric. Groups of pages of one class have a path of their own.
func (x *isa) copies() {
	x.begin("copy", "func(t, child *Table, first, last uint64, c *Copy, r *Copied)")
	t, child := Load(Param("t"), GP64()), Load(Param("child"), GP64())
	c, r := Dereference(Param("c")), Dereference(Param("r"))
	change := c.Field("Change")
	x.clear()
	x.clearBitmap(r.Field("Pages"))
	x.clearBitmap(r.Field("Others"))
	pos, stream, no := GP64(), AllocLocal(8), GP64()
	Comment("Stores past the caches want a child that is aligned.")
	MOVQ(mem(c.Field("stream")), pos)
	XORQ(no, no)
	TESTQ(U32(63), child)
	CMOVQNE(no, pos)
	MOVQ(pos, stream)
	ref, rel, xor := x.copyClass(change, t)
	childKeep := x.field(c, "childKeep")

	someGroups(pos, func() {
		v, off, d := make([]reg.VecVirtual, x.vectors()), x.vec(), x.vec()
		for i := range v {
			v[i] = x.load(x.at(t, pos, i))
		}
		x.xor(v[0], ref, off)
		for _, e := range v[1:] {
			if x.wide {
				tern(off, e, ref, orXor)
			} else {
				x.xor(e, ref, d)
				x.or(d, off, off)
			}
		}
		if x.wide {
			k := test(off, rel, nil)
			KORTESTB(k, k)
		} else {
			VPTEST(rel, off)
		}
		JNE(LabelRef("mixed"))
		all := GP64()
		MOVQ(I32(-1), all)
		x.setBits(r.Field("Pages"), pos, all)
		for _, e := range v {
			if x.wide {
				tern(e, rel, xor, clrXor)
			} else {
				x.andNot(e, rel, e)
				x.xor(xor, e, e)
			}
		}
		unchanged, past, done := label("unchanged"), label("past"), label("copied")
		TESTQ(U32(kindStore), mem(change.Field("class").Field("kind")))
		JEQ(LabelRef(unchanged))
		for i, e := range v {
			x.store(e, x.at(t, pos, i))
		}
		Label(unchanged)
		for _, e := range v {
			x.and(childKeep, e, e)
		}
		CMPQ(stream, U8(0))
		JNE(LabelRef(past))
		for i, e := range v {
			x.store(e, x.at(child, pos, i))
		}
		JMP(LabelRef(done))
		Label(past)
		for i, e := range v {
			VMOVNTDQ(e, x.at(child, pos, i))
		}
		Label(done)
	}, func(act reg.GPVirtual) { x.copyMixed(c, r, t, child, pos, act, childKeep) })

	CMPQ(stream, U8(0))
	JEQ(LabelRef("fenced"))
	SFENCE()
	Label("fenced")
	VZEROUPPER()
	RET()
}

// copyMixed copies the pages of one group among the entries of act.
func (x *isa) copyMixed(c, r gotypes.Component, t, child, pos reg.Register, act reg.GPVirtual, childKeep reg.VecVirtual) {
	none, change := label("no_page"), c.Field("Change")
	pte := func(name string) reg.VecVirtual { return x.field(change.Field("pte"), name) }
	exists, filled := pte("Exists"), x.field(change, "filled")
	pages, others := x.collect(), x.collect()
	for i := range x.vectors() {
		e, in := x.load(x.at(t, pos, i)), x.active(act, i)
		pages.add(x.any(e, exists, &in))
		others.add(x.any(e, filled, &in))
	}
	p, o := pages.bits(), others.bits()
	x.setBits(r.Field("Pages"), pos.(reg.GPVirtual), p)
	XORQ(p, o)
	x.setBits(r.Field("Others"), pos.(reg.GPVirtual), o)
	TESTQ(p, p)
	JEQ(LabelRef(none))
	keep, mask, want, from, to := pte("Keep"), pte("MoveMask"), pte("MoveWant"), pte("MoveFrom"), pte("MoveTo")
	for i := range x.vectors() {
		e, v := x.load(x.at(t, pos, i)), x.vec()
		x.and(keep, e, v)
		d := x.vec()
		x.xor(want, e, d)
		x.exchange(v, x.any(d, mask, nil), from, to)
		page, same := x.active(p, i), label("parent_stays")
		CMPQ(mem(change.Field("pte").Field("Keep")), I8(-1))
		JEQ(LabelRef(same))
		x.merge(page, v, e)
		x.store(e, x.at(t, pos, i))
		Label(same)
		x.and(childKeep, v, v)
		old := x.load(x.at(child, pos, i))
		x.merge(page, v, old)
		x.store(old, x.at(child, pos, i))
	}
	Label(none)
}

// copyClass returns the class of the first entry of the range, as change has them: entries whose bits rel are those of
// ref turn into old&^rel ^ xor. If that entry is no page, any page will do.
func (x *isa) copyClass(of gotypes.Component, t reg.Register) (ref, rel, xor reg.VecVirtual) {
	s, e := &change{c: of, fork: true}, GP64()
	Load(Param("first"), e)
	MOVQ(Mem{Base: t, Index: e, Scale: 8}, e)
	diff := GP64()
	MOVQ(e, diff)
	XORQ(s.class("ref"), diff)
	ANDQ(s.own("deciding"), diff)
	kind, valid := GP64(), GP64()
	MOVQ(s.class("kind"), kind)
	ANDQ(U8(kindNone), kind)
	ORQ(kind, diff)
	JEQ(LabelRef("same_class"))
	MOVQ(s.pte("Valid"), valid)
	TESTQ(e, s.pte("Exists"))
	CMOVQEQ(valid, e)
	s.classify(e)
	Label("same_class")
	ref, rel, xor = x.broadcast(s.class("ref")), x.broadcast(s.own("deciding")), x.broadcast(s.class("xor"))
	return ref, rel, xor
}

// exchange replaces the bits from of v by the bits to, except in the lanes given.
func (x *isa) exchange(v reg.VecVirtual, except lanes, from, to reg.VecVirtual) {
	if x.wide {
		k := K()
		KNOTB(except.k, k)
		tern(v, from, to, clrOr, k)
		return
	}
	// except.y is all ones where the bits are to be replaced: none of the mask's bits differed.
	t := YMM()
	VPAND(from, except.y, t)
	VPANDN(v, t, v)
	VPAND(to, except.y, t)
	VPOR(t, v, v)
}
