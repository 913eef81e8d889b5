package main

import (
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/capture/elfcore"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// writeTables makes a small capture of a whole one: its notes, and of the memory only
// the tables below each processor's roots (both of them, with PTI) and below init_mm's.
func writeTables(full, small string) error {
	c, err := capture.Open(full, capture.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	system, err := detect(c)
	if err != nil {
		return err
	}
	frames, err := tableFrames(c.Mem, system)
	if err != nil {
		return err
	}
	file, err := os.Create(small)
	if err != nil {
		return err
	}
	defer file.Close()
	packer, err := zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	if err := writeFrames(packer, c, frames); err != nil {
		packer.Close()
		return err
	}
	if err := packer.Close(); err != nil {
		return err
	}
	return file.Close()
}

func detect(c *capture.Capture) (*linux.System, error) {
	var cpus []linux.CPU
	for _, n := range c.CPUs {
		cpus = append(cpus, linux.CPU{
			CR0: n.CR0, CR3: n.CR3, CR4: n.CR4, EFER: n.EFER, HasEFER: n.HasEFER,
			GSBase: x86.Virt(n.GSBase), KernelGSBase: x86.Virt(n.KernelGSBase),
		})
	}
	return linux.Detect(c.Mem, c.VMCoreInfo, cpus, linux.Options{})
}

// tableFrames returns every frame that is a table below one of the roots.
func tableFrames(mem physmem.Reader, system *linux.System) (map[x86.PFN]bool, error) {
	if system.InitMM == nil {
		return nil, fmt.Errorf("init_mm's tables not found")
	}
	all := []linux.Roots{*system.InitMM}
	for _, cpu := range system.CPUs {
		if cpu.Err != nil {
			return nil, fmt.Errorf("processor %d: %w", cpu.CPU, cpu.Err)
		}
		all = append(all, cpu.Roots)
	}
	v := &tableCollector{seen: map[placedTable]bool{}, frames: map[x86.PFN]bool{}}
	for _, roots := range all {
		for _, root := range []x86.Phys{roots.Kernel, roots.User} {
			if err := pgtable.Walk(mem, system.ABI, root.PFN(), pgtable.All, v); err != nil {
				return nil, err
			}
		}
	}
	return v.frames, nil
}

func writeFrames(out io.Writer, c *capture.Capture, frames map[x86.PFN]bool) error {
	ranges := make([]physmem.Range, 0, len(frames))
	for frame := range frames {
		ranges = append(ranges, physmem.Range{Start: frame.Phys(), End: frame.Phys() + x86.PageSize})
	}
	return elfcore.Write(out, c.Mem, ranges, c.Notes)
}

// placedTable is a frame in its role: the same frame may be a table of two levels.
type placedTable struct {
	frame x86.PFN
	level x86.Level
}

// tableCollector visits every table once per level and looks at no entry.
type tableCollector struct {
	seen   map[placedTable]bool
	frames map[x86.PFN]bool
}

func (v *tableCollector) Enter(t *pgtable.Table) (bool, error) {
	here := placedTable{t.PFN, t.Level}
	if v.seen[here] {
		return false, nil
	}
	v.seen[here] = true
	v.frames[t.PFN] = true
	return true, nil
}

func (v *tableCollector) Slot(*pgtable.Table, int, pgtable.Slot) error { return nil }
func (v *tableCollector) PTEs(*pgtable.Table) error                    { return nil }
func (v *tableCollector) Leave(*pgtable.Table) error                   { return nil }

// Problem refuses a walk with a hole: a small capture must be whole.
func (v *tableCollector) Problem(p *pgtable.Problem) error {
	return fmt.Errorf("%v: entry %#x at %v: %w", p.VA, p.Raw, p.Entry, p.Err)
}
