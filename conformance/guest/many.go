//go:build linux && amd64

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The mode "many": processes enough to measure with, which map a lot of memory that is little.
const (
	manyProcesses  = 1000
	manySegments   = 8
	segmentPages   = 17 << 20 / pageSize // shared memory that a process maps, all of it
	privatePages   = 32                  // that it has for itself
	manySwappedOut = 10                  // every so many has a quarter of its private pages swapped out

	madvPopulateRead = 22
)

// runMany forks the processes and prints them without their pages.
func runMany(console *os.File) error {
	if err := pinThread(0, 0); err != nil {
		return err
	}
	var segments [manySegments]int
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i >> 12)
	}
	for i := range segments {
		fd, err := unix.MemfdCreate(fmt.Sprintf("segment %d", i), 0)
		if err != nil {
			return err
		}
		if err := fill(fd, segmentPages*pageSize, block); err != nil {
			return err
		}
		segments[i] = fd
	}
	ready, err := newFlags(manyProcesses)
	if err != nil {
		return err
	}
	for i := range manyProcesses {
		if _, err := forkSteps(manySteps(i, segments[i%manySegments], ready)); err != nil {
			return err
		}
		if err := ready.wait(); err != nil {
			return err
		}
	}
	quietConsole()
	if err := reportMachine(console, isLocating); err != nil {
		return err
	}
	if err := holdCPU(); err != nil {
		return err
	}
	return reportProcesses(console, false)
}

// fill writes a file's pages.
func fill(fd, length int, block []byte) error {
	for at := 0; at < length; at += len(block) {
		if _, err := unix.Pwrite(fd, block[:min(len(block), length-at)], int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// manySteps map a segment, all present, at an address of the process's own, and private pages beside it.
func manySteps(i, segment int, ready *flags) []childStep {
	const shared, private = unix.MAP_SHARED | unix.MAP_FIXED, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED
	at := uintptr(regionBase + i*(regionStep+3*hugeSize+5*pageSize))
	own := at + regionStep/2
	steps := []childStep{
		doName(fmt.Sprintf("worker-%d", i)),
		doCall(unix.SYS_MMAP, at, segmentPages*pageSize, readWrite, shared, uintptr(segment), 0),
		doCall(unix.SYS_MADVISE, at, segmentPages*pageSize, madvPopulateRead),
		doCall(unix.SYS_MMAP, own, privatePages*pageSize, readWrite, private, ^uintptr(0), 0),
		doCall(stepWrite, own, privatePages*pageSize),
		doCall(stepWrite, at, 16*pageSize),
	}
	if i%manySwappedOut == 0 {
		steps = append(steps, doCall(unix.SYS_MADVISE, own, privatePages/4*pageSize, unix.MADV_PAGEOUT))
	}
	return append(steps, ready.next())
}
