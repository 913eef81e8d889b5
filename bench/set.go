package bench

import (
	"fmt"
	"math/rand/v2"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

const (
	tableBytes = x86.PageSize
	tableSpan  = x86.EntriesPerTable * x86.PageSize
	// firstVA is where the tables begin to map; firstFrame is the first frame that they map.
	firstVA    = x86.Virt(1) << 30
	firstFrame = x86.PFN(1) << 21
)

// Set is the tables that cases run on: a tree in emulated memory, whose PTE tables have a given size together.
type Set struct {
	Bytes  uint64
	Order  Order
	RAM    *physmem.RAM
	Tree   *pgtable.Tree
	Layout *swapentry.Layout
	Range  pgtable.Range
	// Tables are the PTE tables by ascending address.
	Tables []*physmem.Table
	// KernelPTEs is the most pages of real memory that the running kernel's variants map. Larger sets are compared
	// with this many.
	KernelPTEs int

	bits [3][]uint64 // by frames: who is exclusive
}

// NewSet makes the tree for a kernel. The memory has room for the tables of two more trees like it.
func NewSet(k x86.Kernel, bytes uint64, order Order) (*Set, error) {
	abi, err := x86.NewABI(k, x86.DefaultPaging(4))
	if err != nil {
		return nil, err
	}
	n := bytes / tableBytes
	s := &Set{Bytes: bytes, Order: order, Layout: swapentry.NewLayout(abi), KernelPTEs: MaxKernelPTEs}
	s.Range = pgtable.Range{First: firstVA, Last: firstVA + x86.Virt(n)*tableSpan - 1}
	if s.RAM, err = physmem.NewRAM(0, 3*n+n/64+4096); err != nil {
		return nil, err
	}
	if err = s.build(int(n)); err != nil {
		return nil, fmt.Errorf("bench: %s of tables: %w", SizeName(bytes), err)
	}
	return s, nil
}

// build makes the tables, in the order in which their frames shall lie.
func (s *Set) build(n int) error {
	var err error
	if s.Tree, err = pgtable.New(s.RAM, s.ABI()); err != nil {
		return err
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if s.Order == Shuffled {
		random().Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	s.Tables = make([]*physmem.Table, n)
	for _, i := range order {
		c, err := s.Tree.LockPTEs(s.tableVA(i), true)
		if err != nil {
			return err
		}
		s.Tables[i] = c.Table()
		c.Unlock()
	}
	return nil
}

// ABI returns the kernel and machine that the tables are for.
func (s *Set) ABI() *x86.ABI { return s.Layout.ABI() }

// PTEs returns the number of entries of all tables.
func (s *Set) PTEs() int { return len(s.Tables) * x86.EntriesPerTable }

func (s *Set) tableVA(i int) x86.Virt { return firstVA + x86.Virt(i)*tableSpan }

// Fill fills all tables.
func (s *Set) Fill(f fill) {
	r := random()
	for i, t := range s.Tables {
		f(s, r, i, t)
	}
	s.Recount()
}

// Recount makes the tree count the entries in use, after its tables were written behind its back.
func (s *Set) Recount() {
	for i := range s.Tables {
		c, err := s.Tree.LockPTEs(s.tableVA(i), false)
		if err != nil {
			panic(err) // build made it
		}
		c.Recount()
		c.Unlock()
	}
}

// Close gives the memory back.
func (s *Set) Close() error { return s.RAM.Close() }

// random returns the same random numbers every time.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
