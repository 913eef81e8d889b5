package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// Config is what a machine has.
type Config struct {
	Profile Profile
	Paging  x86.Paging // zero: 4 levels, 46 physical bits, NX
	Frames  uint64     // of memory; 0: 16384 (64 MiB)
	CPUs    int        // 0: 4
	Nodes   int        // NUMA nodes; 0: 2
	Slots   uint64     // of the swap area; 0: 4096
	// HugePages: huge pages on first touch in all areas that allow them; else only with MADV_HUGEPAGE.
	HugePages bool
	// Orders has a bit for every order of large folio that anonymous faults take (mTHP).
	Orders uint
	// ShmemOrder is that of the folios of shared anonymous memory, where there is room (6.12 on): 0 to 9.
	ShmemOrder uint8
	// NoHugeZero: reads never map the huge zero page.
	NoHugeZero bool
}

// Machine is memory, processors, files, swap and address spaces.
type Machine struct {
	cfg    Config
	Policy Policy // may be changed while nothing is under way
	abi    *x86.ABI
	kernel x86.Kernel
	layout *swapentry.Layout
	ram    *physmem.RAM
	pages  []page
	excl   []uint64 // PageAnonExclusive, a bit a frame
	cpus   []*CPU
	spaces []*Space
	files  []*File
	swap   *swapArea
	node   int // where pages are allocated
	large  int // large folios, by the number allocated and not freed
	zero   x86.PFN
	huge   x86.PFN // huge zero page, 0 before its first use
	nextID int
	tasks  []*Task // under way
	now    *Task   // runs, or nil
	units  map[unitKey]*mmu.MMU
	watch  func(Event)
}

// New makes a machine. The error is that of impossible sizes.
func New(cfg Config) (*Machine, error) {
	if cfg.Paging.Levels == 0 {
		cfg.Paging = x86.DefaultPaging(4)
	}
	setDefault(&cfg.Frames, 16384)
	setDefault(&cfg.CPUs, 4)
	setDefault(&cfg.Nodes, 2)
	setDefault(&cfg.Slots, 4096)
	cfg.ShmemOrder = min(cfg.ShmemOrder, hugeOrder)
	abi, err := x86.NewABI(cfg.Profile.Kernel, cfg.Paging)
	if err != nil {
		return nil, fmt.Errorf("mm: %w", err)
	}
	ram, err := physmem.NewRAM(0, cfg.Frames)
	if err != nil {
		return nil, fmt.Errorf("mm: %w", err)
	}
	m := &Machine{
		cfg: cfg, Policy: cfg.Profile.Policy, abi: abi, kernel: abi.Kernel(), layout: swapentry.NewLayout(abi), ram: ram,
		pages: make([]page, cfg.Frames), excl: make([]uint64, (cfg.Frames+63)/64),
		units: map[unitKey]*mmu.MMU{},
	}
	m.swap = newSwapArea(cfg.Slots)
	m.swap.m = m
	if m.zero, err = m.reserved(); err == nil && m.zero == 0 {
		m.zero, err = m.reserved() // frame 0 stays unused, as it is "no frame" in many places
	}
	if err != nil {
		ram.Close()
		return nil, fmt.Errorf("mm: %w", err)
	}
	for i := range cfg.CPUs {
		m.cpus = append(m.cpus, newCPU(m, i))
	}
	return m, nil
}

func setDefault[T int | uint64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// reserved allocates a page that is never freed and belongs to no area.
func (m *Machine) reserved() (x86.PFN, error) {
	pfn, err := m.ram.Alloc(physmem.UsePage)
	if err == nil {
		m.pages[pfn] = page{ref: 1, flags: pgReserved}
	}
	return pfn, err
}

// Close gives the memory back to the host. The machine may not be used any more.
func (m *Machine) Close() error {
	for _, t := range m.tasks {
		t.abandon()
	}
	return m.ram.Close()
}

// ABI returns the kernel and machine.
func (m *Machine) ABI() *x86.ABI { return m.abi }

// Layout returns how entries that are not pages are laid out.
func (m *Machine) Layout() *swapentry.Layout { return m.layout }

// RAM returns the memory: a physmem.Reader, that can be written out as a capture.
func (m *Machine) RAM() *physmem.RAM { return m.ram }

// CPU returns processor i.
func (m *Machine) CPU(i int) *CPU { return m.cpus[i] }

// CPUs returns the number of processors.
func (m *Machine) CPUs() int { return len(m.cpus) }

// Spaces returns the address spaces that have not exited, oldest first.
func (m *Machine) Spaces() []*Space { return append([]*Space(nil), m.spaces...) }

// ZeroPage returns the frame of the zero page.
func (m *Machine) ZeroPage() x86.PFN { return m.zero }

// SetNode chooses the NUMA node on which pages are allocated from now on.
func (m *Machine) SetNode(n int) error {
	if n < 0 || n >= m.cfg.Nodes {
		return fmt.Errorf("mm: node %d of %d: %w", n, m.cfg.Nodes, ErrInval)
	}
	m.node = n
	return nil
}

// NewSpace makes an empty address space, a process with one area to come.
func (m *Machine) NewSpace() (*Space, error) {
	t, err := pgtable.New(m.ram, m.abi)
	if err != nil {
		return nil, err
	}
	m.nextID++
	s := &Space{m: m, id: m.nextID, tree: t}
	m.spaces = append(m.spaces, s)
	return s, nil
}

// FlushTLB implements [pgtable.Flusher]: every processor forgets.
func (m *Machine) FlushTLB(t *pgtable.Tree, f pgtable.Flush) {
	m.event(Event{Kind: EventFlush, Tree: t, Flush: f})
	for _, s := range m.spaces {
		if s.tree != t {
			continue
		}
		for _, c := range m.cpus {
			c.flush(s, f)
		}
		return
	}
}

// normal returns the page of memory that e maps, if it maps one that is counted: not a zero page, nor anything special.
//
// Linux: mm/memory.c:vm_normal_page()
func (m *Machine) normal(e x86.PTE) (x86.PFN, bool) {
	if !e.Present() || e.Special() {
		return 0, false
	}
	pfn := e.PFN(m.abi)
	if uint64(pfn) >= uint64(len(m.pages)) || m.pages[pfn].flags&pgReserved != 0 {
		return 0, false
	}
	return pfn, true
}

// normalPMD is [Machine.normal] for a leaf: the head of the folio.
//
// Linux: mm/huge_memory.c:vm_normal_page_pmd()
func (m *Machine) normalPMD(e x86.PMD) (x86.PFN, bool) {
	if !e.Present() || !e.Leaf() || m.kernel.HugeSpecial && e.Special(m.abi) {
		return 0, false
	}
	pfn := e.PFN(m.abi)
	if uint64(pfn) >= uint64(len(m.pages)) || m.pages[pfn].flags&pgReserved != 0 {
		return 0, false
	}
	return pfn, true
}
