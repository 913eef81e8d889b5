package unpack

import (
	"bytes"
	"io"
	"os"
)

// memSize is how many bytes stay in memory; the byte after them is the first of the temporary file.
const memSize = memBlocks * blockSize

var zeros [holeSize]byte

// store keeps b, the bytes at off. Holds mu; off is a multiple of blockSize.
func (s *Stream) store(off int64, b []byte) error {
	if off < memSize {
		if !allZero(b) {
			block := new([blockSize]byte)
			copy(block[:], b)
			s.mem[off/blockSize] = block
		}
		return nil
	}
	if s.tmp == nil {
		if err := s.makeTemp(); err != nil {
			return err
		}
	}
	// Write runs of pieces that are not zero, and leave holes between them.
	for start := 0; start < len(b); {
		end := min(start+holeSize, len(b))
		if allZero(b[start:end]) {
			start = end
			continue
		}
		for end < len(b) && !allZero(b[end:min(end+holeSize, len(b))]) {
			end = min(end+holeSize, len(b))
		}
		if _, err := s.tmp.WriteAt(b[start:end], off-memSize+int64(start)); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// load fills p with the bytes at off, all of which have been stored.
func (s *Stream) load(p []byte, off int64) error {
	for len(p) > 0 && off < memSize {
		in := int(off % blockSize)
		n := min(len(p), blockSize-in)
		if block := s.mem[off/blockSize]; block != nil {
			copy(p[:n], block[in:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
	if len(p) == 0 {
		return nil
	}
	n, err := s.tmp.ReadAt(p, off-memSize)
	if err == io.EOF { // a hole at the end
		clear(p[n:])
		err = nil
	}
	return err
}

// makeTemp makes the temporary file and removes its name, so that it vanishes with us. Where an open file cannot
// be removed, dropTemp does it.
func (s *Stream) makeTemp() (err error) {
	if s.tmp, err = os.CreateTemp("", "ptemu-unpacked-"); err == nil {
		s.tmpNamed = os.Remove(s.tmp.Name()) != nil
	}
	return err
}

func (s *Stream) dropTemp() error {
	if s.tmp == nil {
		return nil
	}
	err := s.tmp.Close()
	if s.tmpNamed {
		err = os.Remove(s.tmp.Name())
	}
	s.tmp = nil
	return err
}

func allZero(b []byte) bool {
	for len(b) > holeSize {
		if !bytes.Equal(b[:holeSize], zeros[:]) {
			return false
		}
		b = b[holeSize:]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
