//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"os"

	"ptemu/conformance/wire"
)

// named returns the file name in the data of slot 0, and what follows it.
func named() (string, []byte) {
	name, rest, _ := bytes.Cut(data(0), []byte{0})
	return string(name), rest
}

// readFile puts a file's text where the host finds it.
func readFile() uint64 {
	name, _ := named()
	text, err := os.ReadFile(name)
	if err != nil {
		return errnoOf(err)
	}
	return uint64(copy(block[wire.Slots*wire.SlotPages*wire.PageSize:], text))
}

func writeFile(length uint64) uint64 {
	name, rest := named()
	if length > uint64(len(rest)) {
		length = uint64(len(rest))
	}
	if err := os.WriteFile(name, rest[:length], 0); err != nil {
		return errnoOf(err)
	}
	return 0
}

// blockFrames returns the frames of the block, which stay where they are.
func blockFrames() ([]uint64, error) {
	file, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw := make([]byte, wire.Pages*8)
	if _, err := file.ReadAt(raw, wire.Base/wire.PageSize*8); err != nil {
		return nil, err
	}
	frames := make([]uint64, wire.Pages)
	const frameMask = 1<<55 - 1
	for i := range frames {
		frames[i] = binary.LittleEndian.Uint64(raw[i*8:]) & frameMask
	}
	return frames, nil
}
