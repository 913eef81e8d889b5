package litmus

import (
	"bytes"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/mm"
	"ptemu/swapentry"
	"ptemu/thp"
)

// kernelOps are the verbs of what the kernel does to pages by itself, or is asked to through files of /proc.
var kernelOps = map[string]opFunc{
	"clear-refs":   opClearRefs,
	"scan-protect": opScanProtect,
	"ksm":          opKSM,
	"khugepaged":   opKhugepaged,
	"swap-fail":    opSwapFail,
	"swapoff":      func(e *Emulator, _ *Call, _ *process, cpu *mm.CPU) error { return e.m.Swapoff(cpu) },
	"swapon":       func(e *Emulator, _ *Call, _ *process, _ *mm.CPU) error { e.m.Swapon(); return nil },
	"swap-out": func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		return cpu.Madvise(c.At.VA, c.At.Bytes(), mm.AdvisePageOut)
	},
	"reclaim": opReclaim,
	"msync":   func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error { return cpu.Msync(c.At.VA, c.At.Bytes()) },
	"poison": func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		return cpu.Madvise(c.At.VA, c.At.Bytes(), mm.AdviseHWPoison)
	},
	"collapse": func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		return cpu.Madvise(c.At.VA, c.At.Bytes(), mm.AdviseCollapse)
	},
	"truncate": withFile(func(f *mm.File, c *Call, cpu *mm.CPU) error {
		return f.Truncate(cpu, uint64(c.Op.Count)*x86.PageSize)
	}),
	"writeback": withFile(func(f *mm.File, _ *Call, _ *mm.CPU) error { f.Sync(); return nil }),
	"punch": withFile(func(f *mm.File, c *Call, cpu *mm.CPU) error {
		return f.PunchHole(cpu, uint64(c.Op.Count)*x86.PageSize, c.Op.Num("pages", 1)*x86.PageSize)
	}),
	"file-write": withFile(func(f *mm.File, c *Call, _ *mm.CPU) error {
		first, n := bytesOf(c.Op)
		b := bytes.Repeat([]byte{byte(c.Op.Num("=", defaultByte))}, n)
		return second(f.WriteAt(b, uint64(c.Op.Count)*x86.PageSize+uint64(first)))
	}),
	"file-read": withFile(func(f *mm.File, c *Call, _ *mm.CPU) error {
		first, n := bytesOf(c.Op)
		b := make([]byte, n)
		if _, err := f.ReadAt(b, uint64(c.Op.Count)*x86.PageSize+uint64(first)); err != nil {
			return err
		}
		return compare(c.Op, b)
	}),
}

// withFile makes a verb of what is done to a file.
func withFile(do func(f *mm.File, c *Call, cpu *mm.CPU) error) opFunc {
	return func(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		f := e.files[c.Op.Name]
		if f == nil {
			return fmt.Errorf("there is no file %s on this kernel", c.Op.Name)
		}
		return do(f, c, cpu)
	}
}

func opClearRefs(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	if c.Op.Has("referenced") {
		return p.space.ClearRefs(cpu, mm.ClearRefsAll)
	}
	return p.space.ClearRefs(cpu, mm.ClearRefsSoftDirty)
}

// opScanProtect write-protects what was written.
func opScanProtect(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	_, err := p.space.PagemapScan(cpu, mm.ScanArgs{
		Start: c.At.VA, End: c.At.VA + x86.Virt(c.At.Bytes()), Flags: mm.ScanWPMatching | mm.ScanCheckWPAsync, Mask: mm.PageWritten,
	})
	return err
}

// opKSM is one pass of ksmd over all that is mergeable.
func opKSM(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	var places []mm.Place
	for _, name := range e.Processes() {
		s := e.spaces[name].space
		for _, v := range s.VMAs() {
			for va := v.Start; va < v.End && v.Flags()&mm.VMMergeable != 0; va += x86.PageSize {
				places = append(places, mm.Place{Space: s, VA: va})
			}
		}
	}
	merge := e.m.KSMMerge
	if c.Op.Has("zero-pages") {
		merge = e.m.KSMMergeZero
	}
	_, err := merge(cpu, places...)
	return err
}

// opReclaim is kswapd's attempt at each page, whoever maps it. A page that stays is EBUSY.
func opReclaim(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	for i := range c.At.Pages {
		v, err := e.Entry(c.Process, c.At.VA+x86.Virt(i)*x86.PageSize)
		if err != nil {
			return err
		}
		if v.Page == nil {
			return mm.ErrNoEnt
		}
		gone, err := e.m.Reclaim(cpu, v.PFN)
		if err != nil {
			return err
		}
		if !gone {
			return mm.ErrBusy
		}
	}
	return nil
}

// opKhugepaged is khugepaged's visit of a large page's addresses. What it does not collapse is EAGAIN.
func opKhugepaged(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	lim := thp.Limits{
		None: int(c.Op.Num("none", 511)), Swap: int(c.Op.Num("swap", 64)), Shared: int(c.Op.Num("shared", 256)),
		Referenced: c.Op.Has("referenced"),
	}
	verdict, err := p.space.Khugepaged(cpu, c.At.VA, lim)
	if err == nil && verdict != thp.CollapseOK {
		return mm.ErrAgain
	}
	return err
}

// opSwapFail makes the device fail at the slots of swapped pages.
func opSwapFail(e *Emulator, c *Call, _ *process, _ *mm.CPU) error {
	for i := range c.At.Pages {
		v, err := e.Entry(c.Process, c.At.VA+x86.Virt(i)*x86.PageSize)
		if err != nil {
			return err
		}
		d := e.m.Layout().Decode(v.Level, v.Raw)
		if d.Kind != swapentry.KindSwap {
			return fmt.Errorf("page %d is not swapped out", c.Op.At.First+i)
		}
		if err := e.m.SetBadSlot(d.Offset, true); err != nil {
			return err
		}
	}
	return nil
}
