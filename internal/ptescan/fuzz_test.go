package ptescan

import (
	"encoding/binary"
	"testing"

	"ptemu/arch/x86"
)

// FuzzChange holds every level against the reference, for any table, range, bitmap, protection and flags.
func FuzzChange(f *testing.F) {
	f.Add([]byte{}, uint64(x86.ProtReadonly), uint16(0), uint16(0), uint16(511), uint8(0))
	f.Add([]byte{0x67, 8, 0x34, 0x12, 0, 0, 0, 0x80}, uint64(x86.ProtNone), uint16(2), uint16(3), uint16(77), uint8(0x15))
	all := layouts(f)
	best := level
	f.Fuzz(func(t *testing.T, data []byte, prot uint64, flags, first, last uint16, how uint8) {
		var tab Table
		for i := range tab { // repeat what there is
			if len(data) >= 8 {
				tab[i] = binary.LittleEndian.Uint64(data[i*8%(len(data)-7):])
			}
			if how&0x80 != 0 {
				tab[i] = uint64(x86.PTE(tab[i]).AdvancePFN(uint64(i)))
			}
		}
		o := &operation{
			name: layoutNames[how&7%6], prot: x86.Prot(prot), flags: x86.ChangeFlags(flags),
			page: pageKind(how >> 3 & 3 % 3), markers: how>>5&1 != 0,
		}
		o.layout = all[o.name]
		if how>>6&1 != 0 {
			o.frames = someFrames
		}
		first, last = first%512, last%512
		defer func() { level = best }()
		for level = Generic; level <= best; level++ {
			o.check(t, &tab, int(min(first, last)), int(max(first, last)), nil)
		}
	})
}
