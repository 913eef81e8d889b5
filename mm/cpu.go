package mm

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// CPU is a processor in user mode, and the way into the kernel: system calls are its methods, and act on the space that
// it runs.
type CPU struct {
	m     *Machine
	id    int
	space *Space
	pkru  uint32
	core  *mmu.Core // nil before the first Run
}

func newCPU(m *Machine, id int) *CPU { return &CPU{m: m, id: id} }

// ID returns the number of the processor.
func (c *CPU) ID() int { return c.id }

// Space returns the address space that runs, nil before the first Run.
func (c *CPU) Space() *Space { return c.space }

// Run switches to s. Translations of other spaces stay cached under their own tags.
//
// Linux: arch/x86/mm/tlb.c:switch_mm_irqs_off()
func (c *CPU) Run(s *Space) error {
	if s.exited || s.m != c.m {
		return fmt.Errorf("mm: space %d does not live here", s.id)
	}
	c.space = s
	return c.load()
}

// SetPKRU sets the protection keys' rights: two bits a key, access and write disable.
func (c *CPU) SetPKRU(v uint32) error {
	c.pkru = v
	if c.space == nil {
		return nil
	}
	return c.load()
}

// PKRU returns what SetPKRU set.
func (c *CPU) PKRU() uint32 { return c.pkru }

// Load reads memory at va into b.
func (c *CPU) Load(va x86.Virt, b []byte) error {
	return c.bytes(va, len(b), mmu.Read, func(mem []byte, at int) { copy(b[at:], mem) })
}

// Store writes b to memory at va. What lies before the byte that faults is written.
func (c *CPU) Store(va x86.Virt, b []byte) error {
	return c.bytes(va, len(b), mmu.Write, func(mem []byte, at int) { copy(mem, b[at:]) })
}

// Fetch reads an instruction's byte at va.
func (c *CPU) Fetch(va x86.Virt) error {
	return c.bytes(va, 1, mmu.Fetch, func([]byte, int) {})
}

// bytes does an access page by page.
func (c *CPU) bytes(va x86.Virt, n int, k mmu.Kind, f func(mem []byte, at int)) error {
	for at := 0; at < n; {
		p, err := c.translate(va+x86.Virt(at), k)
		if err != nil {
			return err
		}
		in := int(p.Offset())
		part := min(n-at, x86.PageSize-in)
		f(c.m.content(p.PFN())[in:in+part], at)
		at += part
	}
	return nil
}

// maxFaults is how often one access may fault before something is wrong.
const maxFaults = 64

// translate is one access: faults are handled and the access made again until it succeeds or cannot.
func (c *CPU) translate(va x86.Virt, k mmu.Kind) (x86.Phys, error) {
	for range maxFaults {
		p, err := c.try(va, k)
		var pf *mmu.Fault
		if err == nil || !errors.As(err, &pf) {
			return p, err
		}
		if pf.Vector != mmu.VectorPF {
			return 0, &AccessError{va, SegvMapErr}
		}
		f := faultUser
		switch k {
		case mmu.Write:
			f |= faultWrite
		case mmu.Fetch:
			f |= faultFetch
		}
		if pf.Code&mmu.CodeP != 0 {
			f |= faultPresent
		}
		if pf.Code&mmu.CodePK != 0 {
			f |= faultPkey
		}
		if err := c.fault(va, f); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("mm: access to %v faults for ever", va)
}
