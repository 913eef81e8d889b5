package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"

	"ptemu/arch/x86"
	"ptemu/internal/qmp"
	"ptemu/physmem"
)

// memory is the guest's RAM and ROM.
type memory struct {
	parts  []part
	ranges []physmem.Range

	mu      sync.Mutex // held to talk to the monitor
	monitor *qmp.Monitor
	ahead   run
}

// part is a region, and the file that it is in, if any.
type part struct {
	region
	file *os.File
	at   int64 // offset of region.start in the file
}

// open takes the regions; backing returns a block's file and where the block begins in it.
func (m *memory) open(regions []region, monitor *qmp.Monitor, backing func(block string) (*os.File, uint64)) {
	m.monitor = monitor
	type backend struct {
		file *os.File
		at   uint64
	}
	known := map[string]backend{}
	for _, r := range regions {
		b, ok := known[r.block]
		if !ok {
			b.file, b.at = backing(r.block)
			known[r.block] = b
		}
		m.parts = append(m.parts, part{region: r, file: b.file, at: int64(b.at + r.offset)})
		m.ranges = append(m.ranges, physmem.Range{Start: r.start, End: r.end})
	}
	m.ranges = physmem.Normalize(m.ranges)
}

// shared returns how many of the parts are in files.
func (m *memory) shared() (files, all int) {
	for _, p := range m.parts {
		if p.file != nil {
			files++
		}
	}
	return files, len(m.parts)
}

func (m *memory) close() error {
	var errs []error
	closed := map[*os.File]bool{nil: true}
	for _, p := range m.parts {
		if !closed[p.file] {
			closed[p.file] = true
			errs = append(errs, p.file.Close())
		}
	}
	return errors.Join(errs...)
}

// Ranges implements [physmem.Reader].
func (m *memory) Ranges() []physmem.Range { return m.ranges }

// ReadFrame implements [physmem.Reader].
func (m *memory) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	at := pfn.Phys()
	i := sort.Search(len(m.parts), func(i int) bool { return m.parts[i].end > at })
	if i == len(m.parts) || m.parts[i].start > at {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	p := &m.parts[i]
	var err error
	if p.file != nil {
		_, err = p.file.ReadAt(dst[:], p.at+int64(at-p.start))
	} else {
		err = m.ask(pfn, p, dst)
	}
	if err != nil {
		return &physmem.FrameError{PFN: pfn, Err: err}
	}
	return nil
}

// run is what was read ahead, and how many frames in a row were asked for before.
type run struct {
	first x86.PFN
	bytes []byte
	next  x86.PFN
	row   int
}

const (
	rowBefore = 4    // frames in a row, after which more than one is read
	maxAhead  = 4096 // frames
)

// ask reads a frame through the monitor.
func (m *memory) ask(pfn x86.PFN, p *part, dst *physmem.Frame) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &m.ahead
	if a.row++; pfn != a.next {
		a.row = 0
	}
	a.next = pfn + 1
	if m.kept(pfn, dst) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if a.row >= rowBefore {
		n := min(p.end-pfn.Phys(), maxAhead*x86.PageSize)
		if b, err := dump(ctx, m.monitor, pfn.Phys(), uint64(n)); err == nil {
			if b, err = contents(b, pfn.Phys(), uint64(n)); err == nil {
				a.first, a.bytes = pfn, b
				m.kept(pfn, dst)
				return nil
			}
		}
	}
	text, err := m.monitor.Human(ctx, fmt.Sprintf("xp /%dgx %#x", x86.EntriesPerTable, uint64(pfn.Phys())), 0)
	if err != nil {
		return err
	}
	return parseFrame(text, pfn.Phys(), dst)
}

// kept takes a frame from what was read ahead.
func (m *memory) kept(pfn x86.PFN, dst *physmem.Frame) bool {
	a := &m.ahead
	if pfn < a.first || uint64(pfn-a.first) >= uint64(len(a.bytes))/x86.PageSize {
		return false
	}
	copy(dst[:], a.bytes[(pfn-a.first)*x86.PageSize:])
	return true
}

// parseFrame reads what xp prints: lines of an address, a colon, and two words.
func parseFrame(text string, at x86.Phys, dst *physmem.Frame) error {
	n := 0
	for line := range strings.Lines(text) {
		address, words, ok := strings.Cut(strings.TrimSpace(line), ":")
		if a, err := strconv.ParseUint(address, 16, 64); !ok || err != nil || a != uint64(at)+uint64(8*n) {
			return fmt.Errorf("xp prints %.60q", line)
		}
		for word := range strings.FieldsSeq(words) {
			v, err := strconv.ParseUint(word, 0, 64)
			if err != nil || n == x86.EntriesPerTable {
				return fmt.Errorf("xp prints %.60q", line)
			}
			for i := range 8 {
				dst[8*n+i] = byte(v >> (8 * i))
			}
			n++
		}
	}
	if n != x86.EntriesPerTable {
		return fmt.Errorf("xp prints %d words of %d", n, x86.EntriesPerTable)
	}
	return nil
}
