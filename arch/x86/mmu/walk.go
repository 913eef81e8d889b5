package mmu

import (
	"encoding/binary"
	"fmt"
	"sync"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

const (
	entrySize = 8
	// addrMask is the address field of CR3 and of an entry that points to a table.
	addrMask = 1<<52 - x86.PageSize
)

// MMU is the paging unit of one processor in one state. It is immutable; any number of goroutines may use it.
type MMU struct {
	regs   Regs
	paging x86.Paging
	root   x86.Phys
	addr   uint64 // address field, without the encryption bit
	max1G  x86.Level
	// Reserved bits of a present entry by level: of one that points to a table, and of a leaf.
	tableReserved [x86.LevelPGD + 1]uint64
	leafReserved  [x86.LevelPGD + 1]uint64
}

// New makes the MMU of a processor with registers r and the physical width and encryption bit of p. It fails
// if either is not valid, or if p's Levels and NX are not what r says ([Regs.Paging], [Regs.WithPaging]).
func New(r Regs, p x86.Paging) (*MMU, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("mmu: %w", err)
	}
	if nx := r.EFER&EFERNXE != 0; p.Levels != r.Levels() || p.NX != nx {
		return nil, fmt.Errorf("mmu: %d levels, NX %t, but the registers have %d levels, NX %t: %w",
			p.Levels, p.NX, r.Levels(), nx, ErrBadRegs)
	}
	m := &MMU{regs: r, paging: p, addr: addrMask &^ p.EncMask, max1G: x86.LevelPUD}
	m.root = x86.Phys(r.CR3 & m.addr)
	common := m.addr &^ (1<<p.PhysBits - 1)
	if !p.NX {
		common |= x86.PageNX
	}
	for l := x86.LevelPTE; l <= x86.LevelPGD; l++ {
		m.tableReserved[l] = common
		m.leafReserved[l] = common
	}
	m.tableReserved[x86.LevelP4D] |= x86.PagePSE
	m.tableReserved[x86.LevelPGD] |= x86.PagePSE
	for _, l := range []x86.Level{x86.LevelPMD, x86.LevelPUD} {
		m.leafReserved[l] |= (l.Size() - 1) & m.addr &^ x86.PagePATLarge
	}
	return m, nil
}

// Without1G returns the same unit in a processor without 1 GiB pages (CPUID 0x80000001, EDX bit 26): PS is then
// reserved in a PUD entry.
func (m *MMU) Without1G() *MMU {
	c := *m
	c.max1G = x86.LevelPMD
	c.tableReserved[x86.LevelPUD] |= x86.PagePSE
	return &c
}

// Regs returns the registers that the MMU was made from.
func (m *MMU) Regs() Regs { return m.regs }

// Paging returns the sizes that the MMU was made from.
func (m *MMU) Paging() x86.Paging { return m.paging }

// Root returns the address of the table that CR3 points to.
func (m *MMU) Root() x86.Phys { return m.root }

// leaf reports whether entry, read from a table of level l, maps memory.
func (m *MMU) leaf(l x86.Level, entry uint64) bool {
	return l == x86.LevelPTE || l <= m.max1G && entry&x86.PagePSE != 0
}

// reserved returns the reserved bits that are set in entry, taken for present.
func (m *MMU) reserved(l x86.Level, entry uint64) uint64 {
	if m.leaf(l, entry) {
		return entry & m.leafReserved[l]
	}
	return entry & m.tableReserved[l]
}

// Outcome is how a walk ended.
type Outcome uint8

// The outcomes of a walk.
const (
	Mapped       Outcome = iota + 1 // at a leaf
	NotPresent                      // at an entry without P
	Reserved                        // at a present entry with a reserved bit
	Unreadable                      // before an entry whose table could not be read
	NonCanonical                    // before the root
)

// String returns the outcome in words.
func (o Outcome) String() string {
	switch o {
	case Mapped:
		return "mapped"
	case NotPresent:
		return "not present"
	case Reserved:
		return "reserved bit"
	case Unreadable:
		return "table unreadable"
	case NonCanonical:
		return "not canonical"
	}
	return "no walk"
}

// Step is one entry that a walk read.
type Step struct {
	Level x86.Level
	Place x86.Phys // where the entry is
	Entry uint64   // all its 64 bits
}

// Walk is what the tables say about one linear address. It does not depend on the access. Its methods never
// read memory: a Walk stays as it was when the tables change.
type Walk struct {
	VA      x86.Virt
	Outcome Outcome

	mmu   *MMU
	steps [x86.LevelPGD]Step
	n     int
	upper uint64 // AND of the entries that led to a table: R/W and U/S must be set everywhere
	any   uint64 // OR of all entries: XD counts anywhere
	start Upper  // where the walk began, the zero Upper for the root
	err   *TableError
}

// frames keeps the scratch frame of a walk off the heap: a Reader is an interface, so the frame escapes.
var frames = sync.Pool{New: func() any { return new(physmem.Frame) }}

