package unpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var errTrailing = errors.New("the gzip data end here, and what follows in the file is neither a further gzip member nor zeros")

// members unpacks a file of one gzip member or several. Zeros behind the last one are padding, as for the gzip tool.
type members struct {
	src *bufio.Reader
	z   *gzip.Reader
	err error // after the last member
}

func newMembers(src *bufio.Reader) (*members, error) {
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{src: src, z: z}, nil
}

func (m *members) Read(p []byte) (int, error) {
	for m.err == nil {
		n, err := m.z.Read(p)
		if err == io.EOF {
			m.err = m.next()
			err = m.err
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, m.err
}

// next goes on to the next member; there is none if it returns an error.
func (m *members) next() error {
	head, err := m.src.Peek(2)
	if len(head) == 0 {
		return err
	}
	if Sniff(head) == Gzip {
		if err := m.z.Reset(m.src); err != nil {
			return err
		}
		m.z.Multistream(false)
		return nil
	}
	for {
		switch b, err := m.src.ReadByte(); {
		case err != nil:
			return err
		case b != 0:
			return errTrailing
		}
	}
}

// explain says in our words what the zstd decoder found.
func explain(err error) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("asks for a window of more than %d MiB, as zstd --long makes it; unpack it first, with zstd -d --long=31: %w", maxWindow>>20, err)
	case errors.Is(err, zstd.ErrMagicMismatch):
		return fmt.Errorf("a zstd frame should begin here: %w", err)
	}
	return err
}
