package litmus

import (
	"bytes"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/mm"
)

// pageOps are the verbs of those who hold pages: devices, other processes.
var pageOps = map[string]opFunc{
	"get":          opGet,
	"pin":          opGet,
	"release":      opRelease,
	"device-read":  opDevice,
	"device-write": opDevice,
	"device-exclusive": eachPage(func(cpu *mm.CPU, va x86.Virt) error {
		return cpu.MakeDeviceExclusive(va)
	}),
}

// eachPage makes a verb of what is done to every page alone.
func eachPage(f func(cpu *mm.CPU, va x86.Virt) error) opFunc {
	return func(_ *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
		for i := range c.At.Pages {
			if err := f(cpu, c.At.VA+x86.Virt(i)*x86.PageSize); err != nil {
				return err
			}
		}
		return nil
	}
}

var gupFlags = []struct {
	name string
	flag mm.GUPFlags
}{{"write", mm.GUPWrite}, {"longterm", mm.GUPLongterm}, {"force", mm.GUPForce}}

// opGet takes references or pins.
func opGet(e *Emulator, c *Call, _ *process, cpu *mm.CPU) error {
	if e.handles[c.Op.Name] != nil {
		return fmt.Errorf("%s is held already", c.Op.Name)
	}
	var flags mm.GUPFlags
	for _, f := range gupFlags {
		if c.Op.Has(f.name) {
			flags |= f.flag
		}
	}
	if c.Op.Verb == "pin" {
		flags |= mm.GUPPin
	}
	p, err := cpu.GetPages(c.At.VA, c.At.Pages, flags)
	if err == nil {
		e.handles[c.Op.Name] = p
	}
	return err
}

func (e *Emulator) handle(name string) (*mm.Pages, error) {
	p := e.handles[name]
	if p == nil {
		return nil, fmt.Errorf("%s is not held on this kernel", name)
	}
	return p, nil
}

func opRelease(e *Emulator, c *Call, _ *process, _ *mm.CPU) error {
	p, err := e.handle(c.Op.Name)
	if err != nil {
		return err
	}
	p.Put()
	delete(e.handles, c.Op.Name)
	return nil
}

// wrongError is contents that are not as a step says.
type wrongError string

func (e wrongError) Error() string { return string(e) }

// opDevice reads or writes pages that are held, past all page tables.
func opDevice(e *Emulator, c *Call, _ *process, _ *mm.CPU) error {
	p, err := e.handle(c.Op.Name)
	if err != nil {
		return err
	}
	first, n := bytesOf(c.Op)
	for i := range p.Frames() {
		b := p.Content(i)[first:][:n]
		if c.Op.Verb == "device-write" {
			copy(b, bytes.Repeat([]byte{byte(c.Op.Num("=", defaultByte))}, n))
		} else if err := compare(c.Op, b); err != nil {
			return err
		}
	}
	return nil
}
