package litmus

import (
	"bytes"

	"ptemu/arch/x86"
	"ptemu/mm"
)

var uffdFeatureOf = map[string]mm.UffdFeatures{
	"wp-unpopulated": mm.UffdWPUnpopulated, "wp-async": mm.UffdWPAsync, "event-fork": mm.UffdEventFork, "event-remap": mm.UffdEventRemap,
	"sigbus": mm.UffdSigbus,
}

// uffdOps are the verbs of userfaultfd.
var uffdOps = map[string]opFunc{
	"uffd": opUffd, "uffd-close": opUffdClose,
	"uffd-register":   withUffd(uffdRegister),
	"uffd-unregister": withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error { return u.Unregister(cpu, c.At.VA, c.At.Bytes()) }),
	"uffd-protect":    withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error { return u.WriteProtect(cpu, c.At.VA, c.At.Bytes(), true) }),
	"uffd-resolve":    withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error { return u.WriteProtect(cpu, c.At.VA, c.At.Bytes(), false) }),
	"uffd-copy":       withUffd(uffdCopy),
	"uffd-zero":       withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error { return second(u.ZeroPage(cpu, c.At.VA, c.At.Bytes())) }),
	"uffd-poison":     withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error { return second(u.Poison(cpu, c.At.VA, c.At.Bytes())) }),
	"uffd-continue": withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error {
		return second(u.Continue(cpu, c.At.VA, c.At.Bytes(), c.Op.Has("wp")))
	}),
	"uffd-move": withUffd(func(u *mm.Uffd, c *Call, cpu *mm.CPU) error {
		return second(u.Move(cpu, c.To.VA, c.At.VA, c.At.Bytes(), c.Op.Has("holes")))
	}),
}

func second(_ int, err error) error { return err }

// withUffd makes a verb of what the process does with its userfaultfd, which is opened without features if it has none.
func withUffd(f func(u *mm.Uffd, c *Call, cpu *mm.CPU) error) opFunc {
	return func(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
		if p.uffd == nil {
			u, err := cpu.Userfaultfd(0)
			if err != nil {
				return err
			}
			p.uffd = u
		}
		return f(p.uffd, c, cpu)
	}
}

// opUffd opens the userfaultfd of the process; one that it has had stays open, without a name.
func opUffd(_ *Emulator, c *Call, p *process, cpu *mm.CPU) error {
	var features mm.UffdFeatures
	for _, o := range c.Op.Options {
		features |= uffdFeatureOf[o.Name]
	}
	u, err := cpu.Userfaultfd(features)
	if err == nil {
		p.uffd = u
	}
	return err
}

func opUffdClose(_ *Emulator, _ *Call, p *process, cpu *mm.CPU) error {
	if p.uffd == nil {
		return mm.ErrInval
	}
	err := p.uffd.Close(cpu)
	p.uffd = nil
	return err
}

func uffdRegister(u *mm.Uffd, c *Call, cpu *mm.CPU) error {
	var mode mm.UffdMode
	if c.Op.Has("missing") {
		mode |= mm.UffdMissing
	}
	if c.Op.Has("wp") {
		mode |= mm.UffdWP
	}
	return u.Register(cpu, c.At.VA, c.At.Bytes(), mode)
}

func uffdCopy(u *mm.Uffd, c *Call, cpu *mm.CPU) error {
	data := bytes.Repeat([]byte{byte(c.Op.Num("=", defaultByte))}, c.At.Pages*x86.PageSize)
	return second(u.Copy(cpu, c.At.VA, data, c.Op.Has("wp")))
}
