package ptdump

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/linux/proc"
)

// psRow is a line of ptdump ps; its JSON form is stable.
type psRow struct {
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
	*counts           // nil for further threads
	Tables     uint64 `json:"page_tables"` // below the root
	TableBytes uint64 `json:"page_table_bytes"`
	// Problems are the parts of the address space that could not be read, by reason.
	Problems       int            `json:"problems"`
	ProblemReasons map[string]int `json:"problem_reasons,omitempty"`
}

// processList is what ptdump ps prints.
type processList struct {
	rows   []*psRow
	total  counts // of all address spaces, each once
	tables uint64
	spaces int
}

// listProcesses makes the list: counted are all address spaces, each once, several at a time.
func (o *options) listProcesses(ctx context.Context, w *work, m *machineSpaces) (*processList, error) {
	found := make([]*spaceCounts, len(m.User))
	err := o.eachSpace(ctx, "counting", m.User, func(i int, s *space) (err error) {
		found[i], err = s.count(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := &processList{spaces: len(m.User)}
	byMM := map[*proc.MM]int{}
	for i, s := range m.User {
		byMM[s.MM] = i
		list.total.sum(&found[i].counts)
		list.tables += found[i].tables
		for j := range found[i].problems {
			w.tally.problem(&found[i].problems[j])
		}
	}
	for _, p := range m.Procs.List {
		r := newPsRow(p)
		list.rows = append(list.rows, r)
		if p.MM == nil {
			r.counts = &counts{}
			continue
		}
		i := byMM[p.MM]
		r.on(m.User[i], p, found[i])
	}
	return list, nil
}

// newPsRow makes the row of a process, without what its address space says.
func newPsRow(p *proc.Process) *psRow {
	r := &psRow{Comm: p.Comm, Kernel: p.Kernel, Threads: 1 + len(p.Threads)}
	if p.PID >= 0 {
		r.PID, r.TGID, r.PPID = &p.PID, &p.TGID, &p.PPID
	}
	return r
}

// on fills in what the address space says.
func (r *psRow) on(s *space, p *proc.Process, c *spaceCounts) {
	root := s.MM.Roots.Kernel.String()
	r.Root = &root
	if s.MM.Roots.PTI {
		r.UserRoot = s.MM.Roots.User.String()
	}
	if first := s.Procs[0]; first != p {
		r.SharesWith = &first.PID
	}
	r.Areas, r.AreasError = len(s.MM.Areas), s.MM.AreasErr
	r.counts, r.Tables, r.TableBytes = &c.counts, c.tables, c.tables*x86.PageSize
	r.Problems = len(c.problems)
	for i := range c.problems {
		if r.ProblemReasons == nil {
			r.ProblemReasons = map[string]int{}
		}
		r.ProblemReasons[problemReason(&c.problems[i])]++
	}
}

// sortKeys are what the list can be sorted by: the first ones ascending, the figures with the largest first.
func sortKeys() []string {
	keys := []string{"pid", "comm", "threads", "areas", "page_tables"}
	for _, c := range countColumns {
		keys = append(keys, c.name)
	}
	return keys
}

// sort orders the rows; of equal ones, those with the smaller PID come first.
func (l *processList) sort(key string) {
	var figure func(*psRow) uint64
	switch key {
	case "pid":
		return // as they came
	case "comm":
		slices.SortStableFunc(l.rows, func(a, b *psRow) int { return cmp.Compare(a.Comm, b.Comm) })
		return
	case "threads":
		figure = func(r *psRow) uint64 { return uint64(r.Threads) }
	case "page_tables":
		figure = func(r *psRow) uint64 { return r.Tables }
	case "areas":
		figure = func(r *psRow) uint64 { return uint64(r.Areas) }
	}
	for _, c := range countColumns {
		if c.name == key {
			figure = func(r *psRow) uint64 { return c.of(r.counts) }
		}
	}
	slices.SortStableFunc(l.rows, func(a, b *psRow) int { return cmp.Compare(figure(b), figure(a)) })
}

// withThreads puts the further threads of each process behind it.
func (l *processList) withThreads(list []*proc.Process) {
	byPID := map[int]*proc.Process{}
	for _, p := range list {
		byPID[p.PID] = p
	}
	var all []*psRow
	for _, r := range l.rows {
		all = append(all, r)
		if r.PID == nil {
			continue
		}
		p := byPID[*r.PID]
		for i := range p.Threads {
			t := &p.Threads[i]
			all = append(all, &psRow{
				PID: &t.PID, TGID: r.TGID, PPID: r.PPID, Comm: t.Comm, Kernel: r.Kernel, Thread: true, Threads: r.Threads,
				Root: r.Root, UserRoot: r.UserRoot, Areas: r.Areas,
			})
		}
	}
	l.rows = all
}

// in returns the list in one of the formats.
func (l *processList) in(format string, c palette) ([]byte, error) {
	switch format {
	case "json":
		return marshalArray(l.rows)
	case "jsonl":
		return marshalLines(l.rows)
	case "csv":
		return l.csv(), nil
	}
	return l.text(c), nil
}

func (l *processList) text(c palette) []byte {
	t := textTable{color: c, columns: []tableColumn{
		{"PID", true}, {"PPID", true}, {"THREADS", true}, {"AREAS", true}, {"RESIDENT", true}, {"SWAPPED", true},
		{"HUGE", true}, {"WRITABLE", true}, {"DIRTY", true}, {"UFFD-WP", true}, {"SOFT-DIRTY", true}, {"TABLES", true},
		{"ROOT", false}, {"COMM", false},
	}}
	for _, r := range l.rows {
		t.add(r.cells()...)
	}
	dst := t.append(nil)
	dst = fmt.Appendf(dst, "%s in %s, in pages of 4K: %d resident, %d swapped, %d huge, %d uffd-wp, %d soft-dirty; %s\n",
		countOf(len(l.rows), "process", "processes"), countOf(l.spaces, "address space", "address spaces"), l.total.Resident,
		l.total.Swapped, l.total.Huge, l.total.UffdWP, l.total.SoftDirty, plural(int(l.tables), "page table"))
	return dst
}

// cells is the row as text.
func (r *psRow) cells() []string {
	number := func(p *int) string {
		if p == nil {
			return "?"
		}
		return strconv.Itoa(*p)
	}
	cells := []string{number(r.PID), number(r.PPID), strconv.Itoa(r.Threads)}
	comm := quoteName(r.Comm)
	if r.Thread {
		cells[2] = ""
		comm = "  " + comm
	}
	if r.Kernel {
		comm = "[" + comm + "]"
	}
	if r.Root == nil || r.counts == nil {
		for range 9 {
			cells = append(cells, "-")
		}
		return append(cells, "-", comm)
	}
	c := r.counts
	for _, n := range []uint64{
		uint64(r.Areas), c.Resident, c.Swapped, c.Huge, c.Writable, c.Dirty, c.UffdWP, c.SoftDirty, r.Tables,
	} {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	root := *r.Root
	if r.UserRoot != "" {
		root += " user " + r.UserRoot
	}
	if r.SharesWith != nil {
		comm += fmt.Sprintf("  (memory of %d)", *r.SharesWith)
	}
	if r.Problems > 0 {
		comm += "  ! " + plural(r.Problems, "problem") + ": " + strings.Join(slices.Sorted(maps.Keys(r.ProblemReasons)), ", ")
	}
	if r.AreasError != "" {
		comm += "  ! areas: " + printable(r.AreasError)
	}
	return append(cells, root, comm)
}

func (l *processList) csv() []byte {
	dst := []byte("pid,tgid,ppid,comm,kernel,thread,threads,root,user_root,shares_mm_with,areas,areas_error")
	for _, c := range countColumns {
		dst = append(append(dst, ','), c.name...)
	}
	dst = append(dst, ",page_tables,page_table_bytes,problems,problem_reasons\n"...)
	for _, r := range l.rows {
		dst = r.csv(dst)
	}
	return dst
}

func (r *psRow) csv(dst []byte) []byte {
	number := func(p *int) {
		if p != nil {
			dst = strconv.AppendInt(dst, int64(*p), 10)
		}
		dst = append(dst, ',')
	}
	number(r.PID)
	number(r.TGID)
	number(r.PPID)
	dst = appendCSVString(dst, quoteName(r.Comm))
	dst = appendCSVBool(dst, r.Kernel)
	dst = appendCSVBool(dst, r.Thread)
	dst = fmt.Appendf(dst, ",%d,", r.Threads)
	if r.Root != nil {
		dst = append(dst, *r.Root...)
	}
	dst = append(append(append(dst, ','), r.UserRoot...), ',')
	number(r.SharesWith)
	dst = fmt.Appendf(dst, "%d,", r.Areas)
	dst = appendCSVString(dst, r.AreasError)
	dst = appendCSVCounts(dst, r.counts)
	dst = fmt.Appendf(dst, ",%d,%d,%d,", r.Tables, r.TableBytes, r.Problems)
	dst = append(dst, strings.Join(slices.Sorted(maps.Keys(r.ProblemReasons)), "|")...)
	return append(dst, '\n')
}

// appendCSVCounts appends the figures, a comma before each; without any they are empty.
func appendCSVCounts(dst []byte, c *counts) []byte {
	for _, column := range countColumns {
		dst = append(dst, ',')
		if c != nil {
			dst = strconv.AppendUint(dst, column.of(c), 10)
		}
	}
	return dst
}

// marshalLines returns one JSON object a line.
func marshalLines[T any](all []T) ([]byte, error) {
	var dst []byte
	for i := range all {
		b, err := json.Marshal(all[i])
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, b...), '\n')
	}
	return dst, nil
}

// marshalArray returns the objects of [marshalLines] as one array.
func marshalArray[T any](all []T) ([]byte, error) {
	lines, err := marshalLines(all)
	if err != nil || len(lines) == 0 {
		return []byte("[]\n"), err
	}
	lines = append([]byte("[\n"), lines[:len(lines)-1]...)
	dst := make([]byte, 0, len(lines)+len(all)+4)
	for i, b := range lines {
		if b == '\n' && i > 1 {
			dst = append(dst, ',')
		}
		dst = append(dst, b)
	}
	return append(dst, "\n]\n"...), nil
}
