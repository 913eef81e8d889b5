package mmu_test

import (
	"encoding/binary"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// fuzzMemory makes a memory of eight frames from bytes. Nine of them are an entry: the first byte picks a frame and
// the level whose slot for va is meant, so that walks meet it; eight are the value. Frame 8 is excluded, the rest
// absent.
func fuzzMemory(data []byte, va uint64) ram {
	m := ram{8: nil}
	for pfn := range x86.PFN(8) {
		m[pfn] = new(physmem.Frame)
	}
	for i := 0; len(data) >= 9; i++ {
		where, e := data[0], binary.LittleEndian.Uint64(data[1:])
		data = data[9:]
		level := 1 + uint64(where>>3)%5
		// Mostly one of the eight frames, so that walks go deep, into themselves too.
		if where&0xc0 != 0 {
			e = e&^0xfffffffff8000 | e&0x7000
		}
		m.set(uint64(where&7)<<12|va>>(12+9*(level-1))&511*8, e)
	}
	return m
}

func FuzzWalk(f *testing.F) {
	seed := func(m ...uint64) (b []byte) {
		for i := 0; i < len(m); i += 2 {
			b = binary.LittleEndian.AppendUint64(append(b, byte(m[i])), m[i+1])
		}
		return b
	}
	f.Add(uint64(0), uint32(0), uint8(46), uint8(0), uint64(0x1000), seed(0x40|3<<3|1, 0x1007, 0x40|2<<3|1, 0x1007, 0x40|1<<3|1, 0x1007, 0x41, 0x1007))
	f.Add(uint64(0xffffffffffffffff), uint32(127), uint8(52), uint8(51), uint64(0x1000), seed(0x41, 0x8000000000001fff))
	f.Add(uint64(0x7fffffffffff), uint32(0x1000_0080), uint8(36), uint8(0), uint64(0x2000), seed(0x40|4<<3|2, 0x3063, 0x40|3<<3|3, 0x4067, 0x40|2<<3|4, 0x1e7))
	f.Add(uint64(0x8000_0000_0000), uint32(16), uint8(40), uint8(47), uint64(0x8000), seed())
	f.Fuzz(func(t *testing.T, va uint64, regs uint32, physBits, cbit uint8, cr3 uint64, data []byte) {
		r := regsOf(int(regs%128), 4+int(regs>>7&1))
		r.CR3 = cr3
		r.PKRU, r.PKRS = regs, regs<<16|regs>>16
		physBits = 32 + physBits%21
		cbit = cbit % 52
		var enc uint64
		if cbit >= 32 {
			enc = 1 << cbit
		} else {
			cbit = 0
		}
		unit, s := newMMU(t, r, physBits, enc), spell(r, physBits, int(cbit))
		m := fuzzMemory(data, va)
		shift := 16
		if s.levels == 5 {
			shift = 7
		}
		if int64(va<<shift)>>shift != int64(va) {
			if w := unit.Walk(m, virt(va)); w.Outcome != mmu.NonCanonical {
				t.Fatalf("%#x: %v", va, w.Outcome)
			}
			return
		}
		s.agreeAll(t, m, unit, va)
		// Committing an access makes its own marks disappear and changes no translation but that of shadow
		// stacks, which D decides.
		w := unit.Walk(m, virt(va))
		for _, a := range []mmu.Access{uRead, kWrite} {
			p, err := w.Translate(a)
			if w.Commit(a, m) != nil {
				t.Fatal("commit failed on quiet memory")
			}
			w = unit.Walk(m, virt(va))
			p2, err2 := w.Translate(a)
			if p != p2 || (err == nil) != (err2 == nil) {
				t.Fatalf("%v: %v, %v became %v, %v", a, p, err, p2, err2)
			}
			if left := w.Marks(a, nil); len(left) != 0 {
				t.Fatalf("%v: marks left: %+v", a, left)
			}
		}
	})
}
