package kdump

import (
	"bytes"
	stdzlib "compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// tinyDump has one frame of each codec: frame n+1 has codec 1<<n, frame 0 is stored.
func tinyDump() *dump {
	return &dump{version: 6, status: 1, max: 100, notes: []byte{}, pages: []page{
		{pfn: 0, data: testFrame(0)},
		{pfn: 1, codec: flagZlib, data: testFrame(1)},
		{pfn: 2, codec: flagLZO, data: testFrame(2)},
		{pfn: 3, codec: flagSnappy, data: testFrame(3)},
		{pfn: 4, codec: flagZstd, data: testFrame(4)},
		{pfn: 99, codec: flagZstd, data: testFrame(4)},
	}}
}

const tinyDescs = 4 * 4096 // header, sub-header, two bitmap blocks

func TestHostileHeader(t *testing.T) {
	valid := tinyDump().bytes(t)
	le := binary.LittleEndian
	u32 := func(at int, v uint32) []byte {
		b := bytes.Clone(valid)
		le.PutUint32(b[at:], v)
		return b
	}
	u64 := func(at int, v ...uint64) []byte {
		b := bytes.Clone(valid)
		for i, v := range v {
			le.PutUint64(b[at+8*i:], v)
		}
		return b
	}
	split := func(start, end uint64) []byte {
		b := u64(4096+80, start, end)
		b[4096+12] = 1
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		off  int64
	}{
		{"empty", nil, 0},
		{"cut in the signature", valid[:10], 0},
		{"cut in the header", valid[:460], 0},
		{"cut in the sub-header", valid[:4096+100], 4096},
		{"cut in the 1st bitmap", valid[:2*4096+5], 2*4096 + 5},
		{"cut in the 2nd bitmap", valid[:3*4096+5], 3*4096 + 5},
		{"other signature", append([]byte("ELF"), valid[3:]...), 0},
		{"diskdump", append([]byte("DISKDUMP"), valid[8:]...), 0},
		{"version 0", u32(8, 0), 8},
		{"version 7", u32(8, 7), 8},
		{"version -1", u32(8, 1<<32-1), 8},
		{"machine", append(bytes.Clone(valid[:272]), append([]byte("aarch64\x00"), valid[280:]...)...), 272},
		{"block size 0", u32(428, 0), 428},
		{"block size 4095", u32(428, 4095), 428},
		{"block size 65536", u32(428, 65536), 428},
		{"block size -4096", u32(428, 1<<32-4096), 428},
		{"sub_hdr_size 0", u32(432, 0), 432},
		{"sub_hdr_size 2^31", u32(432, 1<<31), 432},
		{"sub_hdr_size 2^31-1", u32(432, 1<<31-1), int64(len(valid))},
		{"bitmap_blocks 0", u32(436, 0), 436},
		{"bitmap_blocks odd", u32(436, 3), 436},
		{"bitmap_blocks 2^31", u32(436, 1<<31), int64(len(valid))},
		{"max_mapnr beyond the bitmap", u64(4096+96, 32769), 436},
		{"max_mapnr 2^63", u64(4096+96, 1<<63), 4096 + 96},
		{"max_mapnr 2^64-1", u64(4096+96, ^uint64(0)), 4096 + 96},
		{"split backwards", split(5, 4), 4096 + 80},
		{"notes beyond the file", u64(4096+48, 1<<40, 100), 4096 + 48},
		{"notes at 2^63", u64(4096+48, 1<<63, 100), 4096 + 48},
		{"notes end beyond the file", u64(4096+48, uint64(len(valid))-99, 100), 4096 + 48},
		{"notes of 2^63 bytes", u64(4096+48, 4096, 1<<63), 4096 + 48},
		{"notes that are none", u64(4096+48, 142, 100), 142},
		{"vmcoreinfo of 2^40 bytes", u64(4096+32, 4096, 1<<40), 4096 + 32},
		{"vmcoreinfo beyond the file", u64(4096+32, 1<<40, 100), 4096 + 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(c.b), int64(len(c.b)))
			if f != nil {
				t.Error("a file and an error")
			}
			wantFormatError(t, err, c.off)
			if f, err := Open(bytes.NewReader(c.b), -1); f != nil || err == nil {
				t.Errorf("unknown size: %v, %v", f, err)
			}
		})
	}
}

