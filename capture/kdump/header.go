package kdump

import (
	"bytes"
	"encoding/binary"
	"io"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
)

// The names of the two forms of the file in errors. Offsets of a flattened file's content are those that it has when
// rearranged (makedumpfile -R); errors of the records themselves give the place in the file at hand.
const (
	formatPlain      = "kdump"
	formatRearranged = "kdump, rearranged"
	formatFlat       = "flattened kdump"
)

const (
	signature      = "KDUMP   "
	signatureDisk  = "DISKDUMP"
	machineName    = "x86_64"
	machineUnknown = "Unknown" // QEMU 11 writes it, whatever the machine
	minVersion     = 1
	maxVersion     = 6
	blockSize      = 4096
	framesPerBlock = blockSize * 8 // bits of a bitmap block
	// maxFrames is 2^46 bytes of memory: what Linux can use with four levels. It bounds the time that
	// a file with huge sparse bitmaps can take.
	maxFrames = 1 << 34
)

// Positions in the header, as a 64-bit kernel lays it out.
const (
	atVersion      = 8
	atUtsname      = 12
	utsField       = 65
	atStatus       = 424
	atBlockSize    = 428
	atSubHdrSize   = 432
	atBitmapBlocks = 436
	atMaxMapnr     = 440
	atNrCPUs       = 460
	headerSize     = 464
)

// Positions in the sub-header.
const (
	atSub           = blockSize
	atPhysBase      = 0
	atDumpLevel     = 8
	atSplit         = 12
	atStartPFN      = 16
	atEndPFN        = 24
	atVMCoreInfoOff = 32
	atVMCoreInfoLen = 40
	atNoteOff       = 48
	atNoteLen       = 56
	atStartPFN64    = 80
	atEndPFN64      = 88
	atMaxMapnr64    = 96
)

// subHeaderSize is how long the sub-header is in each version: later fields are not in the file.
var subHeaderSize = [maxVersion + 1]int{1: 12, 2: 32, 3: 48, 4: 64, 5: 80, 6: 104}

// Bits of the header's status. The low ones and zstd have the meaning and the values of a descriptor's flags.
const (
	flagZlib   = 0x1
	flagLZO    = 0x2
	flagSnappy = 0x4
	flagZstd   = 0x20
	flagCodec  = flagZlib | flagLZO | flagSnappy | flagZstd

	statusIncomplete = 0x8
)

// Header is what the file says of itself. Strings are as in the file, up to their first NUL.
type Header struct {
	Version int
	// The kernel's utsname. QEMU fills only Machine: with "x86_64", and as of version 11 with "Unknown".
	Node, Release, KernelVersion, Machine string
	// Status has a bit for each codec that pages may be compressed with.
	Status uint32
	// Incomplete: the maker ran out of space and said so. Frames that it did not reach give ErrIncomplete.
	Incomplete bool
	// MaxPFN is max_mapnr: the frames of the machine are below it.
	MaxPFN x86.PFN
	NrCPUs int
	// PhysBase is the physical address of the kernel image less its link address. QEMU up to at least 7.2 reads
	// VMCOREINFO's decimal number as hexadecimal: believe that of VMCOREINFO.
	PhysBase uint64
	// DumpLevel is makedumpfile's -d: what was excluded.
	DumpLevel int
	// Split: the file is one part of a dump, and holds frames of [StartPFN, EndPFN) only.
	Split            bool
	StartPFN, EndPFN x86.PFN
}

// layout is where things are in the (rearranged) file.
type layout struct {
	bitmap1, bitmap2, descs int64
	notes, vmcoreinfo       area
}

type area struct{ off, size uint64 }

