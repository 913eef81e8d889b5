package ps

import (
	"context"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
	"ptemu/pgtable"
)

// Line is a line of ptdump maps: an area with what its entries say, or what entries there are outside of any. Its
// JSON form is stable.
type Line struct {
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
	*Counts
	Rss         uint64   `json:"rss"`          // pages of 4 KiB, as smaps counts them
	EntryRights []string `json:"entry_rights"` // all combinations that occur
	// Excess are the rights that an entry has and the area does not allow: of "wx".
	Excess string `json:"excess,omitempty"`

	first, end x86.Virt
}

// Areas collects what the entries of a space say, area by area.
type Areas struct {
	abi      *x86.ABI
	areas    []proc.VMA
	inside   []Counts       // by area
	strays   map[int]*stray // by the area that they lie before
	Problems []pgtable.Problem
}

// stray is what lies in one gap between areas.
type stray struct {
	Counts
	first, end x86.Virt
}

// AreasOf walks the user half of a space. What it returns besides an error is what was found before that.
func AreasOf(ctx context.Context, s *space.Space) (*Areas, error) {
	m := &Areas{abi: s.ABI, areas: s.MM.Areas, inside: make([]Counts, len(s.MM.Areas)), strays: map[int]*stray{}}
	f := s.UserHalf()
	if err := s.Stretches(ctx, f.Bounds(), (*areaSink)(m)); err != nil {
		return m, s.RootProblem(ctx, err, &m.Problems)
	}
	return m, nil
}

// areaSink is what of Areas a walk sees.
type areaSink Areas

func (m *areaSink) Table(*pgtable.Table) bool  { return true }
func (m *areaSink) Problem(p *pgtable.Problem) { m.Problems = append(m.Problems, *p) }

// Stretch divides a stretch among the areas. An entry belongs to the area that its first address lies in.
func (m *areaSink) Stretch(s *tree.Stretch) {
	size := x86.Virt(s.Level.Size())
	for va, left := s.VA, s.N; left > 0; {
		i := space.FindArea(m.areas, va)
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
func (m *areaSink) counts(i int, in bool, va, end x86.Virt) *Counts {
	if in {
		return &m.inside[i]
	}
	g := m.strays[i]
	if g == nil {
		g = &stray{first: va}
		m.strays[i] = g
	}
	g.end = end
	return &g.Counts
}

// Lines returns the areas and the strays between them, ascending.
func (m *Areas) Lines(procs *proc.Processes, pid int) []*Line {
	var all []*Line
	for i := 0; i <= len(m.areas); i++ {
		if g := m.strays[i]; g != nil {
			l := newLine(pid, "stray", g.first, g.end, &g.Counts)
			l.Rss = g.rss()
			all = append(all, l)
		}
		if i < len(m.areas) {
			all = append(all, areaLine(procs, pid, &m.areas[i], &m.inside[i]))
		}
	}
	return all
}

func newLine(pid int, kind string, first, end x86.Virt, c *Counts) *Line {
	return &Line{
		PID: pid, Kind: kind, Start: first.String(), End: end.String(), Size: uint64(end - first), Counts: c,
		EntryRights: c.rights.names(), first: first, end: end,
	}
}

func areaLine(procs *proc.Processes, pid int, a *proc.VMA, c *Counts) *Line {
	l := newLine(pid, "vma", a.Start, a.End, c)
	l.Perms, l.Flags, l.VMFlags = space.AreaPerms(procs, a), procs.FlagNames(a.Flags), fmt.Sprintf("%#x", a.Flags)
	l.Prot, l.PageProt = protRights(a.Prot).String(), fmt.Sprintf("%#x", uint64(a.Prot))
	l.Offset, l.Name, l.Anon = a.Offset, space.AreaName(a), a.Anon
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
func (c *Counts) rss() uint64 { return c.Resident - c.Special + c.Migration + c.Device + c.HWPoison }

// protRights returns what entries with a protection permit, if all levels above do.
func protRights(p x86.Prot) tree.Rights {
	if p&x86.PagePresent == 0 {
		return tree.Rights{}
	}
	return tree.Rights{R: true, W: p&x86.PageRW != 0, X: p&x86.PageNX == 0, U: p&x86.PageUser != 0}
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
func (m *Areas) byAddress(lines []*Line, line func(*Line) error, problem func(*pgtable.Problem) error) error {
	problems := slices.Clone(m.Problems)
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
