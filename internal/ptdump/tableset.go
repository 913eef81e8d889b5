package ptdump

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// tableSet is which frames hold page tables, found by walking the trees of several roots. A table is entered once,
// however many entries lead to it.
type tableSet struct {
	visited map[visitedTable]struct{}
	frames  map[x86.PFN]struct{}
	// missing counts the problems met: places where a table should be.
	missing int
}

// visitedTable is a table as seen from above: what a frame means depends on the level.
type visitedTable struct {
	pfn   x86.PFN
	level x86.Level
}

func newTableSet() *tableSet {
	return &tableSet{visited: map[visitedTable]struct{}{}, frames: map[x86.PFN]struct{}{}}
}

// add adds the tables below both roots.
func (s *tableSet) add(session *Session, roots linux.Roots) error {
	for _, root := range []x86.Phys{roots.Kernel, roots.User} {
		err := session.at(root).walk(Filter{}, s)
		var missing *physmem.FrameError
		if errors.As(err, &missing) {
			s.missing++
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *tableSet) Enter(t *pgtable.Table) (bool, error) {
	key := visitedTable{t.PFN, t.Level}
	if _, known := s.visited[key]; known {
		return false, nil
	}
	s.visited[key] = struct{}{}
	s.frames[t.PFN] = struct{}{}
	return true, nil
}

func (s *tableSet) Leave(*pgtable.Table) error { return nil }

func (s *tableSet) Problem(p *Problem) error {
	if problemReason(p) == "absent" || problemReason(p) == "excluded" {
		s.missing++
	}
	return nil
}

func (s *tableSet) Slot(*pgtable.Table, int, pgtable.Slot) error { return nil }

func (s *tableSet) PTEs(*pgtable.Table) error { return nil }

// only is memory of which everything but a set of frames is excluded.
type only struct {
	physmem.Reader
	frames map[x86.PFN]struct{}
}

// ReadFrame implements [physmem.Reader].
func (o only) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if _, ok := o.frames[pfn]; !ok {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrExcluded}
	}
	return o.Reader.ReadFrame(pfn, dst)
}
