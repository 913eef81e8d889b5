package kallsyms

import (
	"ptemu/arch/x86"
)

// maxRun is how much of the image is held at a time.
const maxRun = 1 << 20

// stretch is a part of the kernel image that could be read whole.
type stretch struct {
	va x86.Virt
	b  []byte
}

// eachStretch calls f with the parts of the image from first to last that can be read, of at most maxRun bytes, until f returns
// false. A part that follows the one before it begins with the last overlap bytes of that.
func eachStretch(mem Memory, first, last x86.Virt, overlap int, f func(stretch) bool) {
	s := stretch{va: first &^ (x86.PageSize - 1)}
	kept := 0 // of b, seen before
	for va := s.va; va <= last; va += x86.PageSize {
		n := len(s.b)
		s.b = append(s.b, make([]byte, x86.PageSize)...)
		err := mem.ReadAt(s.b[n:], va)
		if err != nil {
			s.b = s.b[:n]
		}
		if err == nil && len(s.b) < maxRun && va+x86.PageSize <= last && va+x86.PageSize > va {
			continue
		}
		if len(s.b) > kept && !f(s) {
			return
		}
		kept = 0
		if err == nil {
			kept = min(overlap, len(s.b))
		}
		copy(s.b, s.b[len(s.b)-kept:])
		s.b = s.b[:kept]
		if s.va = va + x86.PageSize - x86.Virt(kept); va+x86.PageSize < va {
			return
		}
	}
}