func (f *File) readHeader(r io.ReaderAt) (layout, error) {
	var h [headerSize]byte
	if err := ferr.ReadAt(r, h[:], 0, f.format); err != nil {
		return layout{}, err
	}
	if string(h[:len(signature)]) == signatureDisk {
		return layout{}, ferr.New(f.format, 0, "a diskdump file, the predecessor of kdump, which is not supported")
	}
	if string(h[:len(signature)]) != signature {
		return layout{}, ferr.New(f.format, 0, "signature %q, want %q", h[:len(signature)], signature)
	}
	le := binary.LittleEndian
	hdr := &f.Header
	uts := func(i int) string { return cString(h[atUtsname+i*utsField:][:utsField]) }
	hdr.Node, hdr.Release, hdr.KernelVersion, hdr.Machine = uts(1), uts(2), uts(3), uts(4)
	if hdr.Machine != "" && hdr.Machine != machineUnknown && hdr.Machine != machineName {
		return layout{}, ferr.New(f.format, atUtsname+4*utsField, "machine %q, only %s is supported", hdr.Machine, machineName)
	}
	version := le.Uint32(h[atVersion:])
	if version < minVersion || version > maxVersion {
		return layout{}, ferr.New(f.format, atVersion, "header version %d, %d to %d are known", version, minVersion, maxVersion)
	}
	hdr.Version = int(version)
	if size := le.Uint32(h[atBlockSize:]); size != blockSize {
		return layout{}, ferr.New(f.format, atBlockSize, "block size %d, only %d is supported", size, blockSize)
	}
	hdr.Status = le.Uint32(h[atStatus:])
	hdr.Incomplete = hdr.Status&statusIncomplete != 0
	hdr.NrCPUs = int(int32(le.Uint32(h[atNrCPUs:])))
	hdr.MaxPFN = x86.PFN(le.Uint32(h[atMaxMapnr:]))
	maxAt := int64(atMaxMapnr)

	var at layout
	var sub [104]byte
	n := subHeaderSize[version]
	if err := ferr.ReadAt(r, sub[:n], atSub, f.format); err != nil {
		return layout{}, err
	}
	hdr.PhysBase = le.Uint64(sub[atPhysBase:])
	hdr.DumpLevel = int(int32(le.Uint32(sub[atDumpLevel:])))
	hdr.Split = le.Uint32(sub[atSplit:]) != 0
	start, end, splitAt := le.Uint64(sub[atStartPFN:]), le.Uint64(sub[atEndPFN:]), int64(atSub+atStartPFN)
	at.vmcoreinfo = area{le.Uint64(sub[atVMCoreInfoOff:]), le.Uint64(sub[atVMCoreInfoLen:])}
	at.notes = area{le.Uint64(sub[atNoteOff:]), le.Uint64(sub[atNoteLen:])}
	if version >= 6 {
		start, end, splitAt = le.Uint64(sub[atStartPFN64:]), le.Uint64(sub[atEndPFN64:]), atSub+atStartPFN64
		hdr.MaxPFN, maxAt = x86.PFN(le.Uint64(sub[atMaxMapnr64:])), atSub+atMaxMapnr64
	}
	if hdr.MaxPFN > maxFrames {
		return layout{}, ferr.New(f.format, maxAt, "max_mapnr is %#x frames, the limit is %#x", uint64(hdr.MaxPFN), uint64(maxFrames))
	}
	if hdr.Split {
		if start > end {
			return layout{}, ferr.New(f.format, splitAt, "split part starts at frame %#x and ends at %#x", start, end)
		}
		hdr.StartPFN, hdr.EndPFN = x86.PFN(start), x86.PFN(end)
	}

	subBlocks, bitmapBlocks := le.Uint32(h[atSubHdrSize:]), le.Uint32(h[atBitmapBlocks:])
	if subBlocks == 0 || subBlocks > 1<<31-1 {
		return layout{}, ferr.New(f.format, atSubHdrSize, "sub_hdr_size is %#x blocks", subBlocks)
	}
	need := (uint64(hdr.MaxPFN) + framesPerBlock - 1) / framesPerBlock
	if bitmapBlocks%2 != 0 || uint64(bitmapBlocks/2) < need {
		return layout{}, ferr.New(f.format, atBitmapBlocks, "bitmap_blocks is %d: two bitmaps of %#x frames need %d blocks",
			bitmapBlocks, uint64(hdr.MaxPFN), 2*need)
	}
	at.bitmap1 = (1 + int64(subBlocks)) * blockSize
	at.bitmap2 = at.bitmap1 + int64(bitmapBlocks/2)*blockSize
	at.descs = at.bitmap2 + int64(bitmapBlocks/2)*blockSize
	if f.size >= 0 && at.descs > f.size {
		return layout{}, ferr.New(f.format, f.size, "%w: the bitmaps end at %#x", ferr.ErrTruncated, at.descs)
	}
	return at, nil
}

// readArea reads notes or VMCOREINFO. An area of no bytes is none.
func (f *File) readArea(a area, limit uint64, fieldAt int64, what string) ([]byte, error) {
	if a.off == 0 || a.size == 0 {
		return nil, nil
	}
	if a.size > limit {
		return nil, ferr.New(f.format, fieldAt, "%s of %#x bytes, the limit is %#x", what, a.size, limit)
	}
	if a.off > 1<<62 || f.size >= 0 && int64(a.off+a.size) > f.size {
		return nil, ferr.New(f.format, fieldAt, "%w: %s at %#x, %#x bytes", ferr.ErrTruncated, what, a.off, a.size)
	}
	b := make([]byte, a.size)
	if err := ferr.ReadAt(f.r, b, int64(a.off), f.format); err != nil {
		return nil, err
	}
	return b, nil
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
