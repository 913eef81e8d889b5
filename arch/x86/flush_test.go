package x86

import "testing"

// What makes a flush necessary, bit by bit: 'x' any change, 'c' the bit is cleared, '.' never. From bit 0 up, with
// the frame of a PTE left out.
//
//	bit        0123456789..   52         63
const (
	flushPTE = "cxxxx.cxx..." + ".......xxxxx"
	flushPMD = "cxxxxccxx..." + ".......xxxxx"
)

// flushWanted is the rule of the string, for two entries with P and the same frame; large has the flags among the low
// frame bits.
func flushWanted(rule string, old, v uint64, large bool) bool {
	for bit := range 64 {
		kind := byte('.')
		switch {
		case bit < 12:
			kind = rule[bit]
		case bit >= 52:
			kind = rule[bit-40]
		case bit == 12 && large:
			kind = 'x'
		}
		was, is := old>>bit&1, v>>bit&1
		if was != is && (kind == 'x' || kind == 'c' && was == 1) {
			return true
		}
	}
	return false
}

// TestFlushBits changes one or two bits of entries.
func TestFlushBits(t *testing.T) {
	for name, a := range variants(t) {
		for _, old := range []uint64{1, 0x8000000012345867, ^uint64(0), 0x123450e7, 0x0600000040000fe5} {
			for i := range 64 {
				for j := range 64 {
					v := old ^ 1<<i | 1<<j
					if i == j {
						v = old ^ 1<<i
					}
					testFlush(t, name, a, old, v)
					testFlush(t, name, a, v, old)
				}
			}
		}
	}
}

func testFlush(t *testing.T, name string, a *ABI, old, v uint64) {
	t.Helper()
	pte := old&1 != 0 && (PTE(old).PFN(a) != PTE(v).PFN(a) || flushWanted(flushPTE, old, v, false))
	if got := PTENeedsFlush(a, PTE(old), PTE(v)); got != pte {
		t.Fatalf("%s: pte %#016x to %#016x: %v", name, old, v, got)
	}
	large := old>>7&1 == 1 && v>>7&1 == 1
	pmd := old&1 != 0 && (PMD(old).PFN(a) != PMD(v).PFN(a) || flushWanted(flushPMD, old, v, large))
	if got := HugePMDNeedsFlush(a, PMD(old), PMD(v)); got != pmd {
		t.Fatalf("%s: pmd %#016x to %#016x: %v", name, old, v, got)
	}
}
