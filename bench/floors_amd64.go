//go:build !purego

package bench

import (
	"ptemu/internal/ptescan"
	"ptemu/internal/ptescan/floor"
)

// bares returns the codes that the best level can run.
func bares(kind FloorKind, best ptescan.Level) (all []bare) {
	if best == ptescan.Generic {
		return plainBares(kind)
	}
	type next = *floor.Table
	codes := map[FloorKind][]bare{
		FloorXor: {
			{"floor avx512", func(t, _ next) { floor.XorAVX512(t, flipped) }},
			{"floor avx512 prefetch", func(t, n next) { floor.XorAVX512Prefetch(t, flipped, n) }},
			{"floor avx2", func(t, _ next) { floor.XorAVX2(t, flipped) }},
			{"floor avx2 prefetch", func(t, n next) { floor.XorAVX2Prefetch(t, flipped, n) }},
		},
		FloorRead: {
			{"floor avx512", func(t, _ next) { floor.ReadAVX512(t, flipped) }},
			{"floor avx512 prefetch", func(t, n next) { floor.ReadAVX512Prefetch(t, flipped, n) }},
			{"floor avx2", func(t, _ next) { floor.ReadAVX2(t, flipped) }},
			{"floor avx2 prefetch", func(t, n next) { floor.ReadAVX2Prefetch(t, flipped, n) }},
		},
	}[kind]
	if best != ptescan.AVX512 && len(codes) > 0 {
		codes = codes[2:]
	}
	return codes
}

// copies returns the codes that copy to a child, of which some write past the caches.
func copies(best ptescan.Level) []bare {
	all := []bare{
		{"floor avx512", func(t, c *floor.Table) { floor.CopyAVX512(t, c, flipped) }},
		{"floor avx512 stream", func(t, c *floor.Table) { floor.CopyAVX512Stream(t, c, flipped) }},
		{"floor avx2", func(t, c *floor.Table) { floor.CopyAVX2(t, c, flipped) }},
		{"floor avx2 stream", func(t, c *floor.Table) { floor.CopyAVX2Stream(t, c, flipped) }},
	}
	switch best {
	case ptescan.AVX512:
		return all
	case ptescan.AVX2:
		return all[2:]
	}
	return plainCopies()
}
