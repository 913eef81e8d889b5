package usage

import (
	"errors"
	"testing"
)

// TestNumbers: numbers as the help describes them; what is none is an error, and of those that come from flags, a mistake
// in the command line.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		read func(string) (uint64, error)
		s    string
		want uint64
		ok   bool
	}{
		{Number, "0", 0, true}, {Number, "100", 100, true}, {Number, "0x64", 100, true}, {Number, "007", 7, true}, {Number, "2K", 2048, true},
		{Number, "16m", 16 << 20, true}, {Number, "1T", 1 << 40, true}, {Number, "0x10G", 16 << 30, true}, {Number, "18446744073709551615", 1<<64 - 1, true},
		{Number, "", 0, false}, {Number, "K", 0, false}, {Number, "-1", 0, false}, {Number, "16777216T", 0, false}, {Number, "1P", 0, false},
		{Size, "2M", 2 << 20, true}, {Size, "1000", 0x1000, true}, {Size, "0x1000", 0x1000, true}, {Size, "", 0, false}, {Size, "xM", 0, false},
		{hex, "7f00_0000_0000", 0x7f0000000000, true}, {hex, "0XFF", 255, true}, {hex, "0x", 0, false}, {hex, "10000000000000000", 0, false},
	} {
		got, err := c.read(c.s)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %#x, %v; want %#x", c.s, got, err, c.want)
		}
	}
	var mistake *Error
	if _, err := Size("xM"); !errors.As(err, &mistake) {
		t.Errorf("%v is no mistake in the command line", err)
	}
	if _, err := Hex("--cr3", "x"); !errors.As(err, &mistake) || err.Error() != `--cr3 "x": want a hex number of at most 64 bits` {
		t.Error(err)
	}
}

func hex(s string) (uint64, error) { return Hex("", s) }

// TestDistance: the textbook's examples.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"kitten", "sitting", 3}, {"sunday", "saturday", 3}, {"", "abc", 3}, {"abc", "", 3}, {"drity", "dirty", 2}, {"same", "same", 0}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
