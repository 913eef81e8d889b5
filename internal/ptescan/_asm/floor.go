package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// floors writes the kernels of package floor.
func floors() {
	for _, v := range []struct {
		name     string
		register func() reg.VecVirtual
		size     int
		or, xor  func(...Op)
	}{
		{"AVX2", YMM, 32, func(o ...Op) { VPOR(o[0], o[1], o[2]) }, func(o ...Op) { VPXOR(o[0], o[1], o[2]) }},
		{"AVX512", ZMM, 64, VPORQ, VPXORQ},
	} {
		for _, prefetch := range []bool{false, true} {
			name, sig := "Xor"+v.name, "func(t *Table, x uint64)"
			if prefetch {
				name, sig = "Xor"+v.name+"Prefetch", "func(t *Table, x uint64, next *Table)"
			}
			floorKernel(name, sig, v.size, prefetch, func(at Mem, x reg.VecVirtual) {
				r := v.register()
				v.xor(at, x, r)
				store(r, at)
			}, v.register)
			if prefetch {
				name, sig = "Read"+v.name+"Prefetch", "func(t *Table, x uint64, next *Table)"
			} else {
				name = "Read" + v.name
			}
			acc := []reg.VecVirtual{}
			n := 0
			floorKernel(name, sig, v.size, prefetch, func(at Mem, x reg.VecVirtual) {
				if len(acc) < 4 {
					r := v.register()
					acc = append(acc, r)
				}
				v.or(at, x, acc[n%4])
				n++
			}, v.register)
		}
	}
}

// floorCopies writes the floor of a fork: a table is read, and written changed to itself and to another.
func floorCopies() {
	for _, wide := range []bool{true, false} {
		for _, stream := range []bool{false, true} {
			x := &isa{wide: wide}
			name := x.name("Copy")
			if stream {
				name += "Stream"
			}
			TEXT(name, 0, "func(t, child *Table, x uint64)")
			Pragma("noescape")
			Doc(name + " flips the bits of x in t and copies the result to child, which must be aligned to 64 bytes.")
			t, child, n := Load(Param("t"), GP64()), Load(Param("child"), GP64()), GP64()
			flip := x.broadcast(NewParamAddr("x", 16))
			XORQ(n, n)
			Label("loop")
			Comment("All to one table, then all to the other: that is faster than to write line by line.")
			v := make([]reg.VecVirtual, x.vectors())
			for i := range v {
				v[i] = x.vec()
				x.xor(x.at(t, n, i), flip, v[i])
			}
			for i, e := range v {
				x.store(e, x.at(t, n, i))
			}
			for i, e := range v {
				if stream {
					VMOVNTDQ(e, x.at(child, n, i))
				} else {
					x.store(e, x.at(child, n, i))
				}
			}
			ADDQ(U8(group), n)
			CMPQ(n, U32(512))
			JNE(LabelRef("loop"))
			if stream {
				SFENCE()
			}
			VZEROUPPER()
			RET()
		}
	}
}

func store(r reg.VecVirtual, at Mem) {
	if r.Size() == 64 {
		VMOVDQU64(r, at)
	} else {
		VMOVDQU(r, at)
	}
}

func floorKernel(name, sig string, size int, prefetch bool, step func(Mem, reg.VecVirtual), register func() reg.VecVirtual) {
	TEXT(name, 0, sig)
	Pragma("noescape")
	Doc(name + " touches every entry once, in vectors of this size.")
	t, next, n := Load(Param("t"), GP64()), GP64(), GP64()
	if prefetch {
		Load(Param("next"), next)
	}
	x := register()
	VPBROADCASTQ(NewParamAddr("x", 8), x)
	XORQ(n, n)
	Label("loop")
	const unroll = 256
	for i := 0; i < unroll; i += size {
		step(Mem{Base: t, Index: n, Scale: 1, Disp: i}, x)
		if prefetch && i%64 == 0 {
			PREFETCHT1(Mem{Base: next, Index: n, Scale: 1, Disp: i})
		}
	}
	ADDQ(U32(unroll), n)
	CMPQ(n, U32(4096))
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
