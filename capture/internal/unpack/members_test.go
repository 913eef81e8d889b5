package unpack

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
)

// TestMembers: several gzip members are one file, with padding of zeros behind them or without. What else follows is an
// error behind the bytes of the members, and so is a member that is cut off.
func TestMembers(t *testing.T) {
	want := memory(1 << 20)
	one, two := gz(t, want[:600_000]), gz(t, want[600_000:])
	empty := bytes.Repeat(gz(t, nil), 500)
	both := slices.Concat(empty, one, empty, two)
	for _, c := range []struct {
		name string
		tail []byte
		is   error
	}{
		{"nothing", nil, nil},
		{"zeros", make([]byte, 5000), nil},
		{"one zero", make([]byte, 1), nil},
		{"a text", []byte("trailing garbage\n"), errTrailing},
		{"zeros and a byte", append(make([]byte, 5000), 1), errTrailing},
		{"the first byte of a member", one[:1], errTrailing},
		{"the magic of a member", one[:2], ferr.ErrTruncated},
		{"half a member", one[:len(one)/2], ferr.ErrTruncated},
	} {
		for _, packed := range [][]byte{slices.Concat(both, c.tail), zst(t, slices.Concat(both, c.tail)), gz(t, slices.Concat(both, c.tail))} {
			s, err := Open("cut.gz", bytes.NewReader(packed), 0)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got := make([]byte, len(want))
			if n, err := s.ReadAt(got, 0); n != len(want) || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes, %v", c.name, n, err)
			}
			n, err := s.Size()
			switch {
			case c.is == nil && (err != nil || n != int64(len(want))):
				t.Errorf("%s: %d bytes, %v", c.name, n, err)
			case c.is != nil && !errors.Is(err, c.is):
				t.Errorf("%s: %d bytes, %v; want %v", c.name, n, err, c.is)
			case c.is == errTrailing:
				wantError(t, err, int64(len(want)))
			}
			s.Close()
		}
	}
}

// TestEmptyMembers: what is packed twice is recognised behind any number of members that hold nothing.
func TestEmptyMembers(t *testing.T) {
	want := memory(1 << 20)
	s := open(t, slices.Concat(bytes.Repeat(gz(t, nil), 500), gz(t, zst(t, want))))
	got := make([]byte, len(want))
	if n, err := s.ReadAt(got, 0); s.Method != "zstd in gzip" || n != len(want) || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v", s.Method, n, err)
	}
}

// TestZstdFrames: several frames are one file, with and without the size of their content; what is no frame is an error
// behind them.
func TestZstdFrames(t *testing.T) {
	want := memory(1 << 20)
	var unsized bytes.Buffer
	w, err := zstd.NewWriter(&unsized)
	if err != nil {
		t.Fatal(err)
	}
	for b := range slices.Chunk(want[600_000:], 100_000) {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	packed := slices.Concat(zst(t, want[:600_000]), unsized.Bytes())
	s := open(t, packed)
	got := make([]byte, len(want)+1)
	if n, err := s.ReadAt(got, 0); n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	s = open(t, append(packed, "trailing garbage\n"...))
	if n, err := s.ReadAt(got[:len(want)], 0); n != len(want) || !bytes.Equal(got[:n], want) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	_, err = s.Size()
	capturetest.WantFormatError(t, err, int64(len(want)))
	if !strings.Contains(err.Error(), "a zstd frame should begin here") {
		t.Error(err)
	}
}

// TestLongWindow: a frame that the decoder would need too much memory for says what to do, whether it states the window
// or, in one segment, only its size.
func TestLongWindow(t *testing.T) {
	for name, packed := range map[string][]byte{
		"window":      {0x28, 0xb5, 0x2f, 0xfd, 0x00, (30 - 10) << 3, 1, 0, 0},
		"one segment": {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x12, 1, 0, 0}, // of 0x12000000 bytes
	} {
		s, err := Open("cut.gz", bytes.NewReader(packed), 0)
		if err == nil {
			_, err = s.ReadAt(make([]byte, 1), 0)
			s.Close()
		}
		wantError(t, err, 0)
		if !strings.Contains(err.Error(), "--long=31") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
