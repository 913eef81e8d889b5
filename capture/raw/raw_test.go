package raw

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

func TestOpen(t *testing.T) {
	file := slices.Concat(capturetest.Pattern(7)[:], capturetest.Pattern(8)[:], make([]byte, 100))
	for _, c := range []struct {
		base x86.Phys
		want capturetest.Mem
	}{
		{0, capturetest.Mem{0: capturetest.Pattern(7), 1: capturetest.Pattern(8)}},
		{0x100000, capturetest.Mem{0x100: capturetest.Pattern(7), 0x101: capturetest.Pattern(8)}},
	} {
		f, err := Open(bytes.NewReader(file), int64(len(file)), c.base)
		if err != nil {
			t.Fatal(err)
		}
		capturetest.Same(t, f, c.want)
		capturetest.Probe(t, f)
	}
}

func TestEmpty(t *testing.T) {
	for _, size := range []int64{0, 4095} {
		f, err := Open(bytes.NewReader(make([]byte, size)), size, 0)
		if err != nil {
			t.Fatal(err)
		}
		capturetest.Same(t, f, capturetest.Mem{})
		capturetest.SameFrame(t, f, capturetest.Mem{}, 0)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		size int64
		base x86.Phys
	}{{4096, 1}, {4096, math.MaxUint64 &^ 0xfff}, {math.MaxInt64, 1 << 63}, {-1, 0}} {
		f, err := Open(bytes.NewReader(nil), c.size, c.base)
		if c.size == math.MaxInt64 { // fits: 2^63 - 4096 bytes from 2^63 on
			if err != nil {
				t.Errorf("%#x bytes at %v: %v", c.size, c.base, err)
			}
			var frame physmem.Frame
			capturetest.WantFormatError(t, f.ReadFrame(1<<51, &frame), 0)
			continue
		}
		if err == nil || f != nil {
			t.Errorf("%#x bytes at %v: no error", c.size, c.base)
		}
	}
}
