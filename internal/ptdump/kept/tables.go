package kept

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// Tables is which frames hold page tables, found by walking the trees of several roots. A table is entered once,
// however many entries lead to it.
type Tables struct {
	visited map[visitedTable]struct{}
	frames  map[x86.PFN]struct{}
	// Missing counts the problems met: places where a table should be.
	Missing int
}

// visitedTable is a table as seen from above: what a frame means depends on the level.
type visitedTable struct {
	pfn   x86.PFN
	level x86.Level
}

// NewTables returns an empty set.
func NewTables() *Tables {
	return &Tables{visited: map[visitedTable]struct{}{}, frames: map[x86.PFN]struct{}{}}
}

// Add adds the tables below both roots. Of memory, the root does not count.
func (s *Tables) Add(memory *tree.Tree, roots linux.Roots) error {
	for _, root := range []x86.Phys{roots.Kernel, roots.User} {
		err := memory.At(root).Visit(tree.Filter{}, (*tableVisitor)(s))
		var missing *physmem.FrameError
		if errors.As(err, &missing) {
			s.Missing++
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Only returns mem with every frame excluded that holds no table.
func (s *Tables) Only(mem physmem.Reader) physmem.Reader { return tablesOnly{mem, s.frames} }

// tableVisitor is what of Tables a walk sees.
type tableVisitor Tables

func (s *tableVisitor) Enter(t *pgtable.Table) (bool, error) {
	key := visitedTable{t.PFN, t.Level}
	if _, known := s.visited[key]; known {
		return false, nil
	}
	s.visited[key] = struct{}{}
	s.frames[t.PFN] = struct{}{}
	return true, nil
}

func (s *tableVisitor) Leave(*pgtable.Table) error { return nil }

func (s *tableVisitor) Problem(p *pgtable.Problem) error {
	if tree.ProblemReason(p) == "absent" || tree.ProblemReason(p) == "excluded" {
		s.Missing++
	}
	return nil
}

func (s *tableVisitor) Slot(*pgtable.Table, int, pgtable.Slot) error { return nil }

func (s *tableVisitor) PTEs(*pgtable.Table) error { return nil }

// tablesOnly is memory of which everything but a set of frames is excluded.
type tablesOnly struct {
	physmem.Reader
	frames map[x86.PFN]struct{}
}

// ReadFrame implements [physmem.Reader].
func (o tablesOnly) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if _, ok := o.frames[pfn]; !ok {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrExcluded}
	}
	return o.Reader.ReadFrame(pfn, dst)
}
