package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/qmp"
)

// How long QEMU may take for one command, and to answer at all.
const (
	patience  = 20 * time.Second
	knockTime = 5 * time.Second
)

// Guest is a paused guest. It implements [physmem.Reader], for any number of goroutines at a time.
type Guest struct {
	// CPUs, Notes and VMCoreInfo are what a dump of the guest would say.
	CPUs       []elfnote.CPU
	Notes      []elfnote.Note
	VMCoreInfo []byte
	// Remarks are what was seen and passed over while opening, a sentence each.
	Remarks []string

	memory
	monitor *qmp.Monitor
	resume  bool // it ran before
}

// Open pauses the guest whose QEMU listens for QMP on the socket, and finds its memory. The Guest must be closed.
func Open(socket string) (*Guest, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if st, err := os.Stat(socket); err != nil {
		return nil, err
	} else if st.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("%s: is not a socket", socket)
	}
	knock, stop := context.WithTimeout(ctx, knockTime)
	defer stop()
	monitor, err := qmp.Dial(knock, socket)
	if err != nil {
		return nil, fmt.Errorf("%s: no answer from QEMU (QMP sockets serve one client at a time): %w", socket, err)
	}
	g := &Guest{monitor: monitor}
	if err := g.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", socket, err), g.Close())
	}
	return g, nil
}

func (g *Guest) open(ctx context.Context) error {
	var status struct{ Running bool }
	if err := g.query(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if status.Running {
		if _, err := g.monitor.Do(ctx, "stop", nil); err != nil {
			return err
		}
		g.resume = true
	}
	if err := g.notes(ctx); err != nil {
		return err
	}
	text, err := g.monitor.Human(ctx, "info mtree -f", 0)
	if err != nil {
		return err
	}
	regions, err := parseMtree(text)
	if err != nil {
		return err
	}
	g.memory.open(regions, g.monitor, func(block string) (*os.File, uint64) { return g.backendFile(ctx, block) })
	return nil
}

// query runs a command and decodes its answer.
func (g *Guest) query(ctx context.Context, command string, arguments map[string]any, answer any) error {
	raw, err := g.monitor.Do(ctx, command, arguments)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// notes takes the notes from a dump of the first page.
func (g *Guest) notes(ctx context.Context) error {
	b, err := dump(ctx, g.monitor, 0, x86.PageSize)
	if err != nil {
		return err
	}
	f, err := elfcore.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return fmt.Errorf("dump-guest-memory: %w", err)
	}
	g.CPUs, g.Notes, g.VMCoreInfo = f.CPUs, f.Notes, f.VMCoreInfo
	return nil
}

// backendFile opens the file of a memory backend whose content is the guest's memory, and says where in it the block
// begins. It returns nil for a block that has none.
func (g *Guest) backendFile(ctx context.Context, block string) (*os.File, uint64) {
	for _, object := range []string{block, "/objects/" + block} {
		property := func(name string, value any) bool {
			return g.query(ctx, "qom-get", map[string]any{"path": object, "property": name}, value) == nil
		}
		var path string
		var share bool
		var size, offset uint64
		if !property("mem-path", &path) || !property("share", &share) || !property("size", &size) {
			continue
		}
		property("offset", &offset) // QEMU 8.1 and later
		if !share {
			return nil, 0
		}
		f, err := os.Open(path)
		if err != nil {
			g.Remarks = append(g.Remarks, fmt.Sprintf("memory %s is read through the monitor, which is slow: %v", block, err))
			return nil, 0
		}
		if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || uint64(st.Size()) < offset+size {
			f.Close()
			return nil, 0
		}
		return f, offset
	}
	return nil, 0
}

// Format says what the guest is, for people.
func (g *Guest) Format() string {
	switch files, all := g.shared(); files {
	case all:
		return "running QEMU guest, memory from its backend's file"
	case 0:
		return "running QEMU guest, memory through the monitor"
	}
	return "running QEMU guest, memory from its backends' files and through the monitor"
}

// Close lets the guest run again, if it ran before, and ends the conversation.
func (g *Guest) Close() error {
	var errs []error
	if g.resume {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := g.monitor.Do(ctx, "cont", nil); err != nil {
			errs = append(errs, fmt.Errorf("the guest stays paused: %w", err))
		}
		g.resume = false
	}
	return errors.Join(append(errs, g.memory.close(), g.monitor.Close())...)
}
