package unpack

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ptemu/capture/ferr"
	"ptemu/capture/internal/capturetest"
)

func gz(tb testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func zst(tb testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(false))
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// memory is n bytes like those of a machine: pages of zeros, of text, of noise.
func memory(n int) []byte {
	rnd := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, n)
	for off := 0; off < n; off += 4096 {
		page := b[off:min(off+4096, n)]
		switch rnd.IntN(8) {
		case 0:
			for i := range page {
				page[i] = byte(rnd.Uint32())
			}
		case 1, 2:
			for i := range page {
				page[i] = "page table entry "[i%17] + byte(off>>12)
			}
		}
	}
	clear(b[min(n, 1<<20):min(n, 2<<20)]) // holes larger than a block, and at the end
	clear(b[max(0, n-9999):])
	return b
}

func open(tb testing.TB, packed []byte) *Stream {
	tb.Helper()
	s, err := Open("test.gz", bytes.NewReader(packed), 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func TestReadAnywhere(t *testing.T) {
	want := memory(memSize + 5<<20 + 1234) // beyond what stays in memory
	one, two := want[:9<<20], want[9<<20:]
	for name, packed := range map[string][]byte{
		"gzip":                       gz(t, want),
		"zstd":                       zst(t, want),
		"gzip, two members":          slices.Concat(gz(t, one), gz(t, two)),
		"zstd, skippable and frames": slices.Concat([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, zst(t, one), zst(t, two)),
		"gzip in zstd":               zst(t, gz(t, want)),
		"zstd in gzip":               gz(t, zst(t, want)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, packed)
			rnd := rand.New(rand.NewPCG(7, 8))
			for range 3000 {
				n := 1 << rnd.IntN(14)
				off := rnd.IntN(len(want) - n)
				got := bytes.Repeat([]byte{0xee}, n)
				if m, err := s.ReadAt(got, int64(off)); m != n || err != nil {
					t.Fatalf("%d bytes at %#x: %d, %v", n, off, m, err)
				}
				if !bytes.Equal(got, want[off:off+n]) {
					t.Fatalf("%d bytes at %#x differ", n, off)
				}
			}
			if got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<62)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the whole differs: %v, %d bytes", err, len(got))
			}
			if n, err := s.Size(); n != int64(len(want)) || err != nil {
				t.Errorf("size %d, %v; want %d", n, err, len(want))
			}
			for _, c := range []struct {
				off  int64
				n, m int
			}{{int64(len(want)), 1, 0}, {int64(len(want)) - 1, 2, 1}, {1<<63 - 1, 100, 0}} {
				if m, err := s.ReadAt(make([]byte, c.n), c.off); m != c.m || err != io.EOF {
					t.Errorf("%d bytes at %#x: %d, %v", c.n, c.off, m, err)
				}
			}
			if _, err := s.ReadAt(make([]byte, 1), -1); err == nil {
				t.Error("no error for a negative offset")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := s.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestMethodName(t *testing.T) {
	for want, packed := range map[string][]byte{
		"gzip": gz(t, []byte("x")), "zstd": zst(t, []byte("x")),
		"gzip in zstd": zst(t, gz(t, []byte("x"))), "zstd in gzip": gz(t, zst(t, []byte("x"))),
	} {
		if s := open(t, packed); s.Method != want {
			t.Errorf("method %q, want %q", s.Method, want)
		}
	}
	_, err := Open("x", bytes.NewReader(gz(t, zst(t, gz(t, []byte("x"))))), 0)
	if err == nil || !strings.Contains(err.Error(), "compressed more than 2 times") {
		t.Errorf("three layers: %v", err)
	}
}

// counting notes how far into the compressed file reads went.
type counting struct {
	r   *bytes.Reader
	max atomic.Int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.max.Store(max(c.max.Load(), off+int64(n)))
	return n, err
}

// TestLazy: reading the front reads the front of the compressed file.
func TestLazy(t *testing.T) {
	b := make([]byte, 32<<20)
	rnd := rand.New(rand.NewPCG(9, 10))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	for _, packed := range [][]byte{gz(t, b), zst(t, b)} {
		src := &counting{r: bytes.NewReader(packed)}
		s, err := Open("x", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.ReadAt(make([]byte, 4096), 1<<20); err != nil {
			t.Fatal(err)
		}
		if n := src.max.Load(); n > 3<<20 {
			t.Errorf("1 MiB was asked for, %#x of %#x compressed bytes were read", n, len(packed))
		}
		if s.tmp != nil {
			t.Error("1 MiB was asked for, and there is a temporary file")
		}
	}
}

func TestConcurrent(t *testing.T) {
	want := memory(memSize + 3<<20)
	s := open(t, gz(t, want))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			got := make([]byte, 4096)
			for i := range 500 {
				off := rnd.IntN(len(want)/500*(i+1) - 4096 + 1)
				if _, err := s.ReadAt(got, int64(off)); err != nil || !bytes.Equal(got, want[off:off+4096]) {
					t.Errorf("at %#x: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestTruncated: what comes out of a cut file is right, and the error behind it names the file and the place.
func TestTruncated(t *testing.T) {
	want := memory(1 << 20)
	for _, packed := range [][]byte{gz(t, want), zst(t, want), zst(t, gz(t, want)), gz(t, zst(t, want))} {
		for _, n := range []int{1, 2, 3, 4, 5, 9, 10, 11, 100, len(packed) / 2, len(packed) - 9, len(packed) - 5, len(packed) - 1} {
			s, err := Open("cut.gz", bytes.NewReader(packed[:n]), 0)
			if err != nil {
				wantError(t, err, 0)
				continue
			}
			got := make([]byte, len(want)+1)
			m, err := s.ReadAt(got, 0)
			if !bytes.Equal(got[:m], want[:m]) {
				t.Fatalf("%d of %d bytes: wrong content", n, len(packed))
			}
			if m == len(want) && err == io.EOF {
				t.Errorf("%d of %d bytes of %s: nothing missed", n, len(packed), s.Method)
			}
			if err != io.EOF {
				wantError(t, err, int64(m))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func wantError(t *testing.T, err error, off int64) {
	t.Helper()
	capturetest.WantFormatError(t, err, off)
	if !strings.HasPrefix(err.Error(), "cut.gz: unpacked ") {
		t.Errorf("error does not name the file: %v", err)
	}
}

// TestCorrupt: a changed byte in the middle is found at the latest by the checksum at the end.
func TestCorrupt(t *testing.T) {
	want := memory(1 << 20)
	for _, packed := range [][]byte{gz(t, want), zst(t, want)} {
		for i := 20; i < len(packed); i += len(packed) / 50 {
			bad := slices.Clone(packed)
			bad[i] ^= 0x40
			s, err := Open("cut.gz", bytes.NewReader(bad), 0)
			if err != nil {
				wantError(t, err, 0)
				continue
			}
			if n, err := s.Size(); err == nil {
				t.Errorf("byte %d changed: unpacks to %d bytes", i, n)
			} else {
				var fe *ferr.FormatError
				if !errors.As(err, &fe) || fe.Path != "cut.gz" {
					t.Errorf("byte %d changed: %v", i, err)
				}
			}
			s.Close()
		}
	}
}

// bomb unpacks to size bytes of zeros, a multiple of 1 MiB: a compressed MiB over and over, which both formats allow.
func bomb(pack func(testing.TB, []byte) []byte, tb testing.TB, size int) []byte {
	return bytes.Repeat(pack(tb, make([]byte, 1<<20)), size>>20)
}

// TestBomb: what unpacks a thousandfold is stopped at 256 MiB, holding neither memory nor disk, unless it is allowed.
func TestBomb(t *testing.T) {
	for name, packed := range map[string][]byte{
		"zstd":         bomb(zst, t, 280<<20),
		"gzip in gzip": gz(t, bomb(gz, t, 280<<20)),
	} {
		s, err := Open("cut.gz", bytes.NewReader(packed), 0)
		if err != nil {
			t.Fatal(err)
		}
		capturetest.Small(t, func() {
			_, err = s.ReadAt(make([]byte, 1), 270<<20)
		})
		wantError(t, err, freeBytes)
		if n, err := s.ReadAt(make([]byte, 1), freeBytes-1); n != 1 || err != nil {
			t.Errorf("%s: below the limit: %v", name, err)
		}
		if st, err := s.tmp.Stat(); err != nil || st.Size() != 0 {
			t.Errorf("%s: %d bytes of zeros on disk, %v", name, st.Size(), err)
		}
		s.Close()

		if s, err = Open("x", bytes.NewReader(packed), -1); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Size(); n != 280<<20 || err != nil {
			t.Errorf("%s, allowed: %d, %v", name, n, err)
		}
		s.Close()
	}
}

// TestWindow: a zstd frame may ask for a window of 128 MiB, as the zstd tool allows, and gets no more.
func TestWindow(t *testing.T) {
	frame := func(log byte) []byte { // magic, window of 2^log bytes, one block that repeats 'x' 2^17 times, the last one
		const size = 1 << 17
		return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 1<<1 | 1, size >> 5 & 0xff, size >> 13, 'x'}
	}
	read := func(log byte) (n int, err error) {
		capturetest.Small(t, func() {
			var s *Stream
			if s, err = Open("cut.gz", bytes.NewReader(frame(log)), 0); err == nil {
				n, err = s.ReadAt(make([]byte, 1<<17+1), 0)
				s.Close()
			}
		})
		return n, err
	}
	if n, err := read(27); n != 1<<17 || err != io.EOF {
		t.Errorf("128 MiB: %d bytes, %v", n, err)
	}
	_, err := read(28)
	wantError(t, err, 0)
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("256 MiB: %v", err)
	}
}

// TestNoTemp: without room for a temporary file the front still reads, and the rest says why not.
func TestNoTemp(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	s := open(t, gz(t, memory(memSize+2<<20)))
	if _, err := s.ReadAt(make([]byte, 1), memSize-1); err != nil {
		t.Errorf("in memory: %v", err)
	}
	_, err := s.ReadAt(make([]byte, 1), memSize+1<<20)
	capturetest.WantFormatError(t, err, memSize)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestTempUnlinked: the temporary file has no name while it is in use, and is gone with the stream.
func TestTempUnlinked(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := open(t, gz(t, memory(memSize+2<<20)))
	if _, err := s.Size(); err != nil {
		t.Fatal(err)
	}
	if s.tmp == nil {
		t.Fatal("no temporary file")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 && !s.tmpNamed {
		t.Errorf("in use: %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("after Close: %v, %v", left, err)
	}
}
