// Package truth reads what others said of a captured machine: QEMU's monitor, the guest itself, the kernel's own
// page-table dump. Tests hold ptdump's answers against it.
//
// A capture folder holds the dump and, beside it, these files, plain or as .gz or .zst. Nothing here is computed
// from page tables by code of this module: that is what makes it a truth.
package truth

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Folder is one capture with its truth.
type Folder struct {
	Dir string
	// CPU is the processor whose view TLB and Mem give.
	CPU int
}

// Name returns the last element of the folder's path.
func (f Folder) Name() string { return filepath.Base(f.Dir) }

// inTheMaking is at the end of the name of a folder that is not complete.
const inTheMaking = ".new"

// Folders returns the capture folders below root: the committed ones, and those in the folders that the
// environment variable PTEMU_CAPTURES lists. A folder that the variable names must exist.
func Folders(root string) ([]Folder, error) {
	var all []Folder
	for i, dir := range append([]string{filepath.Join(root, "testdata", "captures")},
		filepath.SplitList(os.Getenv("PTEMU_CAPTURES"))...) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		n := len(all)
		for _, e := range entries {
			f := Folder{Dir: filepath.Join(dir, e.Name())}
			if e.IsDir() && f.Has("qemu-registers.txt") && filepath.Ext(f.Dir) != inTheMaking {
				all = append(all, f)
			}
		}
		if len(all) == n && i > 0 {
			return nil, fmt.Errorf("%s: no capture folders", dir)
		}
	}
	return all, nil
}

// Dumps returns the paths of the folder's captures: of the tables, of the whole memory, and of the memory without the
// pages that makedumpfile leaves out.
func (f Folder) Dumps() []string {
	var all []string
	for _, pattern := range []string{"tables.elf*", "full.*", "filtered.kdump"} {
		m, _ := filepath.Glob(filepath.Join(f.Dir, pattern))
		all = append(all, m...)
	}
	return all
}

// Path returns the file of that name, or that name with .gz or .zst; "" if there is none.
func (f Folder) Path(name string) string {
	for _, ext := range []string{"", ".zst", ".gz"} {
		if p := filepath.Join(f.Dir, name+ext); exists(p) {
			return p
		}
	}
	return ""
}

// Has reports whether the folder has the file, compressed or not.
func (f Folder) Has(name string) bool { return f.Path(name) != "" }

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// Lines calls fn with every line of the file, without its end.
func (f Folder) Lines(name string, fn func(line string) error) error {
	p := f.Path(name)
	if p == "" {
		return fmt.Errorf("%s: no %s", f.Dir, name)
	}
	file, err := os.Open(p)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	switch filepath.Ext(p) {
	case ".zst":
		z, err := zstd.NewReader(file)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		defer z.Close()
		r = z
	case ".gz":
		if r, err = gzip.NewReader(file); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		if err := fn(strings.TrimRight(s.Text(), "\r")); err != nil {
			return fmt.Errorf("%s:%d: %w", p, n, err)
		}
	}
	return s.Err()
}

// TLBLeaf is a line of QEMU's "info tlb": one leaf of the walk from the current CR3.
type TLBLeaf struct {
	VA, PA uint64
	// Flags has one character a flag or '-': X (NX set) G P (large) D A C (PCD) T (PWT) U W.
	Flags string
}

// PerCPU returns the folder once for each processor that QEMU said something of.
func (f Folder) PerCPU() []Folder {
	var all []Folder
	for ; f.Has(f.file("qemu-info-tlb")); f.CPU++ {
		all = append(all, f)
	}
	return all
}

// file returns the name of a file about one processor.
func (f Folder) file(name string) string {
	if f.CPU == 0 {
		return name + ".txt"
	}
	return fmt.Sprintf("%s-cpu%d.txt", name, f.CPU)
}

// HasMem reports whether there is an info mem of the processor.
func (f Folder) HasMem() bool { return f.Has(f.file("qemu-info-mem")) }

// TLB calls fn with every leaf that QEMU found, in its order.
func (f Folder) TLB(fn func(TLBLeaf) error) error {
	return f.Lines(f.file("qemu-info-tlb"), func(line string) error {
		va, rest, ok := strings.Cut(line, ": ")
		pa, flags, ok2 := strings.Cut(rest, " ")
		if !ok || !ok2 || len(flags) != 9 {
			return fmt.Errorf("not a line of info tlb: %q", line)
		}
		v, err := hex(va)
		if err != nil {
			return err
		}
		p, err := hex(pa)
		if err != nil {
			return err
		}
		return fn(TLBLeaf{v, p, flags})
	})
}

// MemRange is a line of QEMU's "info mem": a range of equal effective rights.
type MemRange struct {
	Start, End uint64
	User, W    bool
}

// Mem calls fn with every range that QEMU found, in its order.
func (f Folder) Mem(fn func(MemRange) error) error {
	return f.Lines(f.file("qemu-info-mem"), func(line string) error {
		var r MemRange
		var size uint64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %x %s", &r.Start, &r.End, &size, &rights); err != nil || len(rights) != 3 {
			return fmt.Errorf("not a line of info mem: %q", line)
		}
		r.User, r.W = rights[0] == 'u', rights[2] == 'w'
		return fn(r)
	})
}

// Registers are what QEMU printed of one processor.
type Registers struct{ CR0, CR3, CR4, EFER uint64 }

// Registers returns those of every processor, in order.
func (f Folder) Registers() ([]Registers, error) {
	var all []Registers
	err := f.Lines("qemu-registers.txt", func(line string) error {
		if strings.HasPrefix(line, "CPU#") {
			all = append(all, Registers{})
			return nil
		}
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			var to *uint64
			switch {
			case len(all) == 0:
			case name == "CR0":
				to = &all[len(all)-1].CR0
			case name == "CR3":
				to = &all[len(all)-1].CR3
			case name == "CR4":
				to = &all[len(all)-1].CR4
			case name == "EFER":
				to = &all[len(all)-1].EFER
			}
			if to == nil {
				continue
			}
			var err error
			if *to, err = hex(value); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

func hex(s string) (uint64, error) { return strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64) }