// Everything that can be wrong with one page is told when that page is read; its neighbours can be read.
func TestHostilePages(t *testing.T) {
	valid := tinyDump().bytes(t)
	le := binary.LittleEndian
	end := uint64(len(valid))
	bomb := make([]byte, 1<<20)
	long := new(physmem.Frame) // packs to little
	desc := func(off uint64, size, flags uint32, data ...byte) []byte {
		b := append(bytes.Clone(valid), data...)
		d := b[tinyDescs:]
		le.PutUint64(d, off)
		le.PutUint32(d[8:], size)
		le.PutUint32(d[12:], flags)
		return b
	}
	with := func(flags uint32, data []byte) []byte { return desc(end, uint32(len(data)), flags, data...) }
	zlibPage := pack(t, flagZlib, long)
	badSum := bytes.Clone(zlibPage)
	badSum[len(badSum)-1]++

	const inDesc, inData = tinyDescs, -1
	for _, c := range []struct {
		name string
		b    []byte
		off  int64
		is   error
	}{
		{"offset -1", desc(^uint64(0), 4096, 0), inDesc, nil},
		{"offset 2^63", desc(1<<63, 4096, 0), inDesc, nil},
		{"offset 2^63-4096", desc(1<<63-4096, 4096, 0), inDesc, nil},
		{"offset beyond the file", desc(end-4095, 4096, 0), inDesc, ferr.ErrTruncated},
		{"size 0", desc(end, 0, flagZlib), inDesc, nil},
		{"size 4097", desc(4096, 4097, flagZlib), inDesc, nil},
		{"size 2^32-1", desc(4096, 1<<32-1, flagZlib), inDesc, nil},
		{"stored, short", desc(4096, 4095, 0), inDesc, nil},
		{"two codecs", desc(4096, 100, flagZlib|flagLZO), inDesc, nil},
		{"unknown flag", desc(4096, 4096, 0x40), inDesc, nil},
		{"incomplete flag", desc(4096, 4096, 8), inDesc, nil},
		{"zlib, too long", with(flagZlib, zlibOf(bomb)), inData, errTooLong},
		{"zlib, one byte too long", with(flagZlib, zlibOf(bomb[:4097])), inData, errTooLong},
		{"zlib, too short", with(flagZlib, zlibOf(bomb[:4095])), inData, errTooShort},
		{"zlib, wrong checksum", with(flagZlib, badSum), inData, nil},
		{"zlib, no checksum", with(flagZlib, zlibPage[:len(zlibPage)-4]), inData, nil},
		{"zlib, cut", with(flagZlib, zlibPage[:len(zlibPage)/2]), inData, errTooShort},
		{"zlib, rubbish", with(flagZlib, []byte("rubbish")), inData, nil},
		{"lzo, rubbish", with(flagLZO, []byte("rubbish")), inData, nil},
		{"lzo, too long", with(flagLZO, append([]byte{18, 0, 0x20}, append(make([]byte, 100), 1, 0, 0, 0x11, 0, 0)...)), inData, nil},
		{"lzo, too short", with(flagLZO, []byte{21, 1, 2, 3, 4, 0x11, 0, 0}), inData, errTooShort},
		{"snappy, rubbish", with(flagSnappy, []byte("rubbish")), inData, nil},
		{"snappy, says 2^32-1", with(flagSnappy, []byte{0xff, 0xff, 0xff, 0xff, 0xf, 0}), inData, errTooLong},
		{"snappy, says 4097", with(flagSnappy, []byte{0x81, 0x20, 0}), inData, errTooLong},
		{"snappy, says 4096 and has less", with(flagSnappy, []byte{0x80, 0x20, 0, 0}), inData, nil},
		{"zstd, rubbish", with(flagZstd, []byte("rubbish")), inData, nil},
		{"zstd, too long", with(flagZstd, zstdEncoder().EncodeAll(bomb, nil)), inData, zstd.ErrDecoderSizeExceeded},
		{"zstd, too short", with(flagZstd, zstdEncoder().EncodeAll(bomb[:4095], nil)), inData, errTooShort},
		{"zstd, no frame", with(flagZstd, []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}), inData, errTooShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mustOpen(t, c.b)
			var got physmem.Frame
			err := f.ReadFrame(0, &got)
			off := c.off
			if off == inData {
				off = int64(end)
			}
			wantFormatError(t, err, off)
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want %v", err, c.is)
			}
			if err := f.ReadFrame(1, &got); err != nil || got != *testFrame(1) {
				t.Errorf("the next frame: %v", err)
			}
		})
	}
}

