package ptdump

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"ptemu/arch/x86"
	"ptemu/linux/proc"
	"ptemu/pgtable"
)

// mapLine is a line of ptdump maps: an area with what its entries say, or what entries there are outside of any. Its
// JSON form is stable.
type mapLine struct {
	PID int `json:"pid"`
	// Kind is "vma"; "stray" for entries between areas, where no entry should be; "gap" is not printed.
	Kind  string `json:"kind"`
	Start string `json:"start"`
	End   string `json:"end"`
	Size  uint64 `json:"size"` // bytes
	// What the area allows. Perms are as in /proc/PID/maps, "" where there is no area.
	Perms    string   `json:"perms,omitempty"`
	Flags    []string `json:"flags,omitempty"` // as the line VmFlags of smaps
	VMFlags  string   `json:"vm_flags,omitempty"`
	Prot     string   `json:"prot,omitempty"` // the rights that new entries get
	PageProt string   `json:"page_prot,omitempty"`
	// What is mapped.
	Offset uint64 `json:"offset"`
	Dev    string `json:"dev,omitempty"` // "major:minor", as in /proc/PID/maps
	Inode  uint64 `json:"inode,omitempty"`
	Name   string `json:"name"`
	Anon   bool   `json:"anon"` // has, or had, private pages
	// What its entries say.
	*counts
	Rss         uint64   `json:"rss"`          // pages of 4 KiB, as smaps counts them
	EntryRights []string `json:"entry_rights"` // all combinations that occur
	// Excess are the rights that an entry has and the area does not allow: of "wx".
	Excess string `json:"excess,omitempty"`

	first, end x86.Virt
}

// areaMap collects what the entries of a space say, area by area.
type areaMap struct {
	abi      *x86.ABI
	areas    []proc.VMA
	inside   []counts       // by area
	strays   map[int]*stray // by the area that they lie before
	problems []Problem
}

// stray is what lies in one gap between areas.
type stray struct {
	counts
	first, end x86.Virt
}

// mapAreas walks the user half of a space.
func (s *space) mapAreas(ctx context.Context) (*areaMap, error) {
	m := &areaMap{abi: s.ABI, areas: s.MM.Areas, inside: make([]counts, len(s.MM.Areas)), strays: map[int]*stray{}}
	f := s.userHalf()
	if err := s.stretches(ctx, f.bounds(), m); err != nil {
		return m, s.rootProblem(ctx, err, &m.problems)
	}
	return m, nil
}

func (m *areaMap) table(*pgtable.Table) bool { return true }
func (m *areaMap) problem(p *Problem)        { m.problems = append(m.problems, *p) }

// stretch divides a stretch among the areas. An entry belongs to the area that its first address lies in.
func (m *areaMap) stretch(s *stretch) {
	size := x86.Virt(s.Level.Size())
	for va, left := s.VA, s.N; left > 0; {
		i := findArea(m.areas, va)
		in, n := false, left
		if i < len(m.areas) {
			limit := m.areas[i].Start
			if in = limit <= va; in {
				limit = m.areas[i].End
			}
			n = min(left, uint64((limit-va-1)/size)+1)
		}
		to := m.counts(i, in, va, va+x86.Virt(n)*size)
		to.add(m.abi, s, n)
		va, left = va+x86.Virt(n)*size, left-n
	}
}

// counts returns where entries from va to end are to be counted: in area i, or before it.
func (m *areaMap) counts(i int, in bool, va, end x86.Virt) *counts {
	if in {
		return &m.inside[i]
	}
	g := m.strays[i]
	if g == nil {
		g = &stray{first: va}
		m.strays[i] = g
	}
	g.end = end
	return &g.counts
}

// findArea returns the first area that ends above va: the one that holds it, if any does.
func findArea(areas []proc.VMA, va x86.Virt) int {
	return sort.Search(len(areas), func(i int) bool { return areas[i].End > va })
}

// areaAt returns the area that holds va, nil if none does.
func areaAt(areas []proc.VMA, va x86.Virt) *proc.VMA {
	if i := findArea(areas, va); i < len(areas) && areas[i].Start <= va {
		return &areas[i]
	}
	return nil
}

