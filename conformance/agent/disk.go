//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The second RAM disk holds files that are written back. It has an ext2 file system, which the ext4 module mounts: no
// journal, so nobody writes but who is asked to.
const (
	diskDevice = "/dev/ram1"
	diskFolder = "/disk"
	diskPages  = 4096
)

// mountDisk makes the file system and mounts it. A kernel without the module has none.
func mountDisk() error {
	if err := writeExt2(diskDevice, diskPages); err != nil {
		return err
	}
	if err := os.MkdirAll(diskFolder, 0o755); err != nil {
		return err
	}
	// Without read-ahead the page cache holds the pages that were asked for.
	if err := os.WriteFile("/sys/block/ram1/queue/read_ahead_kb", []byte("0"), 0); err != nil {
		fmt.Println("NOTE setting", err)
	}
	if err := unix.Mount(diskDevice, diskFolder, "ext4", unix.MS_NOATIME, ""); err != nil {
		fmt.Println("NOTE ext4", err)
	}
	return nil
}

// Layout of the file system: one group of blocks of a page each.
//
// Linux: fs/ext4/ext4.h:struct ext4_super_block, ext4_group_desc, ext4_inode, ext4_dir_entry_2
const (
	blockSize     = 4096
	superOffset   = 1024
	inodeSize     = 256
	inodes        = 64
	inodeBlocks   = inodes * inodeSize / blockSize
	reserved      = 10 // inodes
	descBlock     = 1
	blockBitmap   = 2
	inodeBitmap   = 3
	inodeTable    = 4
	rootBlock     = inodeTable + inodeBlocks
	rootInode     = 2
	perGroup      = 8 * blockSize
	magic         = 0xef53
	typeInEntries = 2 // incompatible feature FILETYPE
)

// image is a file system that grows from zeros.
type image []byte

func (m image) put16(at int, values ...uint16) {
	for i, v := range values {
		binary.LittleEndian.PutUint16(m[at+2*i:], v)
	}
}

func (m image) put32(at int, values ...uint32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(m[at+4*i:], v)
	}
}

// bits sets bits [from, to) of a bitmap.
func (m image) bits(at, from, to int) {
	for i := from; i < to; i++ {
		m[at+i/8] |= 1 << (i % 8)
	}
}

// writeExt2 writes an empty file system of so many blocks.
func writeExt2(device string, blocks int) error {
	m := make(image, (rootBlock+1)*blockSize)
	free, freeInodes := uint32(blocks-rootBlock-1), uint32(inodes-reserved)
	const shiftOfBlock = 2 // from 1 KiB
	m.put32(superOffset, inodes, uint32(blocks), 0, free, freeInodes, 0, shiftOfBlock, shiftOfBlock, perGroup, perGroup, inodes)
	const anyMounts, clean, goOn = 0xffff, 1, 1
	m.put16(superOffset+54, anyMounts, magic, clean, goOn)
	const revision = 1
	m.put32(superOffset+76, revision)
	m.put32(superOffset+84, reserved+1)
	m.put16(superOffset+88, inodeSize)
	m.put32(superOffset+96, typeInEntries)
	m.put32(descBlock*blockSize, blockBitmap, inodeBitmap, inodeTable)
	m.put16(descBlock*blockSize+12, uint16(free), uint16(freeInodes), 1)
	m.bits(blockBitmap*blockSize, 0, rootBlock+1)
	m.bits(blockBitmap*blockSize, blocks, perGroup)
	m.bits(inodeBitmap*blockSize, 0, reserved)
	m.bits(inodeBitmap*blockSize, inodes, perGroup)
	m.root()
	file, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(m)
	return errors.Join(err, file.Close())
}

// root writes the root folder: its inode and its block.
func (m image) root() {
	at := inodeTable*blockSize + (rootInode-1)*inodeSize
	const folder, links, sectors = 0o040755, 2, blockSize / 512
	m.put16(at, folder)
	m.put32(at+4, blockSize)
	m.put16(at+26, links)
	m.put32(at+28, sectors)
	m.put32(at+40, rootBlock)
	const extraSize = 32
	m.put16(at+128, extraSize)
	const entry, isFolder = 12, 2
	self, parent := rootBlock*blockSize, rootBlock*blockSize+entry
	m.put32(self, rootInode)
	m.put16(self+4, entry, 1|isFolder<<8)
	copy(m[self+8:], ".")
	m.put32(parent, rootInode)
	m.put16(parent+4, blockSize-entry, 2|isFolder<<8)
	copy(m[parent+8:], "..")
}
