// Package kdump reads kdump-compressed captures: what makedumpfile leaves of a crashed kernel's memory, and what
// QEMU's dump-guest-memory writes with -z, -l and -s.
//
// The file is made of blocks of 4096 bytes; its numbers are little-endian:
//
//	block 0                 header: "KDUMP   ", version 1..6, utsname, block size, S = sub_hdr_size,
//	                        B = bitmap_blocks, max_mapnr
//	block 1                 sub-header: the part of a split dump, where the notes and VMCOREINFO are, 64-bit max_mapnr
//	                        notes and VMCOREINFO, anywhere that the sub-header says
//	block 1+S               1st bitmap, B/2 blocks: bit n is set if the machine had frame n
//	block 1+S+B/2           2nd bitmap, B/2 blocks: bit n is set if frame n was dumped
//	block 1+S+B             descriptors of 24 bytes, one for each bit of the 2nd bitmap, in order:
//	                          0   u64 offset of the page's data, 0 if the dump ended before the page was written
//	                          8   u32 size of the data
//	                          12  u32 flags: 1 zlib, 2 LZO, 4 snappy, 0x20 zstd; none: stored as it is
//	                          16  u64 page flags
//	                        page data; equal pages (zeros) may share theirs
//
// A file of a split dump has the bitmaps of the whole machine, but descriptors only for the frames of its part.
//
// The flattened form is the same file, or an ELF core, as a stream that can go through a pipe. Its numbers are
// big-endian:
//
//	0        "makedumpfile", type 1, version 1, zeros to 4096
//	4096     records: s64 offset, s64 size, then size bytes, which belong at that offset of the file above.
//	         They come in any order and may overwrite one another: the last one written holds.
//	         offset -1 ends them
//
// The frame n of the machine is found by counting: the number of bits before bit n in the 2nd bitmap is the number
// of its descriptor. Open reads both bitmaps once and keeps, of the first, the ranges of memory, and of the second,
// one count for each block; blocks of bitmap and descriptors are read again as frames are asked for. So an open file
// takes 64 KiB for each TiB of the machine, and half a MiB for caches. A flattened file has an index of its records
// besides, of at most 24 MiB; of a very large one, finding a page then means following a chain of record headers, and
// makedumpfile -R is worth its time.
//
// What makers do, and what we make of it:
//   - QEMU's phys_base is wrong (Header.PhysBase), and it leaves the kernel's names out of utsname. QEMU 11 says
//     "Unknown" for the machine too.
//   - makedumpfile leaves out hardware-poisoned pages at every dump level, and what lies beyond the memory that the
//     kernel knows (firmware, video memory): the former are excluded, the latter absent.
//   - A file that was cut off opens as long as its bitmaps are whole; frames that are gone give ferr.ErrTruncated. A
//     flattened file without its end does not open: which record comes last is not known.
//
// What must always hold: a frame that the file does not hold is an error that says whether the machine had it
// (physmem.ErrExcluded) or not (physmem.ErrAbsent), and everything that the file gets wrong is an error that names
// the offset (*ferr.FormatError). Memory is bounded, whatever the file states.
//
// Sources: makedumpfile's IMPLEMENTATION and diskdump_mod.h; QEMU: include/sysemu/dump.h, dump/dump.c.
package kdump
