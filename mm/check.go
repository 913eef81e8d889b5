package mm

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// CheckError is something that must hold of a machine, and does not. Its place is an address of a space, or a frame, or
// a swap slot.
type CheckError struct {
	Space int      // its ID; 0: the finding is about Frame or Slot
	VA    x86.Virt // of the page, or the first of the area
	Entry uint64   // the page-table entry there, or the one that a processor has cached; 0: not about an entry
	Frame x86.PFN  // 0: not about a page
	Slot  uint64   // of the swap area; 0: not about one
	What  string
}

func (e *CheckError) Error() string {
	s := "mm: "
	if e.Space != 0 {
		s += fmt.Sprintf("space %d at %v: ", e.Space, e.VA)
	}
	if e.Entry != 0 {
		s += fmt.Sprintf("entry %#x: ", e.Entry)
	}
	if e.Frame != 0 {
		s += fmt.Sprintf("frame %#x: ", uint64(e.Frame))
	}
	if e.Slot != 0 {
		s += fmt.Sprintf("swap slot %d: ", e.Slot)
	}
	return s + e.What
}

// maxFindings bounds what Check reports.
const maxFindings = 50

// Check walks everything and returns what is broken, as joined [*CheckError]s, 50 at most:
//
//   - tables, by [pgtable.Tree.Check]
//   - areas that overlap, or whose vm_page_prot is not what their flags make it
//   - entries outside all areas, with bits that no entry has, to memory that is free, with rights that the area does
//     not give, with RW where a write must be noticed or goes to what others see too
//   - pages that are exclusive and mapped twice, that do not know who maps them, whose counts are wrong, that nobody
//     has
//   - swap slots whose counts are wrong
//   - processors that have cached more than the tables say, with no flush owed
//
// While a task is under way, what an operation may leave for its end is not looked at: counts, tables that wait for a
// flush, caches, migration entries.
func (m *Machine) Check() error {
	c := &checker{m: m, quiet: !m.underWay(), pages: make([]tally, len(m.pages)), slots: map[uint64]*slotTally{}}
	for _, s := range m.spaces {
		c.s = s
		if c.quiet {
			c.tree(s)
		}
		c.areas(s)
		c.entries(s)
	}
	c.s = nil
	if c.quiet {
		c.frames()
		c.swap()
		c.caches()
	}
	return errors.Join(c.found...)
}

// underWay reports that an operation stands in its middle.
func (m *Machine) underWay() bool {
	for _, t := range m.tasks {
		if t.began {
			return true
		}
	}
	return false
}

// checker collects what one Check finds.
type checker struct {
	m     *Machine
	s     *Space // that is looked at
	quiet bool   // no task is under way
	pages []tally
	slots map[uint64]*slotTally
	found []error
}

// tally is what the tables say about a page, and for the folio's first page about the folio.
type tally struct {
	ptes, pmds int32 // entries that map it
	kept       int32 // entries without a page that hold a reference to it
	place      place // of one of them
}

// place is an address of a space.
type place struct {
	space int
	va    x86.Virt
}

func (c *checker) add(e *CheckError) {
	if len(c.found) < maxFindings {
		c.found = append(c.found, e)
	}
}

// at reports something about an address of the space.
func (c *checker) at(va x86.Virt, entry uint64, format string, args ...any) {
	c.add(&CheckError{Space: c.s.id, VA: va, Entry: entry, What: fmt.Sprintf(format, args...)})
}

// tree checks the tables themselves.
func (c *checker) tree(s *Space) {
	err := s.tree.Check()
	if err == nil {
		return
	}
	all := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		all = j.Unwrap()
	}
	for _, err := range all {
		var e *pgtable.CheckError
		if errors.As(err, &e) {
			c.at(e.VA, 0, "%v", err)
		} else {
			c.at(0, 0, "%v", err)
		}
	}
}

// areas checks the list of areas.
func (c *checker) areas(s *Space) {
	end := x86.Virt(0)
	for _, v := range s.vmas {
		switch {
		case v.space != s:
			c.at(v.Start, 0, "the area belongs to another space")
		case v.Start >= v.End || v.Start%x86.PageSize != 0 || v.End%x86.PageSize != 0 || v.End > s.tree.Limit():
			c.at(v.Start, 0, "the area up to %v does not consist of pages", v.End)
		case v.Start < end:
			c.at(v.Start, 0, "the area begins before the end of its predecessor, %v", end)
		}
		end = v.End
		if fresh := *v; v.space == s {
			if fresh.setPageProt(); fresh.prot != v.prot {
				c.at(v.Start, 0, "vm_page_prot is %#x, the area's flags make it %#x", uint64(v.prot), uint64(fresh.prot))
			}
		}
		if v.flags&vmUffd != 0 && v.uffd == nil || v.flags&vmUffd == 0 && v.uffd != nil {
			c.at(v.Start, 0, "the area has flags %#x, and userfaultfd %v", v.flags, v.uffd != nil)
		}
	}
	if c.quiet && (s.mmap.readers != 0 || s.mmap.writer || s.pendingFlush != 0) {
		c.at(0, 0, "the mmap lock is held (%d readers, writer %v), %d flushes are announced", s.mmap.readers, s.mmap.writer, s.pendingFlush)
	}
}
