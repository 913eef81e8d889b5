package ps

import (
	"cmp"
	"context"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
)

// row is a line of ptdump ps; its JSON form is stable.
type row struct {
	PID     *int   `json:"pid"` // nil where only the root table was found
	TGID    *int   `json:"tgid"`
	PPID    *int   `json:"ppid"`
	Comm    string `json:"comm"`
	Kernel  bool   `json:"kernel"`           // a kernel thread
	Thread  bool   `json:"thread,omitempty"` // a further thread of the process TGID, whose figures it has no part of
	Threads int    `json:"threads"`          // of the process, the first one included
	// Root is the physical address of the root table, of a pair the kernel's; nil without an address space.
	Root     *string `json:"root"`
	UserRoot string  `json:"user_root,omitempty"` // of a pair
	// SharesWith is the first process that runs on the same address space, where that is another.
	SharesWith *int   `json:"shares_mm_with,omitempty"`
	Areas      int    `json:"areas"`
	AreasError string `json:"areas_error,omitempty"`
	*Counts           // nil for further threads
	Tables     uint64 `json:"page_tables"` // below the root
	TableBytes uint64 `json:"page_table_bytes"`
	// Problems are the parts of the address space that could not be read, by reason.
	Problems       int            `json:"problems"`
	ProblemReasons map[string]int `json:"problem_reasons,omitempty"`
}

// Processes is what ptdump ps prints.
type Processes struct {
	rows   []*row
	total  Counts // of all address spaces, each once
	tables uint64
	spaces int
}

// List makes the list: counted are all address spaces, each once. Problems are added to tally.
func List(ctx context.Context, m *space.Machine, with space.Workers, tally *entries.Tally) (*Processes, error) {
	found := make([]*spaceCounts, len(m.User))
	err := with.Each(ctx, "counting", len(m.User), func(i int) (err error) {
		found[i], err = countSpace(ctx, m.User[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	list := &Processes{spaces: len(m.User)}
	byMM := map[*proc.MM]int{}
	for i, s := range m.User {
		byMM[s.MM] = i
		list.total.sum(&found[i].Counts)
		list.tables += found[i].tables
		for j := range found[i].problems {
			tally.Problem(&found[i].problems[j])
		}
	}
	for _, p := range m.Procs.List {
		r := newRow(p)
		list.rows = append(list.rows, r)
		if p.MM == nil {
			r.Counts = &Counts{}
			continue
		}
		i := byMM[p.MM]
		r.on(m.User[i], p, found[i])
	}
	return list, nil
}

// newRow makes the row of a process, without what its address space says.
func newRow(p *proc.Process) *row {
	r := &row{Comm: p.Comm, Kernel: p.Kernel, Threads: 1 + len(p.Threads)}
	if p.PID >= 0 {
		r.PID, r.TGID, r.PPID = &p.PID, &p.TGID, &p.PPID
	}
	return r
}

// on fills in what the address space says.
func (r *row) on(s *space.Space, p *proc.Process, c *spaceCounts) {
	root := s.MM.Roots.Kernel.String()
	r.Root = &root
	if s.MM.Roots.PTI {
		r.UserRoot = s.MM.Roots.User.String()
	}
	if first := s.Procs[0]; first != p {
		r.SharesWith = &first.PID
	}
	r.Areas, r.AreasError = len(s.MM.Areas), s.MM.AreasErr
	r.Counts, r.Tables, r.TableBytes = &c.Counts, c.tables, c.tables*x86.PageSize
	r.Problems = len(c.problems)
	for i := range c.problems {
		if r.ProblemReasons == nil {
			r.ProblemReasons = map[string]int{}
		}
		r.ProblemReasons[tree.ProblemReason(&c.problems[i])]++
	}
}

// SortKeys are what the list can be sorted by: the first ones ascending, the figures with the largest first.
func SortKeys() []string {
	keys := []string{"pid", "comm", "threads", "areas", "page_tables"}
	for _, c := range figures {
		keys = append(keys, c.name)
	}
	return keys
}

// Sort orders the rows; of equal ones, those with the smaller PID come first.
func (l *Processes) Sort(key string) {
	var figure func(*row) uint64
	switch key {
	case "pid":
		return // as they came
	case "comm":
		slices.SortStableFunc(l.rows, func(a, b *row) int { return cmp.Compare(a.Comm, b.Comm) })
		return
	case "threads":
		figure = func(r *row) uint64 { return uint64(r.Threads) }
	case "page_tables":
		figure = func(r *row) uint64 { return r.Tables }
	case "areas":
		figure = func(r *row) uint64 { return uint64(r.Areas) }
	}
	for _, c := range figures {
		if c.name == key {
			figure = func(r *row) uint64 { return c.of(r.Counts) }
		}
	}
	slices.SortStableFunc(l.rows, func(a, b *row) int { return cmp.Compare(figure(b), figure(a)) })
}

// AddThreads puts the further threads of each process behind it.
func (l *Processes) AddThreads(list []*proc.Process) {
	byPID := map[int]*proc.Process{}
	for _, p := range list {
		byPID[p.PID] = p
	}
	var all []*row
	for _, r := range l.rows {
		all = append(all, r)
		if r.PID == nil {
			continue
		}
		p := byPID[*r.PID]
		for i := range p.Threads {
			t := &p.Threads[i]
			all = append(all, &row{
				PID: &t.PID, TGID: r.TGID, PPID: r.PPID, Comm: t.Comm, Kernel: r.Kernel, Thread: true, Threads: r.Threads,
				Root: r.Root, UserRoot: r.UserRoot, Areas: r.Areas,
			})
		}
	}
	l.rows = all
}
