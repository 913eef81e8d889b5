package ptescan

import (
	"math/rand/v2"

	"ptemu/arch/x86"
)

// someFrames knows the frames from framesBase on, in a pattern without period.
var someFrames = func() Exclusive {
	e := Exclusive{Base: framesBase, Bits: make([]uint64, 64)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range e.Bits {
		e.Bits[i] = r.Uint64()
		if i > 40 {
			e.Bits[i] = ^uint64(0)
		}
	}
	return e
}()

const framesBase = 0x12300

// decidingBits are those that the operations look at or change, one of each field.
var decidingBits = []uint64{
	x86.PagePresent, x86.PageRW, x86.PageUser, x86.PageAccessed, x86.PageDirty, x86.PageProtnone, x86.PageUffdWP,
	x86.PageSoftDirty, x86.PageSoftW4, x86.PageSoftW5, x86.PagePCD, x86.PageNX,
}

// spread distributes the low bits of n over the bits of set.
func spread(n int, set []uint64) uint64 {
	var v uint64
	for i, b := range set {
		if n>>i&1 != 0 {
			v |= b
		}
	}
	return v
}

// entry returns a value with these attributes and this frame, inverted as the kernel would.
func entry(attributes uint64, pfn uint64) uint64 {
	if attributes != 0 && attributes&x86.PagePresent == 0 {
		pfn = ^pfn
	}
	return attributes | pfn<<x86.PageShift&(1<<52-1)
}

// attributes of ordinary pages, and some that no kernel makes.
var someAttributes = []uint64{
	0x8000000000000867, 0x8000000000000865, 0x8400000000000825, 0x8000000000000025, 0x8000000000000027,
	0x8000000000000c65, 0x8400000000000c25, 0x225, 0x120, 0x0400000000000120, 0x122, 0x8000000000000065,
	0xa800000000000867, 0x0400000000000027, 0x067, 0x960,
}

// randomEntry returns anything.
func randomEntry(r *rand.Rand) uint64 {
	switch r.IntN(8) {
	case 0:
		return r.Uint64()
	case 1:
		return 0
	case 2: // a swap form of any type
		return r.Uint64()&^(x86.PagePresent|x86.PageProtnone) | 0xf<<5
	case 3: // a marker
		return uint64(r.IntN(32))<<59 | ^uint64(r.IntN(8))<<14>>5 | uint64(r.IntN(8))<<1
	case 4: // stray bits
		return spread(r.IntN(4), []uint64{x86.PageAccessed, x86.PageDirty})
	case 5:
		return entry(spread(r.IntN(1<<len(decidingBits)), decidingBits), r.Uint64())
	}
	return entry(someAttributes[r.IntN(len(someAttributes))], framesBase+uint64(r.IntN(5000)))
}

// fill fills entries with one structure: a run of pages, the same with other frames, sparse, mixed, both, clean and dirty
// by chance, or anything.
func fill(r *rand.Rand, e []uint64) {
	at := someAttributes[r.IntN(len(someAttributes))]
	other := randomEntry(r)
	pfn := framesBase - 40 + uint64(r.IntN(4200))
	kind, period := r.IntN(15), 1+r.IntN(12)
	mixed := []uint64{decidingBits[r.IntN(len(decidingBits))]}
	if r.IntN(3) == 0 {
		mixed = []uint64{x86.PageAccessed, x86.PageDirty, x86.PageSoftDirty}
	}
	for i := range e {
		v := entry(at, pfn+uint64(i))
		switch kind {
		case 0, 1, 2:
		case 3:
			v = entry(at, framesBase+uint64(r.IntN(5000)))
		case 4:
			if i%8 != 0 {
				v = 0
			}
		case 5:
			if i%period == 0 {
				v = other
			}
		case 6:
			if i%period == 0 {
				v = randomEntry(r)
			}
		case 7:
			v = other
		case 8:
			v = 0
		case 9:
			if i%7 == 3 {
				v = 0
			} else if i%period == 0 {
				v = other
			}
		case 10, 11, 12, 13: // like pages but for bits that each has or not; among empty ones, or with others
			v = entry(at^spread(r.IntN(1<<len(mixed)), mixed), pfn+uint64(i))
			if kind == 12 && i%period != 0 {
				v = 0
			} else if kind == 13 && i%period == 0 {
				v = other
			}
		default:
			v = randomEntry(r)
		}
		e[i] = v
	}
}

// randomTable returns a table that is structured in whole, by halves, by groups or not.
func randomTable(r *rand.Rand) *Table {
	t := new(Table)
	n := []int{512, 256, 32, 32, 8, 1}[r.IntN(6)]
	for i := 0; i < len(t); i += n {
		fill(r, t[i:i+n])
	}
	switch r.IntN(4) {
	case 0: // one stranger
		t[r.IntN(len(t))] = randomEntry(r)
	case 1: // one bit off
		t[r.IntN(len(t))] ^= 1 << r.IntN(64)
	case 2: // the same bit off twice, or in a group at a distance that vectors do not tell apart
		i, bit := r.IntN(len(t)), uint64(1)<<r.IntN(64)
		t[i] ^= bit
		t[(i+4*(1+r.IntN(16)))%len(t)] ^= bit
	}
	return t
}

func randomRange(r *rand.Rand) (first, last int) {
	switch r.IntN(4) {
	case 0:
		return 0, 511
	case 1:
		first = r.IntN(512)
		return first, min(511, first+r.IntN(10))
	}
	first = r.IntN(512)
	return first, first + r.IntN(512-first)
}

func randomBitmap(r *rand.Rand) *Bitmap {
	var b Bitmap
	switch r.IntN(4) {
	case 0:
		for i := range b {
			b[i] = r.Uint64() | r.Uint64()
		}
	case 1:
		for i := range b {
			b[i] = ^uint64(0)
		}
		b.flip(r.IntN(512))
	default:
		return nil
	}
	return &b
}

func (b *Bitmap) flip(i int) { b[i>>6] ^= 1 << (i & 63) }