// Walk translates va from the root down, as far as the tables in mem lead. It reads at most one entry a level.
func (m *MMU) Walk(mem physmem.Reader, va x86.Virt) Walk {
	w := Walk{VA: va, mmu: m, upper: ^uint64(0)}
	if !m.paging.Canonical(va) {
		w.Outcome = NonCanonical
		return w
	}
	scratch := frames.Get().(*physmem.Frame)
	w.descend(mem, scratch, m.root, m.paging.Root())
	frames.Put(scratch)
	return w
}

// descend reads one entry a level from a table of level l down.
func (w *Walk) descend(mem physmem.Reader, scratch *physmem.Frame, table x86.Phys, l x86.Level) {
	m := w.mmu
	for ; ; l-- {
		place := table + x86.Phys(w.VA.Index(l)*entrySize)
		if err := mem.ReadFrame(table.PFN(), scratch); err != nil {
			w.Outcome = Unreadable
			w.err = &TableError{VA: w.VA, Level: l, Place: place, Err: err}
			if w.n > 0 {
				w.err.Via = w.steps[w.n-1]
			}
			return
		}
		entry := binary.LittleEndian.Uint64(scratch[place.Offset():])
		w.steps[w.n] = Step{Level: l, Place: place, Entry: entry}
		w.n++
		if entry&x86.PagePresent == 0 {
			w.Outcome = NotPresent
			return
		}
		if m.reserved(l, entry) != 0 {
			w.Outcome = Reserved
			return
		}
		w.any |= entry
		if m.leaf(l, entry) {
			w.Outcome = Mapped
			return
		}
		w.upper &= entry
		table = x86.Phys(entry & m.addr)
	}
}

// Steps returns the entries read, root first. The last one is the leaf if the walk is Mapped, the entry that
// ended it if NotPresent or Reserved, and the one that named the unreadable table if Unreadable. The slice
// belongs to w.
func (w *Walk) Steps() []Step { return w.steps[:w.n] }

// Last returns the last entry read, the zero Step if none was.
func (w *Walk) Last() Step {
	if w.n == 0 {
		return Step{}
	}
	return w.steps[w.n-1]
}

// ReservedBits returns the reserved bits that are set in the last entry, 0 unless the walk is Reserved.
func (w *Walk) ReservedBits() uint64 {
	if w.Outcome != Reserved {
		return 0
	}
	s := w.Last()
	return w.mmu.reserved(s.Level, s.Entry)
}

// Err returns a [*TableError] if the walk is Unreadable, else nil.
func (w *Walk) Err() error {
	if w.err == nil {
		return nil
	}
	return w.err
}

// Size returns the bytes that the leaf maps: 4 KiB, 2 MiB or 1 GiB; 0 unless the walk is Mapped.
func (w *Walk) Size() uint64 {
	if w.Outcome != Mapped {
		return 0
	}
	return w.Last().Level.Size()
}

// Page returns the physical address of the first byte that the leaf maps; 0 unless the walk is Mapped.
func (w *Walk) Page() x86.Phys {
	if w.Outcome != Mapped {
		return 0
	}
	return x86.Phys(w.Last().Entry & w.mmu.addr &^ (w.Size() - 1))
}

// Phys returns what VA translates to, without regard to rights; false unless the walk is Mapped.
func (w *Walk) Phys() (x86.Phys, bool) {
	if w.Outcome != Mapped {
		return 0, false
	}
	return w.Page() | x86.Phys(uint64(w.VA)&(w.Size()-1)), true
}

// Global reports whether the translation outlives a load of CR3: G in the leaf, and CR4.PGE.
func (w *Walk) Global() bool {
	return w.Outcome == Mapped && w.Last().Entry&x86.PageGlobal != 0 && w.mmu.regs.CR4&CR4PGE != 0
}

// PKey returns the protection key of the leaf, 0 unless the walk is Mapped. It is there whether keys are
// enabled or not.
func (w *Walk) PKey() uint8 {
	if w.Outcome != Mapped {
		return 0
	}
	return uint8(w.Last().Entry & x86.PagePkeyMask >> x86.PageBitPkey0)
}

// PATIndex returns which of the eight fields of IA32_PAT gives the leaf's memory type: 4*PAT + 2*PCD + PWT.
// PAT is bit 7 of a 4 KiB leaf and bit 12 of a larger one. It is 0 unless the walk is Mapped.
//
// Intel SDM, "Paging and Memory Typing When the PAT is Supported"
func (w *Walk) PATIndex() uint8 {
	if w.Outcome != Mapped {
		return 0
	}
	s, i := w.Last(), uint8(0)
	pat := uint64(x86.PagePAT)
	if s.Level != x86.LevelPTE {
		pat = x86.PagePATLarge
	}
	for bit, mask := range [...]uint64{x86.PagePWT, x86.PagePCD, pat} {
		if s.Entry&mask != 0 {
			i |= 1 << bit
		}
	}
	return i
}
