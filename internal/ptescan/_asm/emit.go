package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// mem returns the place of a component of a parameter.
func mem(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// labels makes names that are unique in a function: each use of a block gets its own suffix.
var labelCount int

func label(name string) string {
	labelCount++
	return name + "_" + string(rune('a'+labelCount/26%26)) + string(rune('a'+labelCount%26))
}

// tern is one VPTERNLOGQ: dst = f(dst, b, c) bit by bit, in the lanes of k if given. c may be memory.
func tern(dst reg.VecVirtual, b, c Op, f func(a, b, c bool) bool, k ...reg.OpmaskVirtual) {
	var imm uint8
	for i := range 8 {
		if f(i&4 != 0, i&2 != 0, i&1 != 0) {
			imm |= 1 << i
		}
	}
	ops := []Op{U8(imm), c, b}
	for _, m := range k {
		ops = append(ops, m)
	}
	VPTERNLOGQ(append(ops, dst)...)
}

// The functions that the kernels need.
func orXor(a, b, c bool) bool  { return a || b != c }    // a | (b ^ c)
func or3(a, b, c bool) bool    { return a || b || c }    // a | b | c
func andXor(a, b, c bool) bool { return (a && b) != c }  // (a & b) ^ c
func clrXor(a, b, c bool) bool { return (a && !b) != c } // (a &^ b) ^ c
func clrOr(a, b, c bool) bool  { return a && !b || c }   // a &^ b | c
func xorAnd(a, b, c bool) bool { return a != b && c }    // (a ^ b) & c
func andOr(a, b, c bool) bool  { return a && b || c }    // a & b | c

// broadcast512 fills a new register with the word at m.
func broadcast512(m Op) reg.VecVirtual {
	z := ZMM()
	VPBROADCASTQ(m, z)
	return z
}

// pack joins the masks of one or four lines to an integer, lowest line first.
func pack(n int, line func(i int) reg.OpmaskVirtual) reg.GPVirtual {
	d := zeroed()
	if n == 1 {
		KMOVB(line(0), d.As32())
		return d
	}
	lo, hi := K(), K()
	k0 := line(0)
	KUNPCKBW(k0, line(1), lo)
	k2 := line(2)
	KUNPCKBW(k2, line(3), hi)
	KUNPCKWD(lo, hi, hi)
	KMOVD(hi, d.As32())
	return d
}

// zeroed returns a register with 0. What is written to its lower half can then be read as a whole: avo does not know
// that such a write clears the upper half, and would keep the register from all others.
func zeroed() reg.GPVirtual {
	r := GP64()
	XORQ(r, r)
	return r
}

// lowest and highest set n to the number of the lowest or highest bit of mask, which is not 0.
func lowest(mask, n reg.GPVirtual) { TZCNTQ(mask, n) }

func highest(mask, n reg.GPVirtual) {
	LZCNTQ(mask, n)
	XORQ(U8(63), n)
}

var constants = map[string]Mem{}

// constant returns a word of read-only data.
func constant(name string, v uint64) Mem {
	m, ok := constants[name]
	if !ok {
		m = ConstData(name, U64(v))
		constants[name] = m
	}
	return m
}

func one() Mem     { return constant("one", 1) }
func sixteen() Mem { return constant("sixteen", 16) }
