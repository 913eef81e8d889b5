package litmus

import (
	"bytes"
	"fmt"
	"strings"

	"ptemu/arch/x86"
	"ptemu/mm"
)

// opFunc carries out one verb.
type opFunc func(e *Emulator, c *Call, p *process, cpu *mm.CPU) error

// run carries out an operation.
func (e *Emulator) run(c *Call, p *process, cpu *mm.CPU) Outcome {
	switch c.Op.Verb {
	case "read", "write", "exec":
		return e.access(c, cpu)
	}
	for _, ops := range []map[string]opFunc{spaceOps, uffdOps, pageOps, kernelOps} {
		if f := ops[c.Op.Verb]; f != nil {
			return outcome(f(e, c, p, cpu))
		}
	}
	return Outcome{Err: fmt.Errorf("the emulator cannot %s yet", c.Op.Verb)}
}

// spaceOps are the verbs of address spaces.
var spaceOps = map[string]opFunc{
	"file":    opFile,
	"map":     opMap,
	"unmap":   func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error { return cpu.Munmap(c.At.VA, c.At.Bytes()) },
	"protect": opProtect,
	"remap":   opRemap,
	"advise":  opAdvise,
	"fork":    opFork,
	"exit":    opExit,
	"pkru": func(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
		p.pkru[cpu.ID()] = uint32(c.Op.Num("value", 0))
		return cpu.SetPKRU(p.pkru[cpu.ID()])
	},
	"migrate": opMigrate,
	"numa": func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		_, err := cpu.NUMAHint(c.At.VA, c.At.Bytes())
		return err
	},
}

func protOf(s string) (p mm.Prot) {
	if s == "none" {
		return mm.ProtNone
	}
	if strings.Contains(s, "r") {
		p |= mm.ProtRead
	}
	if strings.Contains(s, "w") {
		p |= mm.ProtWrite
	}
	if strings.Contains(s, "x") {
		p |= mm.ProtExec
	}
	return p
}

var mapFlags = []struct {
	name string
	flag mm.MapFlags
}{{"shared", mm.MapShared}, {"populate", mm.MapPopulate}, {"noreserve", mm.MapNoReserve}, {"locked", mm.MapLocked}}

func opMap(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	a := mm.MmapArgs{
		Addr: c.New, Length: uint64(c.Op.Count) * x86.PageSize, Prot: protOf(c.Op.Prot), Flags: mm.MapFixed,
		Offset: c.Op.Num("offset", 0) * x86.PageSize, Pkey: int(c.Op.Num("pkey", 0)),
	}
	for _, f := range mapFlags {
		if c.Op.Has(f.name) {
			a.Flags |= f.flag
		}
	}
	if o, ok := c.Op.Option("of"); ok {
		if a.File = e.files[o.Arg]; a.File == nil {
			return fmt.Errorf("there is no file %s on this kernel", o.Arg)
		}
	}
	_, err := cpu.Mmap(a)
	return err
}

func opProtect(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	if o, ok := c.Op.Option("pkey"); ok {
		return cpu.PkeyMprotect(c.At.VA, c.At.Bytes(), protOf(c.Op.Prot), int(o.Num))
	}
	return cpu.Mprotect(c.At.VA, c.At.Bytes(), protOf(c.Op.Prot))
}

func opAdvise(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	a, err := mm.AdviceNamed(c.Op.Options[0].Name)
	if err != nil {
		return err
	}
	return cpu.Madvise(c.At.VA, c.At.Bytes(), a)
}

func opFork(e *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	if e.spaces[c.Op.Name] != nil {
		return fmt.Errorf("there is a process %s already", c.Op.Name)
	}
	s, err := cpu.Fork()
	if err != nil {
		return err
	}
	child := &process{space: s, cpu: p.cpu, pkru: map[int]uint32{p.cpu: cpu.PKRU()}}
	if p.uffd != nil {
		for _, u := range p.uffd.Forked() {
			if u.Space() == s {
				child.uffd = u
			}
		}
	}
	e.spaces[c.Op.Name] = child
	return nil
}