// lines returns the areas and the strays between them, ascending.
func (m *areaMap) lines(procs *proc.Processes, pid int) []*mapLine {
	var all []*mapLine
	for i := 0; i <= len(m.areas); i++ {
		if g := m.strays[i]; g != nil {
			l := newMapLine(pid, "stray", g.first, g.end, &g.counts)
			l.Rss = g.rss()
			all = append(all, l)
		}
		if i < len(m.areas) {
			all = append(all, areaLine(procs, pid, &m.areas[i], &m.inside[i]))
		}
	}
	return all
}

func newMapLine(pid int, kind string, first, end x86.Virt, c *counts) *mapLine {
	return &mapLine{
		PID: pid, Kind: kind, Start: first.String(), End: end.String(), Size: uint64(end - first), counts: c,
		EntryRights: c.rights.names(), first: first, end: end,
	}
}

func areaLine(procs *proc.Processes, pid int, a *proc.VMA, c *counts) *mapLine {
	l := newMapLine(pid, "vma", a.Start, a.End, c)
	l.Perms, l.Flags, l.VMFlags = areaPerms(procs, a), procs.FlagNames(a.Flags), fmt.Sprintf("%#x", a.Flags)
	l.Prot, l.PageProt = protRights(a.Prot).String(), fmt.Sprintf("%#x", uint64(a.Prot))
	l.Offset, l.Name, l.Anon = a.Offset, areaName(a), a.Anon
	if a.File != nil {
		l.Dev = fmt.Sprintf("%02x:%02x", a.File.Dev>>20, a.File.Dev&(1<<20-1))
		l.Inode = a.File.Inode
	}
	if hugetlb := procs.Flag("ht"); a.Flags&hugetlb == 0 {
		l.Rss = c.rss()
	}
	l.Excess = excess(procs, a, c.rights)
	return l
}

// rss returns the pages that smaps counts as Rss: those with a struct page, mapped or named by an entry without P.
//
// Linux: fs/proc/task_mmu.c:smaps_pte_entry()
func (c *counts) rss() uint64 { return c.Resident - c.Special + c.Migration + c.Device + c.HWPoison }

// areaName returns what /proc/PID/maps prints last: the file, or what the memory is for.
func areaName(a *proc.VMA) string {
	if a.Name == "" && a.File != nil {
		return a.File.Path
	}
	return a.Name
}

// areaPerms returns the rights of an area as /proc/PID/maps prints them, "????" if the meaning of its flags is not
// known.
//
// Linux: fs/proc/task_mmu.c:show_vma_header_prefix()
func areaPerms(procs *proc.Processes, a *proc.VMA) string {
	perms := []byte("---p")
	for i, f := range [...]struct {
		code string
		char byte
	}{{"rd", 'r'}, {"wr", 'w'}, {"ex", 'x'}, {"ms", 's'}} {
		bit := procs.Flag(f.code)
		if bit == 0 {
			return "????"
		}
		if a.Flags&bit != 0 {
			perms[i] = f.char
		}
	}
	return string(perms)
}

// protRights returns what entries with a protection permit, if all levels above do.
func protRights(p x86.Prot) Rights {
	if p&x86.PagePresent == 0 {
		return Rights{}
	}
	return Rights{R: true, W: p&x86.PageRW != 0, X: p&x86.PageNX == 0, U: p&x86.PageUser != 0}
}

// excess returns the rights that entries have and their area does not allow. An area that is readable may have no
// entries that only a reader may use, so that reading never counts.
func excess(procs *proc.Processes, a *proc.VMA, set rightSet) string {
	var out []byte
	any := set.anyOf()
	for _, f := range [...]struct {
		code string
		has  bool
		char byte
	}{{"wr", any.W, 'w'}, {"ex", any.X, 'x'}} {
		if bit := procs.Flag(f.code); f.has && bit != 0 && a.Flags&bit == 0 {
			out = append(out, f.char)
		}
	}
	return string(out)
}

// byAddress merges the problems of a walk into the lines.
func (m *areaMap) byAddress(lines []*mapLine, line func(*mapLine) error, problem func(*Problem) error) error {
	problems := slices.Clone(m.problems)
	for _, l := range lines {
		for len(problems) > 0 && problems[0].VA < l.first {
			if err := problem(&problems[0]); err != nil {
				return err
			}
			problems = problems[1:]
		}
		if err := line(l); err != nil {
			return err
		}
	}
	for i := range problems {
		if err := problem(&problems[i]); err != nil {
			return err
		}
	}
	return nil
}
