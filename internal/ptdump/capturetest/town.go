package capturetest

import (
	"fmt"
	"math/rand/v2"

	"ptemu/arch/x86"
)

// Town is a machine whose processes have random entries of every kind, that name the frames below 0x1000.
func Town(rng *rand.Rand) *Machine {
	m := NewMachine()
	entry := func(l x86.Level) uint64 {
		frame := rng.Uint64N(0x1000)
		if l == x86.LevelPMD {
			frame &^= 511
		}
		flags := uint64(x86.PagePresent | x86.PageUser | x86.PageAccessed)
		for _, bit := range []uint64{x86.PageRW, x86.PageNX, x86.PageDirty, x86.PageSoftDirty, x86.PageUffdWP} {
			flags |= bit * rng.Uint64N(2)
		}
		if l == x86.LevelPMD {
			flags |= x86.PagePSE
		}
		switch rng.IntN(8) {
		case 0:
			flags = flags&^(x86.PagePresent|x86.PageUser) | x86.PageProtnone
			return ^frame<<12&(1<<52-1<<12) | flags
		case 1:
			return 0x07fffffffffffc00 - rng.Uint64N(64)<<9 | rng.Uint64N(8)<<1 // swap
		case 2:
			return 0xf7fffffffffffe00 - frame<<9 // migration, of 6.12
		case 3:
			return 0xfffffffffffffc00 // a marker
		}
		return frame<<12 | flags
	}
	for i := range 4 {
		_, root := m.Process(fmt.Sprint(i))
		for range 40 {
			va := x86.Virt(rng.Uint64N(3)<<30 | rng.Uint64N(2)<<21 | rng.Uint64N(512)<<12)
			if rng.IntN(10) == 0 {
				m.User(root, 0x7f0000000000|va&^(1<<21-1), x86.LevelPMD, entry(x86.LevelPMD))
				continue
			}
			e := entry(x86.LevelPTE)
			for range 1 + rng.IntN(6) { // neighbours, at the next frames or at the same
				m.User(root, va, x86.LevelPTE, e)
				if va += 1 << 12; e&1 != 0 && rng.IntN(3) > 0 {
					e += 1 << 12
				}
			}
		}
	}
	return m
}
