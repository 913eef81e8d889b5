package pgtable

import "ptemu/arch/x86"

// A frameSet remembers frames in at most 8 MiB. It is exact for frames of the first 256 GiB; frames 256 GiB apart
// share a bit, so that a new frame may look like an old one, never the reverse.
type frameSet struct {
	chunks [frameSetBits / chunkBits]*[chunkBits / 64]uint64
}

const (
	frameSetBits = 1 << 26
	chunkBits    = 1 << 15 // a chunk is 4 KiB and stands for 128 MiB of memory
)

func place(f x86.PFN) (chunk, word int, bit uint64) {
	f %= frameSetBits
	return int(f / chunkBits), int(f % chunkBits / 64), 1 << (f % 64)
}

func (s *frameSet) has(f x86.PFN) bool {
	c, w, b := place(f)
	return s.chunks[c] != nil && s.chunks[c][w]&b != 0
}

func (s *frameSet) add(f x86.PFN) {
	c, w, b := place(f)
	if s.chunks[c] == nil {
		s.chunks[c] = new([chunkBits / 64]uint64)
	}
	s.chunks[c][w] |= b
}
