package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// others handles the entries that are not pages: it changes them in old and notes in acc what differs. It jumps to
// done, or falls through.
func (s *change) others(n int, at reg.GPVirtual, act *reg.OpmaskVirtual, done string) {
	filled, noInstall := broadcast512(s.own("filled")), label("no_install")
	CMPQ(s.own("swap"), U8(0))
	JEQ(LabelRef(done))
	empty := zeroed()
	CMPQ(s.own("install"), U8(0))
	JEQ(LabelRef(noInstall))
	Comment("Put something in the place of empty entries.")
	MOVQ(pack(n, func(i int) reg.OpmaskVirtual {
		k := K()
		if act == nil {
			VPTESTNMQ(filled, s.old[i], k)
		} else {
			VPTESTNMQ(filled, s.old[i], *act, k)
		}
		v := ZMM()
		VMOVDQA64(s.old[i], v)
		VPBROADCASTQ(s.own("install"), k, v)
		tern(s.acc, s.old[i], v, orXor)
		VMOVDQA64(v, s.old[i])
		return k
	}), empty)
	s.rewritten(empty)
	Label(noInstall)

	Comment("Which of the others have a type that can change?")
	sw := Dereference(s.c.Field("swap"))
	shift := XMM()
	VMOVQ(mem(sw.Field("TypeShift")), shift)
	ones, exists := broadcast512(one()), broadcast512(s.pte("Exists"))
	pageless := func(i int) reg.OpmaskVirtual {
		k := test(filled, s.old[i], act)
		VPTESTNMQ(exists, s.old[i], k, k)
		return k
	}
	typed := func(i int) reg.VecVirtual {
		t := ZMM()
		VPSRLQ(shift, s.old[i], t)
		return t
	}
	// member returns the lanes of k whose type is in the set at the field of SwapChange.
	member := func(set string, typ reg.VecVirtual, k reg.OpmaskVirtual) reg.OpmaskVirtual {
		t, m := ZMM(), K()
		VPSLLVQ(typ, ones, t)
		VPTESTMQ_BCST(mem(sw.Field(set)), t, k, m)
		return m
	}
	touched := pack(n, func(i int) reg.OpmaskVirtual { return member("Touch", typed(i), pageless(i)) })
	ANDNQ(touched, empty, touched)
	JEQ(LabelRef(done))

	asked, changed := zeroed(), zeroed()
	for i := range n {
		k, typ := K(), typed(i)
		KMOVD(touched.As32(), k)
		if i > 0 {
			KSHIFTRD(U8(8*i), k, k)
		}
		a, g := member("Ask", typ, k), GP32()
		KANDNB(k, a, k)
		KMOVB(a, g)
		if i > 0 {
			SHLL(U8(8*i), g)
		}
		ORL(g, asked.As32())

		upper := K()
		VPTESTMQ_BCST(sixteen(), typ, upper)
		lookup := func(table string) reg.VecVirtual {
			lo, hi := ZMM(), ZMM()
			at := func(j int) Mem { return mem(sw.Field(table).Index(j)) }
			VMOVDQA64(typ, lo)
			VMOVDQA64(typ, hi)
			t := ZMM()
			VMOVDQU64(at(0), t)
			VPERMI2Q(at(8), t, lo)
			VMOVDQU64(at(16), t)
			VPERMI2Q(at(24), t, hi)
			VMOVDQA64(hi, upper, lo)
			return lo
		}
		v := ZMM()
		VMOVDQA64(s.old[i], v)
		keep := lookup("Keep")
		tern(v, keep, lookup("Xor"), andXor, k)

		d, t := member("Drop", typ, k), ZMM()
		VPANDQ_BCST(mem(sw.Field("DropMask")), s.old[i], t)
		VPCMPEQQ_BCST(mem(sw.Field("DropWant")), t, d, d)
		VPXORQ(v, v, d, v)

		c := K()
		VPCMPUQ(U8(cmpDiffers), s.old[i], v, k, c)
		KMOVB(c, g)
		if i > 0 {
			SHLL(U8(8*i), g)
		}
		ORL(g, changed.As32())
		tern(s.acc, s.old[i], v, orXor)
		VMOVDQA64(v, s.old[i])
	}
	s.rewritten(changed)
	s.ask(asked, at)
}

// rewritten counts the lanes of mask.
func (s *change) rewritten(mask reg.GPVirtual) {
	n := GP64()
	POPCNTQ(mask, n)
	SHLQ(U8(32), n)
	ADDQ(n, s.count)
}
