package linux

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ErrTooManyPlaces: a pattern occurs more often than the caller has use for.
var ErrTooManyPlaces = errors.New("the pattern occurs too often")

// FindBytes searches RAM for a pattern of 1 to 4096 bytes and returns the addresses at which it begins that are a multiple
// of align, ascending. Frames that the capture lacks are passed over. progress, if not nil, is told which part is done.
// The error is ctx's, or [ErrTooManyPlaces] beside limit places or more.
func FindBytes(ctx context.Context, mem physmem.Reader, pattern []byte, align, limit int, progress func(float64)) ([]x86.Phys, error) {
	if len(pattern) == 0 || len(pattern) > x86.PageSize || align <= 0 {
		return nil, errors.New("want a pattern of 1 to 4096 bytes, and a positive alignment")
	}
	var mu sync.Mutex
	var out []x86.Phys
	err := scanRAM(ctx, mem, progress, func() func(chunk) error {
		f := finderOf{mem: mem, pattern: pattern, align: x86.Phys(align), limit: limit}
		return func(c chunk) error {
			found := f.search(c)
			mu.Lock()
			defer mu.Unlock()
			if out = append(out, found...); len(out) > limit {
				return ErrTooManyPlaces
			}
			return nil
		}
	})
	slices.Sort(out)
	if err != nil && !errors.Is(err, ErrTooManyPlaces) {
		return nil, err
	}
	return out, err
}

// finderOf looks for a pattern in chunks of RAM.
type finderOf struct {
	mem     physmem.Reader
	pattern []byte
	align   x86.Phys
	limit   int
	frame   physmem.Frame
	buf     []byte // adjacent frames
}

// search returns the places that begin in a chunk. It reads one frame more, for those that reach beyond it.
func (f *finderOf) search(c chunk) []x86.Phys {
	var out []x86.Phys
	f.buf = f.buf[:0]
	for pfn := c.first; pfn < c.end; pfn++ {
		if f.mem.ReadFrame(pfn, &f.frame) != nil {
			out = f.within(out, pfn, len(f.buf))
			continue
		}
		f.buf = append(f.buf, f.frame[:]...)
	}
	own := len(f.buf)
	if len(f.pattern) > 1 && own > 0 && f.mem.ReadFrame(c.end, &f.frame) == nil {
		f.buf = append(f.buf, f.frame[:len(f.pattern)-1]...)
	}
	return f.within(out, c.end, own)
}

// within adds the places in the first own bytes of buf, which end where frame end begins, and empties buf.
func (f *finderOf) within(out []x86.Phys, end x86.PFN, own int) []x86.Phys {
	base := end.Phys() - x86.Phys(own)
	for at := 0; len(out) <= f.limit; at++ {
		i := bytes.Index(f.buf[at:], f.pattern)
		if i < 0 || at+i >= own {
			break
		}
		at += i
		if pa := base + x86.Phys(at); pa%f.align == 0 {
			out = append(out, pa)
		}
	}
	f.buf = f.buf[:0]
	return out
}
