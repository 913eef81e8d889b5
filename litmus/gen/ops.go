package gen

import (
	"slices"

	"ptemu/litmus"
)

// choice is a kind of step and how often it comes, by topic: Mixed, Small, Huge, Uffd, Swap, Shared.
type choice struct {
	weight [topics]int
	make   func(m *maker, process string, r region) bool
}

var choices = []choice{
	{[topics]int{20, 22, 20, 20, 20, 22}, (*maker).write},
	{[topics]int{10, 10, 10, 10, 10, 12}, (*maker).read},
	{[topics]int{1, 1, 1, 1, 1, 1}, (*maker).exec},
	{[topics]int{12, 16, 12, 8, 8, 12}, (*maker).protect},
	{[topics]int{5, 7, 5, 4, 5, 5}, (*maker).fork},
	{[topics]int{2, 3, 2, 2, 2, 2}, (*maker).exit},
	{[topics]int{3, 3, 3, 3, 3, 3}, (*maker).unmap},
	{[topics]int{5, 5, 5, 5, 5, 5}, (*maker).remap},
	{[topics]int{2, 2, 2, 2, 2, 3}, func(m *maker, _ string, _ region) bool { return m.newRegion() }},
	{[topics]int{12, 10, 12, 8, 10, 10}, (*maker).advise},
	{[topics]int{4, 6, 5, 4, 5, 4}, (*maker).clearRefs},
	{[topics]int{4, 2, 6, 3, 10, 6}, (*maker).migrate},
	{[topics]int{7, 4, 8, 7, 18, 6}, (*maker).swapOut},
	{[topics]int{12, 0, 6, 40, 6, 10}, (*maker).userfault},
	{[topics]int{1, 2, 1, 1, 1, 1}, (*maker).pkru},
	{[topics]int{1, 0, 6, 0, 0, 0}, (*maker).collapse},
}

// step makes one step, and reports whether there is one more.
func (m *maker) step() bool {
	sum := 0
	for _, c := range choices {
		sum += c.weight[m.o.Topic]
	}
	n := m.r.IntN(sum)
	process, r := pick(m, m.processes), pick(m, m.regions)
	for _, c := range choices {
		if n -= c.weight[m.o.Topic]; n < 0 {
			return c.make(m, process, r)
		}
	}
	return false
}

// page chooses one page of a region; those of huge ones near the ends and the borders.
func (m *maker) page(r region) litmus.Pages {
	n := m.r.IntN(r.pages)
	if r.pages > 4*smallPages {
		n = pick(m, []int{0, 1, 2, 100, hugePages - 1, hugePages, hugePages + 1, r.pages - 1}) % r.pages
	}
	return litmus.Pages{Region: r.name, First: n, Last: n}
}

// span chooses some pages of a region.
func (m *maker) span(r region) litmus.Pages {
	if m.chance(30) {
		return litmus.Pages{Region: r.name, Whole: true}
	}
	a, b := m.page(r).First, m.page(r).First
	if r.huge && m.chance(50) {
		a = a / hugePages * hugePages
		b = a + hugePages - 1
	}
	return litmus.Pages{Region: r.name, First: min(a, b), Last: min(max(a, b), r.pages-1)}
}

// few chooses some pages, but not very many.
func (m *maker) few(r region) litmus.Pages {
	p := m.page(r)
	p.Last = min(p.First+m.r.IntN(4), r.pages-1)
	return p
}

var prots = []string{"r", "r", "rw", "rw", "rw", "none", "rx", "rwx"}

func (m *maker) newRegion() bool {
	if len(m.regions) >= maxRegions {
		return false
	}
	r := region{name: m.name("a"), pages: smallPages, huge: m.o.Topic == Huge || m.o.Topic == Mixed && m.chance(25)}
	op := litmus.Op{Verb: "map", Name: r.name, Prot: "rw"}
	if m.chance(10) {
		op.Prot = pick(m, prots)
	}
	shared := 15
	if m.o.Topic == Shared {
		shared = 70
	}
	switch {
	case r.huge:
		r.pages = 2 * hugePages
	case m.chance(shared):
		op.Options = m.sharedOptions()
	case len(m.regions) > 0 && !m.regions[len(m.regions)-1].huge && m.chance(30):
		op.Options = []litmus.Option{{Name: "behind", Arg: m.regions[len(m.regions)-1].name}}
	}
	op.Count = r.pages
	process := pick(m, m.processes)
	if !m.add(process, op) {
		return false
	}
	m.regions = append(m.regions, r)
	if r.huge {
		m.add(process, litmus.Op{Verb: "advise", At: litmus.Pages{Region: r.name, Whole: true}, Options: []litmus.Option{word("hugepage")}})
	}
	return true
}

