package kdump

import (
	"bytes"
	stdzlib "compress/zlib"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// dump is a kdump-compressed file to be made. It is written as the format's description says, field by field, and
// shares no code with the reader.
type dump struct {
	version    int
	status     uint32
	max        uint64
	pages      []page // ascending
	split      *[2]uint64
	notes      []byte
	vmcoreinfo []byte
}

type page struct {
	pfn   uint64
	kind  pageKind
	codec uint32
	data  *physmem.Frame
}

type pageKind int

const (
	stored     pageKind = iota // packed with codec
	excluded                   // in the 1st bitmap only
	incomplete                 // a descriptor of zeros
)

// bytes lays the file out. Frames with the same data pointer share their data.
func (d *dump) bytes(t testing.TB) []byte {
	t.Helper()
	const bs = 4096
	bitmapBlocks := int((d.max + bs*8 - 1) / (bs * 8))
	extra := append(append([]byte{}, d.notes...), d.vmcoreinfo...)
	sub := 1 + (len(extra)+bs-1)/bs
	bitmap1 := (1 + sub) * bs
	bitmap2 := bitmap1 + bitmapBlocks*bs
	descs := bitmap2 + bitmapBlocks*bs

	first, end := uint64(0), d.max
	if d.split != nil {
		first, end = d.split[0], d.split[1]
	}
	n := 0
	for _, p := range d.pages {
		if p.kind != excluded && p.pfn >= first && p.pfn < end {
			n++
		}
	}
	b := make([]byte, descs+24*n)
	le := binary.LittleEndian

	copy(b, "KDUMP   ")
	le.PutUint32(b[8:], uint32(d.version))
	copy(b[12+2*65:], "6.99-test")
	copy(b[12+4*65:], "x86_64")
	le.PutUint32(b[424:], d.status)
	le.PutUint32(b[428:], bs)
	le.PutUint32(b[432:], uint32(sub))
	le.PutUint32(b[436:], uint32(2*bitmapBlocks))
	le.PutUint32(b[440:], uint32(d.max))
	le.PutUint32(b[460:], 2)

	s := b[bs:]
	if d.version >= 2 && d.split != nil {
		le.PutUint32(s[12:], 1)
		le.PutUint64(s[16:], d.split[0])
		le.PutUint64(s[24:], d.split[1])
	}
	if d.version >= 3 && len(d.vmcoreinfo) > 0 {
		le.PutUint64(s[32:], uint64(2*bs+len(d.notes)))
		le.PutUint64(s[40:], uint64(len(d.vmcoreinfo)))
	}
	if d.version >= 4 && len(d.notes) > 0 {
		le.PutUint64(s[48:], 2*bs)
		le.PutUint64(s[56:], uint64(len(d.notes)))
	}
	if d.version >= 6 {
		if d.split != nil {
			le.PutUint64(s[80:], d.split[0])
			le.PutUint64(s[88:], d.split[1])
			// The 32-bit fields are obsolete: no reader may look at them.
			le.PutUint64(s[16:], 0)
			le.PutUint64(s[24:], 0)
		}
		le.PutUint64(s[96:], d.max)
		le.PutUint32(b[440:], 7)
	}
	copy(b[2*bs:], extra)

	at, i := map[*physmem.Frame][2]uint64{}, 0
	for _, p := range d.pages {
		b[bitmap1+int(p.pfn/8)] |= 1 << (p.pfn % 8)
		if p.kind == excluded {
			continue
		}
		b[bitmap2+int(p.pfn/8)] |= 1 << (p.pfn % 8)
		if p.pfn < first || p.pfn >= end {
			continue
		}
		desc := descs + 24*i
		i++
		if p.kind == incomplete {
			continue
		}
		place, shared := at[p.data]
		if !shared {
			packed := pack(t, p.codec, p.data)
			place = [2]uint64{uint64(len(b)), uint64(len(packed))}
			at[p.data] = place
			b = append(b, packed...)
		}
		le.PutUint64(b[desc:], place[0])
		le.PutUint32(b[desc+8:], uint32(place[1]))
		le.PutUint32(b[desc+12:], p.codec)
		le.PutUint64(b[desc+16:], 0xdead)
	}
	return b
}

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e
})

