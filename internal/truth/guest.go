package truth

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Region is a memory region that the guest built on purpose.
type Region struct {
	Name       string
	Start, Len uint64
}

// Guest is what the guest said of itself.
type Guest struct {
	Regions []Region
	// Pagemap holds the words of /proc/self/pagemap, read as root, by address.
	Pagemap map[uint64]uint64
	// Symbols holds the addresses and values that it read from /proc/kallsyms and the kernel.
	Symbols map[string]uint64
	// Kallsyms has every K line whole.
	Kallsyms []string
	// PhysBits is the physical address width that it read from /proc/cpuinfo.
	PhysBits uint8
	// VMAs holds its areas, by address, from /proc/self/smaps.
	VMAs []VMA
}

// VMA is an area of the guest's address space.
type VMA struct {
	Start, End uint64
	// Perms is "rw-p" and the like.
	Perms string
	// Flags are the two-letter flags of the VmFlags line: "sd", "ht", "pf", ...
	Flags []string
}

// Has reports whether the area has the flag.
func (v *VMA) Has(flag string) bool { return v != nil && slices.Contains(v.Flags, flag) }

// VMA returns the area that holds va, nil if there is none.
func (g *Guest) VMA(va uint64) *VMA {
	for i := range g.VMAs {
		if v := &g.VMAs[i]; va >= v.Start && va < v.End {
			return v
		}
	}
	return nil
}

// smaps takes one line of smaps.
func (g *Guest) smaps(field []string) {
	if len(field) == 0 {
		return
	}
	if from, to, ok := strings.Cut(field[0], "-"); ok {
		start, err1 := hex(from)
		end, err2 := hex(to)
		if err1 == nil && err2 == nil {
			g.VMAs = append(g.VMAs, VMA{Start: start, End: end, Perms: strings.Join(field[1:min(2, len(field))], "")})
			return
		}
	}
	if field[0] == "VmFlags:" && len(g.VMAs) > 0 {
		g.VMAs[len(g.VMAs)-1].Flags = field[1:]
	}
}

// Guest reads the guest's log: what process 1 said of itself. Where it printed all processes, its regions are the areas of
// process 1.
func (f Folder) Guest() (*Guest, error) {
	r := newGuestReader()
	if err := f.Lines("guest.log", r.line); err != nil {
		return nil, err
	}
	return r.done()
}

// ReadGuest reads a guest's log that is not in a folder yet.
func ReadGuest(log io.Reader) (*Guest, error) {
	r := newGuestReader()
	if err := eachLine(log, r.line); err != nil {
		return nil, err
	}
	return r.done()
}

func eachLine(log io.Reader, fn func(line string) error) error {
	lines := bufio.NewScanner(log)
	for n := 1; lines.Scan(); n++ {
		if err := fn(strings.TrimRight(lines.Text(), "\r")); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// guestReader takes the lines of regions, and of process 1 where processes were printed.
type guestReader struct {
	guest     *Guest
	processes *processReader
}

func newGuestReader() *guestReader {
	return &guestReader{&Guest{Pagemap: map[uint64]uint64{}, Symbols: map[string]uint64{}}, newProcessReader()}
}

func (r *guestReader) line(line string) error {
	if err := r.processes.line(line); err != nil {
		return err
	}
	return r.guest.line(line)
}

// done adds the words of process 1.
func (r *guestReader) done() (*Guest, error) {
	g, first := r.guest, r.processes.all.ByPID(1)
	if first == nil {
		return g, nil
	}
	for _, a := range first.Areas {
		if a.Start>>63 == 0 {
			g.Regions = append(g.Regions, Region{fmt.Sprintf("%x%s", a.Start, a.Path), a.Start, a.End - a.Start})
		}
		g.VMAs = append(g.VMAs, VMA{Start: a.Start, End: a.End, Perms: a.Perms, Flags: a.Flags})
	}
	return g, first.EachPage(func(va, word uint64) error {
		g.Pagemap[va] = word
		return nil
	})
}

func (g *Guest) line(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	field := strings.Fields(rest)
	switch kind {
	case "REGION":
		return g.region(field)
	case "PM":
		return g.word(field)
	case "K":
		g.Kallsyms = append(g.Kallsyms, rest)
		if len(field) >= 3 {
			if v, err := hex(field[0]); err == nil {
				g.Symbols[field[2]] = v
			}
		}
	case "S":
		g.smaps(field)
	case "C":
		if _, v, ok := strings.Cut(rest, "address sizes	: "); ok {
			_, err := fmt.Sscanf(v, "%d bits physical", &g.PhysBits)
			return err
		}
	}
	return nil
}

func (g *Guest) region(field []string) error {
	if len(field) != 3 {
		return fmt.Errorf("not a region: %q", field)
	}
	start, err := hex(field[1])
	if err != nil {
		return err
	}
	n, err := hex(field[2])
	g.Regions = append(g.Regions, Region{field[0], start, n})
	return err
}

func (g *Guest) word(field []string) error {
	if len(field) != 2 {
		return fmt.Errorf("not a pagemap word: %q", field)
	}
	va, err := hex(field[0])
	if err != nil {
		return err
	}
	g.Pagemap[va], err = hex(field[1])
	return err
}