// sharedOptions says what a mapping of shared memory or of a file is.
func (m *maker) sharedOptions() []litmus.Option {
	if m.chance(40) {
		return []litmus.Option{word("shared"), word("anon")}
	}
	if len(m.files) == 0 || m.chance(30) {
		f := litmus.Op{Verb: "file", Name: m.name("f"), Count: smallPages}
		if !m.add(litmus.DefaultProcess, f) {
			return []litmus.Option{word("shared"), word("anon")}
		}
		m.files = append(m.files, f.Name)
	}
	of := litmus.Option{Name: "of", Arg: pick(m, m.files)}
	if m.chance(40) {
		return []litmus.Option{word("private"), of}
	}
	return []litmus.Option{word("shared"), of}
}

func (m *maker) write(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "write", At: m.page(r), Options: []litmus.Option{number("=", m.r.Uint64N(256))}})
}

func (m *maker) read(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "read", At: m.page(r)})
}

func (m *maker) exec(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "exec", At: m.page(r)})
}

func (m *maker) protect(process string, r region) bool {
	op := litmus.Op{Verb: "protect", At: m.span(r), Prot: pick(m, prots)}
	if m.chance(5) {
		op.Options = []litmus.Option{number("pkey", m.r.Uint64N(3))}
	}
	return m.add(process, op)
}

func (m *maker) fork(process string, _ region) bool {
	if len(m.processes) >= maxProcesses {
		return false
	}
	child := m.name("q")
	if !m.add(process, litmus.Op{Verb: "fork", Name: child}) {
		return false
	}
	m.processes = append(m.processes, child)
	return true
}

func (m *maker) exit(process string, _ region) bool {
	if len(m.processes) == 1 || process == litmus.DefaultProcess || !m.add(process, litmus.Op{Verb: "exit"}) {
		return false
	}
	m.processes = slices.DeleteFunc(m.processes, func(s string) bool { return s == process })
	return true
}

func (m *maker) unmap(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "unmap", At: m.span(r)})
}

func (m *maker) remap(process string, r region) bool {
	if len(m.regions) >= maxRegions {
		return false
	}
	at := m.span(r)
	op := litmus.Op{Verb: "remap", At: at, Name: m.name("a")}
	n := at.Last - at.First + 1
	if at.Whole {
		n = r.pages
	}
	switch m.r.IntN(4) {
	case 0:
		op.Options = []litmus.Option{word("dontunmap")}
	case 1:
		n = 1 + m.r.IntN(n)
		op.Options = []litmus.Option{number("pages", uint64(n))}
	}
	if !m.add(process, op) {
		return false
	}
	m.regions = append(m.regions, region{name: op.Name, pages: n, huge: r.huge && n >= hugePages})
	return true
}

var advices = []string{
	"dontneed", "dontneed", "free", "free", "cold", "pageout", "hugepage", "nohugepage", "guard-install", "guard-remove", "populate-read",
	"populate-write", "dontfork", "dofork", "wipeonfork", "keeponfork", "remove",
}

func (m *maker) advise(process string, r region) bool {
	advice := pick(m, advices)
	if slices.Contains(m.o.Without, "advise "+advice) {
		return false
	}
	at := m.span(r)
	if r.huge && advice == "populate-write" {
		at = m.few(r)
	}
	return m.add(process, litmus.Op{Verb: "advise", At: at, Options: []litmus.Option{word(advice)}})
}

func (m *maker) clearRefs(process string, _ region) bool {
	what := "soft-dirty"
	if m.chance(25) {
		what = "referenced"
	}
	return m.add(process, litmus.Op{Verb: "clear-refs", Options: []litmus.Option{word(what)}})
}

func (m *maker) migrate(process string, r region) bool {
	op := litmus.Op{Verb: "migrate", At: m.few(r)}
	if m.chance(50) {
		op.Options = append(op.Options, number("node", m.r.Uint64N(2)))
	}
	if m.chance(30) {
		op.Options = append(op.Options, word("own"))
	}
	return m.add(process, op)
}

func (m *maker) swapOut(process string, r region) bool {
	return m.add(process, litmus.Op{Verb: "swap-out", At: m.span(r)})
}

func (m *maker) pkru(process string, _ region) bool {
	const denyWrite1, denyAll2 = 8, 0x30
	return m.add(process, litmus.Op{Verb: "pkru", Options: []litmus.Option{number("value", pick(m, []uint64{0, denyWrite1, denyAll2}))}})
}

func (m *maker) collapse(process string, r region) bool {
	return r.huge && m.add(process, litmus.Op{Verb: "collapse", At: m.span(r)})
}