func zlibOf(b []byte) []byte {
	var out bytes.Buffer
	w := stdzlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// A file cut anywhere behind the bitmaps opens; frames that are gone say where it ends, the others are right.
func TestTruncated(t *testing.T) {
	d := tinyDump()
	b := d.bytes(t)
	for n := tinyDescs; n < len(b); n++ {
		for _, size := range []int64{int64(n), -1} {
			f, err := Open(bytes.NewReader(b[:n]), size)
			if err != nil {
				t.Fatalf("cut at %d: %v", n, err)
			}
			for _, p := range d.pages {
				var got physmem.Frame
				err := f.ReadFrame(x86.PFN(p.pfn), &got)
				var fe *ferr.FormatError
				if err == nil && got != *p.data || err != nil && !(errors.As(err, &fe) && errors.Is(err, ferr.ErrTruncated)) {
					t.Fatalf("cut at %d, frame %d: %v", n, p.pfn, err)
				}
			}
			if err := f.ReadFrame(99, new(physmem.Frame)); err == nil {
				t.Fatalf("cut at %d: the last frame is there", n)
			}
		}
	}
}

// A bitmap of alternate bits makes no list of a thousand million ranges.
func TestTooManyRanges(t *testing.T) {
	d := &dump{version: 6, max: 1 << 18}
	b := d.bytes(t)
	for i := 2 * 4096; i < len(b)/2+4096; i++ {
		b[i] = 0x55
	}
	_, err := Open(bytes.NewReader(b), int64(len(b)))
	wantFormatError(t, err, 2*4096+maxRanges/4)
}

// sparse is a file of zeros with some bytes at the start.
type sparse struct {
	head []byte
	size int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(0, s.size-off)))
	clear(p[:n])
	if off < int64(len(s.head)) {
		copy(p[:n], s.head[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// bigHeader is that of a machine with max frames, whose bitmaps are zeros.
func bigHeader(t testing.TB, max uint64) sparse {
	b := tinyDump().bytes(t)[:2*4096]
	blocks := uint32((max + framesPerBlock - 1) / framesPerBlock * 2)
	binary.LittleEndian.PutUint32(b[436:], blocks)
	binary.LittleEndian.PutUint64(b[4096+96:], max)
	return sparse{b, (2 + int64(blocks)) * 4096}
}

// The index of a machine of 1 TiB takes much less than its bitmaps' 64 MiB.
func TestBigMachineMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads bitmaps of 64 MiB")
	}
	file := bigHeader(t, 1<<40/4096)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Open(file, file.size)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("opening allocates %d bytes", got)
	}
	if err := f.ReadFrame(f.Header.MaxPFN-1, new(physmem.Frame)); !errors.Is(err, physmem.ErrAbsent) {
		t.Errorf("the last frame: %v", err)
	}
}

// Any byte of a valid file may be any other: an error or a frame, never a panic. FuzzKdump goes on from here.
func TestFlippedBytes(t *testing.T) {
	d := tinyDump()
	plain := d.bytes(t)
	r := rand.New(rand.NewPCG(8, 8))
	for _, b := range [][]byte{plain, flatten(shred(plain, 8))} {
		for range 3000 {
			at := r.IntN(len(b))
			old := b[at]
			b[at] = byte(r.Uint32())
			tryAll(t, b)
			b[at] = old
		}
	}
}