func pack(t testing.TB, codec uint32, f *physmem.Frame) []byte {
	t.Helper()
	switch codec {
	case 0:
		return f[:]
	case 1:
		var b bytes.Buffer
		w := stdzlib.NewWriter(&b)
		w.Write(f[:])
		w.Close()
		return b.Bytes()
	case 2:
		return packLZO(t, f)
	case 4:
		return snappy.Encode(nil, f[:])
	case 0x20:
		return zstdEncoder().EncodeAll(f[:], nil)
	}
	t.Fatalf("no codec %#x", codec)
	return nil
}

// lzoPeriod is after how many bytes the frames that packLZO can pack repeat.
const lzoPeriod = 64

// packLZO packs a frame that repeats, as a run of literals and one long match (Linux: Documentation/staging/lzo.rst).
// Streams of the real compressor are in testdata.
func packLZO(t testing.TB, f *physmem.Frame) []byte {
	t.Helper()
	for i := lzoPeriod; i < len(f); i++ {
		if f[i] != f[i-lzoPeriod] {
			t.Fatal("packLZO: the frame does not repeat")
		}
	}
	b := append([]byte{lzoPeriod + 17}, f[:lzoPeriod]...)
	left := len(f) - lzoPeriod - 2 - 31
	b = append(b, 0x20)
	for ; left > 255; left -= 255 {
		b = append(b, 0)
	}
	b = append(b, byte(left), (lzoPeriod-1)<<2&0xff, (lzoPeriod-1)>>6)
	return append(b, 0x11, 0, 0)
}

// testFrame makes a frame that repeats every lzoPeriod bytes and names its number.
func testFrame(pfn uint64) *physmem.Frame {
	f := new(physmem.Frame)
	r := rand.New(rand.NewPCG(pfn, 1))
	for i := 0; i < lzoPeriod; i += 8 {
		binary.LittleEndian.PutUint64(f[i:], r.Uint64())
	}
	for i := lzoPeriod; i < len(f); i++ {
		f[i] = f[i-lzoPeriod]
	}
	return f
}

// record is one piece of a flattened file.
type record struct {
	off  int64
	data []byte
}

// flatten writes records as a flattened file.
func flatten(recs []record) []byte {
	b := make([]byte, 4096)
	copy(b, "makedumpfile")
	binary.BigEndian.PutUint64(b[16:], 1)
	binary.BigEndian.PutUint64(b[24:], 1)
	for _, r := range recs {
		b = binary.BigEndian.AppendUint64(b, uint64(r.off))
		b = binary.BigEndian.AppendUint64(b, uint64(len(r.data)))
		b = append(b, r.data...)
	}
	b = binary.BigEndian.AppendUint64(b, ^uint64(0))
	return binary.BigEndian.AppendUint64(b, ^uint64(0))
}

// shred cuts b into records in random order, with some of it written wrong before it is written right.
func shred(b []byte, seed uint64) []record {
	r := rand.New(rand.NewPCG(seed, 2))
	var recs []record
	for at := 0; at < len(b); {
		n := min(1+r.IntN(5000), len(b)-at)
		recs = append(recs, record{int64(at), b[at : at+n]})
		at += n
	}
	r.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
	junk := make([]record, len(recs)/2)
	for i := range junk {
		at := r.IntN(len(b))
		junk[i] = record{int64(at), bytes.Repeat([]byte{0xee}, min(1+r.IntN(9000), len(b)-at))}
	}
	return append(junk, recs...)
}

func mustOpen(t testing.TB, b []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func pfnRange(start, end x86.PFN) physmem.Range {
	return physmem.Range{Start: start.Phys(), End: end.Phys()}
}
