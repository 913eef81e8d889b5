package mm_test

import (
	"slices"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

// The model: what a program would say of its memory that knows nothing of page tables. Every page holds one byte 4096
// times over, or one of a few where Linux leaves it open.

// tri is what is known of a page.
type tri uint8

const (
	no tri = iota
	yes
	unknown
)

// mfile is what can be mapped shared: pages by index, with all values that they ever had, the last one counting.
type mfile struct {
	name  string
	pages int
	shmem bool
	was   map[int][]byte
}

func (f *mfile) history(i int) []byte {
	if f.was[i] == nil {
		f.was[i] = []byte{0}
	}
	return f.was[i]
}

func (f *mfile) set(i int, v byte) { f.was[i] = append(f.history(i), v) }

// mpage is a page of a process: a place in its address space where something is mapped.
type mpage struct {
	r, w, x bool
	shared  bool
	file    *mfile // nil: private anonymous
	index   int    // of the file's page
	private bool   // has a value of its own
	values  []byte // then: those that it may have, else zeros
	since   int    // of a private mapping of a file: it may have been copied when the file's history had this length; 0: not
	also    []byte // with since: what a page of its own may contain instead
	freed   bool   // may become zeros any time
	age     int    // counts the pages that were here
	zero    bool   // the zero page in a private mapping of a file: goes with the file's page

	missing, wp    bool // registered with userfaultfd
	protected, has tri  // write-protected; populated
	guard, poison  bool
	locked         bool
	dontFork, wipe bool
}

// may returns the values that a read may find.
func (p *mpage) may() []byte {
	switch {
	case p.private:
		return p.values
	case p.file == nil:
		return []byte{0}
	}
	h := p.file.history(p.index)
	if p.shared || p.since == 0 {
		return h[len(h)-1:]
	}
	return slices.Concat(h[p.since-1:], p.also)
}

// set is a write of the process.
func (p *mpage) set(v byte) {
	p.has, p.freed, p.zero = yes, false, false
	if p.shared {
		p.file.set(p.index, v)
		return
	}
	p.private, p.values, p.also = true, []byte{v}, nil
}

// mayCopy: a private mapping of a file may have got a page of its own, unwritten.
func (p *mpage) mayCopy() {
	if p.file != nil && !p.shared && !p.private && p.since == 0 {
		p.since = len(p.file.history(p.index))
	}
}

// mayBe: the page may contain what a write that is under way stores, or not.
func (p *mpage) mayBe(v byte) {
	if p.file != nil && !p.private {
		p.mayCopy()
		p.also = append(p.also, v)
		return
	}
	p.private, p.values = true, append(slices.Clone(p.may()), v)
}

// refused: a write was refused by userfaultfd. At a marker, that comes after a page was put there: in a private mapping of a
// file one of its own.
func (p *mpage) refused() {
	p.mayCopy()
	if p.has == no {
		p.has = unknown
	}
}

// zapped: what the process wrote is gone, what backs the page is to be seen.
func (p *mpage) zapped() {
	p.age++
	p.private, p.values, p.also, p.since, p.freed, p.has, p.poison = false, nil, nil, 0, false, no, false
	if p.file == nil {
		p.protected = no
	} else if p.has = unknown; p.protected == yes {
		p.protected = unknown
	}
}

// mayBeZapped: or not.
func (p *mpage) mayBeZapped() {
	p.age++
	old := p.may()
	if p.file == nil {
		p.private, p.values = true, append(slices.Clone(old), 0)
	} else {
		p.mayCopy()
	}
	p.has = unknown
	if p.protected == yes {
		p.protected = unknown
	}
}

// lazilyFreed: the page may be zeros from now on, until it is written.
func (p *mpage) lazilyFreed() {
	if p.poison && p.file == nil {
		p.zapped()
	}
	if p.file == nil {
		p.private, p.values, p.freed = true, append(slices.Clone(p.may()), 0), true
		p.mayBeZapped()
	}
}

// proc is a process.
type proc struct {
	name   string
	pages  map[x86.Virt]*mpage
	uffd   bool
	async  bool
	marks  bool // write protection leaves markers in anonymous memory
	forks  bool // children stay registered
	remaps bool // what mremap moves stays registered
	// modes that its areas are registered with: the same all its life
	missing, wp bool
}

// region is a name of the language: addresses.
type region struct {
	name  string
	va    x86.Virt
	pages int
}

func (r *region) at(i int) x86.Virt { return r.va + x86.Virt(i)*x86.PageSize }

// handle is pages that are pinned for writing: who has it sees what the process sees, as long as that has the page.
type handle struct {
	name  string
	page  *mpage // nil: it is not said what it shows
	age   int    // of page
	file  *mfile // of a shared page
	index int
}

// outcomes returns how an access to the page may end: "" is success.
func (p *mpage) outcomes(by *proc, write bool) []string {
	switch {
	case p == nil:
		return []string{"segv-map"}
	case write && !p.w, !p.r && !p.w && !p.x:
		return []string{"segv-access"}
	case p.guard:
		return []string{"segv-map", "segv-access"}
	case p.poison:
		return []string{"hwpoison"}
	case p.file != nil && p.index >= p.file.pages && !p.private && p.since == 0:
		return []string{"bus"}
	}
	var may []string
	if p.missing && p.has != yes {
		may = append(may, "uffd-missing")
		if p.has == no {
			return may
		}
	}
	wp := write && p.wp && !by.async
	if wp && p.protected != no {
		may = append(may, "uffd-wp")
	}
	if !wp || p.protected != yes {
		may = append(may, "")
	}
	if p.file != nil && p.index >= p.file.pages {
		may = append(may, "bus")
	}
	return may
}

// fork returns what a child has of the page, nil if nothing.
func (p *mpage) fork(by *proc) *mpage {
	if p.dontFork {
		return nil
	}
	c := *p
	c.locked = false
	c.values, c.also = slices.Clone(p.values), slices.Clone(p.also)
	if p.wipe {
		c.zapped()
		c.guard = false
	}
	if c.has == yes {
		c.has = unknown
	}
	if !by.forks {
		c.missing, c.wp, c.protected = false, false, no
	}
	return &c
}

// step makes a step of an operation.
func step(p *proc, verb string) litmus.Step {
	s := litmus.Step{CPU: litmus.NoCPU, Op: litmus.Op{Verb: verb}}
	if p != nil && p.name != litmus.DefaultProcess {
		s.Process = p.name
	}
	return s
}

func opt(name string) litmus.Option            { return litmus.Option{Name: name} }
func optN(name string, n uint64) litmus.Option { return litmus.Option{Name: name, Num: n} }
func optArg(name, arg string) litmus.Option    { return litmus.Option{Name: name, Arg: arg} }
func pagesOf(r *region, i, n int) litmus.Pages {
	return litmus.Pages{Region: r.name, First: i, Last: i + n - 1}
}
func spanOf(r *region, i, n int) litmus.Span { return litmus.Span{VA: r.at(i), Pages: n} }
