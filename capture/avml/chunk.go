package avml

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/snappy"

	"ptemu/capture/ferr"
)

// The snappy framing format.
const (
	chunkHeader = 4
	chunkPacked = 0
	chunkStored = 1
	chunkSkip   = 0x80 // this type and those above hold no memory

	checksumSize = 4
	maxMemory    = 1 << 16            // of a chunk
	maxPacked    = maxMemory*7/6 + 32 // of a snappy block of that size
	maxVarint    = 3                  // of the block's length, where it is not above maxMemory
)

// chunk is the header of a chunk.
type chunk struct {
	off    int64 // of the data behind the checksum
	size   int   // of that data in the file
	memory uint32
	stored bool // not compressed
	sum    uint32
	next   int64
}

// readChunk reads the header at off. A chunk without memory has memory 0.
func readChunk(r io.ReaderAt, off int64) (chunk, error) {
	var b [chunkHeader + checksumSize + maxVarint]byte
	if err := ferr.ReadAt(r, b[:chunkHeader], off, format); err != nil {
		return chunk{}, err
	}
	typ := b[0]
	size := int(b[1]) | int(b[2])<<8 | int(b[3])<<16
	c := chunk{next: off + chunkHeader + int64(size)}
	switch {
	case typ >= chunkSkip:
		return c, nil
	case typ != chunkPacked && typ != chunkStored:
		return chunk{}, ferr.New(format, off, "snappy chunk of type %#x", typ)
	case size <= checksumSize || size > checksumSize+maxPacked:
		return chunk{}, ferr.New(format, off, "snappy chunk of %#x bytes", size)
	}
	head := b[:min(len(b), chunkHeader+size)]
	if err := ferr.ReadAt(r, head, off, format); err != nil {
		return chunk{}, err
	}
	c.sum = binary.LittleEndian.Uint32(head[chunkHeader:])
	c.off, c.size = off+chunkHeader+checksumSize, size-checksumSize
	n := uint64(c.size)
	if typ == chunkPacked {
		n, _ = binary.Uvarint(head[chunkHeader+checksumSize:])
	}
	if n == 0 || n > maxMemory {
		return chunk{}, ferr.New(format, off, "snappy chunk of %#x bytes of memory", n)
	}
	c.memory, c.stored = uint32(n), typ == chunkStored
	return c, nil
}

// read unpacks the chunk into dst, which has the room, and checks it. The packed bytes go through buf.
func (c *chunk) read(r io.ReaderAt, dst, buf []byte) error {
	dst = dst[:c.memory]
	if c.stored {
		buf = dst
	}
	buf = buf[:c.size]
	if err := ferr.ReadAt(r, buf, c.off, format); err != nil {
		return err
	}
	if !c.stored {
		got, err := snappy.Decode(dst, buf)
		if err != nil {
			return ferr.At(format, c.off, err)
		}
		if len(got) != len(dst) {
			return ferr.New(format, c.off, "snappy block of %d bytes, not %d", len(got), len(dst))
		}
	}
	// The format stores the CRC rotated, plus a constant.
	sum := bits.RotateLeft32(crc32.Checksum(dst, castagnoli), -15) + 0xa282ead8
	if sum != c.sum {
		return ferr.New(format, c.off, "checksum of snappy chunk is %#08x, not %#08x", sum, c.sum)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cache keeps the chunks that were unpacked last: a chunk holds sixteen frames. Each slot has its own lock, so
// readers of different chunks seldom meet.
type cache struct{ slots [64]slot }

type slot struct {
	mu     sync.Mutex
	off    int64 // of the chunk in mem; 0 is none
	mem    []byte
	packed []byte
}

// copy fills dst from byte from of the chunk on.
func (ca *cache) copy(dst []byte, from int, r io.ReaderAt, c chunk) error {
	s := &ca.slots[uint64(c.off)*0x9e3779b97f4a7c15>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off != c.off {
		if s.mem == nil {
			s.mem, s.packed = make([]byte, maxMemory), make([]byte, maxPacked)
		}
		s.off = 0
		if err := c.read(r, s.mem, s.packed); err != nil {
			return err
		}
		s.off = c.off
	}
	copy(dst, s.mem[from:])
	return nil
}
