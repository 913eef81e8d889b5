// Package unpack reads a compressed file at any offset, although its format can only be read from the front.
//
//	compressed file ──> decoder ──> blocks of 256 KiB, in order
//	                                   first 16 MiB            memory
//	                                   the rest                a temporary file without a name
//	                                   4 KiB of zeros          nowhere: a hole
//
// Reading at an offset unpacks up to there and no further; what has been unpacked is never unpacked again. So a
// reader that needs only the front of a file (headers, low memory) pays for the front.
//
// What must always hold: bytes are only handed out after they came out of the decoder in order; memory use is
// bounded whatever the file says; a file that unpacks to absurdly much is stopped. The checksums of gzip and zstd
// stand at the end of the data that they cover, so bytes may have been handed out when a wrong one is found.
package unpack

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"ptemu/capture/ferr"
)

// Method is a compression format.
type Method string

// The methods, and None.
const (
	None Method = ""
	Gzip Method = "gzip"
	Zstd Method = "zstd"
)

// SniffLen is how many bytes [Sniff] looks at.
const SniffLen = 4

// Sniff tells the method from the first bytes of a file.
func Sniff(head []byte) Method {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		// A skippable frame: pzstd and seekable zstd files may start with one.
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return Zstd
	}
	return None
}

const (
	maxLayers  = 2
	blockSize  = 256 << 10
	memBlocks  = 64 // kept in memory, 16 MiB
	holeSize   = 4096
	bufferSize = 64 << 10

	// DefaultMaxRatio is about what deflate reaches on zeros.
	DefaultMaxRatio = 1000
	// freeBytes may come out of any file, whatever the ratio.
	freeBytes = 256 << 20
	// maxWindow is what the zstd tool itself unpacks without being told more.
	maxWindow = 128 << 20
)

// Stream is the unpacked content of a compressed file. It implements [io.ReaderAt], for any number of goroutines at
// a time; a reader waits only while the bytes that it needs are being unpacked.
type Stream struct {
	// Method names the compression, the inner one first: "gzip", "gzip in zstd".
	Method string

	path     string
	maxRatio int64

	have atomic.Int64 // bytes unpacked and stored: they never change again

	mem [memBlocks]*[blockSize]byte // nil: all zeros. Entries below have are set.
	tmp *os.File                    // bytes from memBlocks*blockSize on, at offset 0; set before have gets there

	mu       sync.Mutex // of the fields below, and of advancing have
	src      io.Reader
	layers   []*layer // what each decoder reads from, the compressed file first
	buf      *[blockSize]byte
	tmpNamed bool
	err      error // why there is nothing beyond have: io.EOF, or a FormatError
	closers  []func()
}

// Open starts unpacking src, whose first bytes [Sniff] has recognised. The path is for errors. More than maxRatio
// times the compressed bytes are not unpacked, unless it is less than 256 MiB; 0 stands for [DefaultMaxRatio], a
// negative number for no limit.
func Open(path string, src io.ReaderAt, maxRatio int64) (*Stream, error) {
	if maxRatio == 0 {
		maxRatio = DefaultMaxRatio
	}
	s := &Stream{path: path, maxRatio: maxRatio, buf: new([blockSize]byte)}
	r := s.layer(io.NewSectionReader(src, 0, math.MaxInt64))
	for unpacked := 0; ; unpacked++ {
		head, _ := r.Peek(SniffLen) // an error comes back when the stream is read
		m := Sniff(head)
		if m == None && unpacked > 0 {
			s.src = r
			return s, nil
		}
		if unpacked == maxLayers {
			s.Close()
			return nil, s.errorf(0, "compressed more than %d times over", maxLayers)
		}
		if s.Method != "" {
			s.Method = " in " + s.Method
		}
		s.Method = string(m) + s.Method
		d, err := s.decoder(m, r)
		if err != nil {
			s.Close()
			return nil, s.at(0, err)
		}
		r = s.layer(d)
	}
}

func (s *Stream) decoder(m Method, r *bufio.Reader) (io.Reader, error) {
	switch m {
	case Gzip:
		return newMembers(r)
	case Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
		if err == nil {
			s.closers = append(s.closers, d.Close)
		}
		return d, err
	}
	return nil, errors.New("not a compressed file")
}

// ReadAt implements [io.ReaderAt].
func (s *Stream) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: negative offset", s.path)
	}
	end := int64(math.MaxInt64)
	if int64(len(p)) < end-off {
		end = off + int64(len(p))
	}
	if err := s.unpackTo(end); err != nil {
		end = min(end, s.have.Load())
		if end <= off {
			return 0, err
		}
		n := int(end - off)
		return n, cmp.Or(s.load(p[:n], off), err)
	}
	return len(p), s.load(p, off)
}

// Size unpacks everything and returns its size.
func (s *Stream) Size() (int64, error) {
	if err := s.unpackTo(math.MaxInt64); err != io.EOF {
		return 0, err
	}
	return s.have.Load(), nil
}

// Close frees the temporary file. Nothing may be reading.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.closers {
		f()
	}
	s.closers = nil
	s.err = os.ErrClosed
	s.have.Store(0)
	return s.dropTemp()
}

// unpackTo makes the bytes below end available, or says why it cannot.
func (s *Stream) unpackTo(end int64) error {
	if s.have.Load() >= end {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && s.have.Load() < end {
		s.err = s.unpackBlock()
	}
	if s.have.Load() >= end {
		return nil
	}
	return s.err
}

// unpackBlock unpacks and stores the next block. It is called at block boundaries only: a short block ends the stream.
func (s *Stream) unpackBlock() (err error) {
	off := s.have.Load()
	n := 0
	for n < blockSize && err == nil {
		var m int
		m, err = s.src.Read(s.buf[n:])
		n += m
	}
	now := off + int64(n)
	if s.maxRatio > 0 && now > freeBytes && now/s.maxRatio > s.layers[0].n {
		return s.errorf(off, "unpacks to more than %d times its size: refused", s.maxRatio)
	}
	if serr := s.store(off, s.buf[:n]); serr != nil {
		return s.at(off, fmt.Errorf("temporary file: %w", serr))
	}
	s.have.Store(now)
	if err == io.EOF { // also what the zstd decoder makes of an input that fails where a frame might start
		for _, l := range s.layers {
			if l.err != nil {
				err = l.err
			}
		}
	}
	if err != nil && err != io.EOF {
		return s.at(now, err)
	}
	return err
}

func (s *Stream) errorf(off int64, msg string, args ...any) error {
	return s.at(off, fmt.Errorf(msg, args...))
}

func (s *Stream) at(off int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ferr.ErrTruncated
	}
	return &ferr.FormatError{Path: s.path, Format: "unpacked " + s.Method, Off: off, Err: explain(err)}
}

// layer counts what is read of a layer, and keeps the error that ends it, unless that is its regular end.
type layer struct {
	r   io.Reader
	n   int64
	err error
}

func (l *layer) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

func (s *Stream) layer(r io.Reader) *bufio.Reader {
	l := &layer{r: r}
	s.layers = append(s.layers, l)
	return bufio.NewReaderSize(l, bufferSize)
}