func opExit(e *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	delete(e.spaces, c.Process)
	p.space.Exit(cpu)
	return nil
}

// access reads, writes or executes the pages, each on its own.
func (e *Emulator) access(c *Call, cpu *mm.CPU) Outcome {
	var all Outcome
	for i := range c.At.Pages {
		out := e.accessPage(c, cpu, c.At.VA+x86.Virt(i)*x86.PageSize)
		if i > 0 && out.Faults != all.Faults {
			all.Err = fmt.Errorf("at page %d %s, before %s", c.Op.At.First+i, accessText(out.Faults), accessText(all.Faults))
			return all
		}
		if out.Err != nil || out.Wrong != "" {
			return out
		}
		all = out
	}
	return all
}

// defaultByte is what a write without = stores.
const defaultByte = 1

func (e *Emulator) accessPage(c *Call, cpu *mm.CPU, va x86.Virt) Outcome {
	if c.Op.Verb == "exec" {
		return outcome(cpu.Fetch(va))
	}
	first, n := bytesOf(c.Op)
	va += x86.Virt(first)
	if c.Op.Verb == "write" {
		return outcome(cpu.Store(va, bytes.Repeat([]byte{byte(c.Op.Num("=", defaultByte))}, n)))
	}
	if !c.Op.Has("=") {
		n = 1
	}
	b := make([]byte, n)
	if err := cpu.Load(va, b); err != nil {
		return outcome(err)
	}
	return outcome(compare(c.Op, b))
}

// bytesOf returns the bytes of each page that an operation is about: one, or all.
func bytesOf(op *Op) (first, n int) {
	if o, ok := op.Option("byte"); ok {
		return int(o.Num), 1
	}
	return 0, x86.PageSize
}

// compare compares what was read of a page with what the operation expects.
func compare(op *Op, b []byte) error {
	o, want := op.Option("=")
	for i, v := range b {
		if want && uint64(v) != o.Num {
			first, _ := bytesOf(op)
			return wrongError(fmt.Sprintf("byte %d of the page is %d, not %d", first+i, v, o.Num))
		}
	}
	return nil
}

// opRemap moves pages to the new region, or, onto itself, lets a region grow or shrink where it is.
func opRemap(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	n := c.Op.Num("pages", uint64(c.At.Pages)) * x86.PageSize
	flags := mm.RemapMayMove | mm.RemapFixed
	if c.New == c.At.VA {
		flags = 0
	}
	if c.Op.Has("dontunmap") {
		flags |= mm.RemapDontUnmap
	}
	_, err := cpu.Mremap(c.At.VA, c.At.Bytes(), n, flags, c.New)
	return err
}

// opMigrate moves pages to a node, without one to the next.
func opMigrate(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	for i := range c.At.Pages {
		va := c.At.VA + x86.Virt(i)*x86.PageSize
		node := int(c.Op.Num("node", 0))
		if !c.Op.Has("node") {
			v, err := e.Entry(c.Process, va)
			if err != nil {
				return err
			}
			if v.Page != nil {
				node = (v.Page.Node + 1) % e.nodes
			}
		}
		if err := cpu.MovePages([]x86.Virt{va}, node, !c.Op.Has("own"))[0]; err != nil {
			return err
		}
	}
	return nil
}

// opFile makes a file of zeros: without more, a memfd.
func opFile(e *Emulator, c *Call, _ *process, _ *mm.CPU) error {
	if e.files[c.Op.Name] != nil {
		return fmt.Errorf("there is a file %s already", c.Op.Name)
	}
	f, err := e.m.NewFile(mm.FileArgs{
		Name: c.Op.Name, Size: uint64(c.Op.Count) * x86.PageSize, Shmem: !c.Op.Has("disk") && !c.Op.Has("ramfs"),
		Writeback: c.Op.Has("disk"), MkWrite: c.Op.Has("mkwrite"), Order: uint8(c.Op.Num("order", 0)),
	})
	if err == nil {
		e.files[c.Op.Name] = f
	}
	return err
}
