package linux

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ramAt is RAM of any size that counts what was tried.
type ramAt struct {
	size   x86.Phys
	frames map[x86.PFN]*physmem.Frame
	tried  int
}

func (r *ramAt) Ranges() []physmem.Range { return []physmem.Range{{End: r.size}} }

func (r *ramAt) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	r.tried++
	if f := r.frames[pfn]; f != nil {
		*dst = *f
		return nil
	}
	return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
}

// TestScanOfNothing: memory that a file only claims to hold costs little, however much it is.
func TestScanOfNothing(t *testing.T) {
	for _, size := range []x86.Phys{1 << 40, 1 << 52} {
		ram := &ramAt{size: size}
		if r := Scan(ram, 0, true, 0); len(r.Roots) > 0 || r.Complete {
			t.Errorf("%v: %+v", size, r)
		}
		if ram.tried > 1<<18 {
			t.Errorf("%v: %d frames were tried", size, ram.tried)
		}
	}
}

// TestScanAfterGap: what lies behind much memory that cannot be read is found, down to its first frame and however it lies.
func TestScanAfterGap(t *testing.T) {
	text := []byte("OSRELEASE=6.12.1\nPAGESIZE=4096\n")
	for _, at := range []x86.PFN{1<<20 + 1, 1<<20 + 17, 1<<20 + 511, 1<<20 + 512, manyUnread - 1, manyUnread, manyUnread + 1} {
		ram := &ramAt{size: 1 << 36, frames: map[x86.PFN]*physmem.Frame{}}
		for i := range x86.PFN(longStep) { // as much as the kernel image has
			ram.frames[at+i] = new(physmem.Frame)
		}
		copy(ram.frames[at][:], text)
		r := Scan(ram, 0, false, 0)
		if string(r.VMCoreInfo) != string(text) || r.InfoPhys != at.Phys() {
			t.Errorf("at %#x: %q at %v after %d frames", uint64(at), r.VMCoreInfo, r.InfoPhys, ram.tried)
		}
	}
}
