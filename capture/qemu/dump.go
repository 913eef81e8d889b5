package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/qmp"
	"ptemu/physmem"
)

// maxNotes bounds what comes with a dump besides memory: the notes of some thousand processors, and QEMU's limit for
// VMCOREINFO.
const maxNotes = 16 << 20

// dump has QEMU write an ELF core of a range of memory into a file of ours, and returns the file.
func dump(ctx context.Context, monitor *qmp.Monitor, start x86.Phys, length uint64) ([]byte, error) {
	f, err := os.CreateTemp("", "ptdump-qemu")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const name = "ptdump"
	if err := monitor.SendFile(ctx, name, f); err != nil {
		return nil, err
	}
	_, err = monitor.Do(ctx, "dump-guest-memory", map[string]any{
		"paging": false, "protocol": "fd:" + name, "begin": uint64(start), "length": length,
	})
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > int64(length)+maxNotes {
		return nil, fmt.Errorf("dump-guest-memory wrote %d bytes for %d", st.Size(), length)
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

var errShort = errors.New("dump-guest-memory left memory out")

// contents returns the memory in a dump.
func contents(core []byte, start x86.Phys, length uint64) ([]byte, error) {
	f, err := elfcore.Open(bytes.NewReader(core), int64(len(core)))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, length)
	var frame physmem.Frame
	for pfn := start.PFN(); pfn.Phys() < start+x86.Phys(length); pfn++ {
		if err := f.ReadFrame(pfn, &frame); err != nil {
			return nil, errShort
		}
		b = append(b, frame[:]...)
	}
	return b, nil
}
