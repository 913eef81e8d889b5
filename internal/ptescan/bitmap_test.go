package ptescan

import (
	"math/rand/v2"
	"testing"
)

// TestBitmapNext compares with a search bit by bit.
func TestBitmapNext(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for n := range 40 {
		var b Bitmap
		for range n {
			b.Set(r.IntN(512))
		}
		for i := range 513 {
			want := i
			for want < 512 && !b.Has(want) {
				want++
			}
			if got := b.Next(i); got != want {
				t.Fatalf("Next(%d) of %x is %d, want %d", i, b, got, want)
			}
		}
	}
}
