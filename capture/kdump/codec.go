package kdump

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/anchore/go-lzo"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"ptemu/physmem"
)

// codecNames are in the order in which Format lists them.
var codecNames = []struct {
	flag uint32
	name string
}{{flagZlib, "zlib"}, {flagLZO, "lzo"}, {flagSnappy, "snappy"}, {flagZstd, "zstd"}}

var (
	errTooLong  = errors.New("page is longer than 4096 bytes")
	errTooShort = errors.New("page is shorter than 4096 bytes")
)

// scratch is what one goroutine needs to unpack a page. A page that did not get smaller is stored as it is, so
// packed data always fits a page.
type scratch struct {
	packed [blockSize]byte
	src    bytes.Reader
	zlib   io.ReadCloser // nil until first used
	tail   [1]byte
}

var (
	scratches = sync.Pool{New: func() any { return new(scratch) }}
	headerBuf = sync.Pool{New: func() any { return new([recordHeader]byte) }}
)

// newZstd makes the decoder that all goroutines share. It unpacks into the page, whatever window the data asks for.
var newZstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecodeAllCapLimit(true))
})

// unpack unpacks packed, which need not be in s, to exactly one frame.
func (s *scratch) unpack(codec uint32, packed []byte, dst *physmem.Frame) error {
	switch codec {
	case flagZlib:
		return s.unzlib(packed, dst)
	case flagLZO:
		n, err := lzo.Decompress(packed, dst[:])
		return exactly(n, err)
	case flagSnappy:
		// The decoder takes dst only if the page fits, so its length comes first.
		n, err := snappy.DecodedLen(packed)
		if err := exactly(n, err); err != nil {
			return err
		}
		_, err = snappy.Decode(dst[:], packed)
		return err
	case flagZstd:
		dec, err := newZstd()
		if err != nil {
			return err
		}
		out, err := dec.DecodeAll(packed, dst[:0])
		return exactly(len(out), err)
	}
	return fmt.Errorf("unknown compression %#x", codec)
}

func (s *scratch) unzlib(packed []byte, dst *physmem.Frame) error {
	s.src.Reset(packed)
	var err error
	if s.zlib == nil {
		s.zlib, err = zlib.NewReader(&s.src)
	} else {
		err = s.zlib.(zlib.Resetter).Reset(&s.src, nil)
	}
	if err != nil {
		return err
	}
	if n, err := io.ReadFull(s.zlib, dst[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %d", errTooShort, n)
		}
		return err
	}
	// The end of the stream holds the checksum, and must be here.
	switch n, err := s.zlib.Read(s.tail[:]); {
	case n != 0:
		return errTooLong
	case err != io.EOF:
		return err
	}
	return nil
}

// exactly checks that a decoder made one page.
func exactly(n int, err error) error {
	switch {
	case err != nil:
		return err
	case n > blockSize:
		return fmt.Errorf("%w: %d", errTooLong, n)
	case n < blockSize:
		return fmt.Errorf("%w: %d", errTooShort, n)
	}
	return nil
}
