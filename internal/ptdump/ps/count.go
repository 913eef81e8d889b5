package ps

import (
	"context"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Counts says what entries are. Unless its comment says otherwise a figure is in pages of 4 KiB: a leaf of 2 MiB
// counts 512. The JSON names are stable.
type Counts struct {
	Resident   uint64 `json:"resident"`   // mapped, whoever may touch them: PROT_NONE and the zero page too
	Swapped    uint64 `json:"swapped"`    // in a slot of a swap device
	Huge       uint64 `json:"huge"`       // of the resident: by leaves of 2 MiB and 1 GiB
	UffdWP     uint64 `json:"uffd_wp"`    // write-protected through userfaultfd, resident or not, by markers too
	SoftDirty  uint64 `json:"soft_dirty"` // the entry has the soft-dirty bit, resident or not
	Writable   uint64 `json:"writable"`   // of the resident: effectively
	Executable uint64 `json:"executable"` // of the resident: effectively
	Dirty      uint64 `json:"dirty"`      // of the resident: D or SAVED_DIRTY
	Accessed   uint64 `json:"accessed"`   // of the resident
	Protnone   uint64 `json:"protnone"`   // of the resident: PROT_NONE, or waiting for a NUMA fault
	Special    uint64 `json:"special"`    // of the resident: without a struct page, or the zero page; Rss leaves them out
	Migration  uint64 `json:"migration"`
	Device     uint64 `json:"device"` // device-private and device-exclusive
	HWPoison   uint64 `json:"hwpoison"`
	Markers    uint64 `json:"markers"`  // remarks about places without a page
	Other      uint64 `json:"other"`    // swap-in errors, and what has no meaning
	HugePMD    uint64 `json:"huge_pmd"` // leaves of 2 MiB
	HugePUD    uint64 `json:"huge_pud"` // leaves of 1 GiB

	rights rightSet
}

// figures are the figures by name, in the order of the output.
var figures = []struct {
	name string
	of   func(*Counts) uint64
}{
	{"resident", func(c *Counts) uint64 { return c.Resident }},
	{"swapped", func(c *Counts) uint64 { return c.Swapped }},
	{"huge", func(c *Counts) uint64 { return c.Huge }},
	{"uffd_wp", func(c *Counts) uint64 { return c.UffdWP }},
	{"soft_dirty", func(c *Counts) uint64 { return c.SoftDirty }},
	{"writable", func(c *Counts) uint64 { return c.Writable }},
	{"executable", func(c *Counts) uint64 { return c.Executable }},
	{"dirty", func(c *Counts) uint64 { return c.Dirty }},
	{"accessed", func(c *Counts) uint64 { return c.Accessed }},
	{"protnone", func(c *Counts) uint64 { return c.Protnone }},
	{"special", func(c *Counts) uint64 { return c.Special }},
	{"migration", func(c *Counts) uint64 { return c.Migration }},
	{"device", func(c *Counts) uint64 { return c.Device }},
	{"hwpoison", func(c *Counts) uint64 { return c.HWPoison }},
	{"markers", func(c *Counts) uint64 { return c.Markers }},
	{"other", func(c *Counts) uint64 { return c.Other }},
	{"huge_pmd", func(c *Counts) uint64 { return c.HugePMD }},
	{"huge_pud", func(c *Counts) uint64 { return c.HugePUD }},
}

// add counts n entries of s, which has at least so many.
func (c *Counts) add(abi *x86.ABI, s *tree.Stretch, n uint64) {
	if s.IsPage() {
		c.addPages(abi, s, n)
		return
	}
	n *= s.Level.Size() / x86.PageSize
	if s.Swap.UffdWP || s.Swap.Marker&swapentry.MarkerUffdWP != 0 {
		c.UffdWP += n
	}
	if s.Swap.SoftDirty {
		c.SoftDirty += n
	}
	switch s.Kind {
	case tree.KindSwap:
		c.Swapped += n
	case tree.KindMigration:
		c.Migration += n
	case tree.KindDevicePrivate, tree.KindDeviceExclusive:
		c.Device += n
	case tree.KindHWPoison:
		c.HWPoison += n
	case tree.KindMarker:
		c.Markers += n
	default:
		c.Other += n
	}
}

func (c *Counts) addPages(abi *x86.ABI, s *tree.Stretch, entries uint64) {
	n := entries * (s.Level.Size() / x86.PageSize)
	c.Resident += n
	c.rights.add(s.Rights)
	switch s.Level {
	case x86.LevelPMD:
		c.Huge += n
		c.HugePMD += entries
	case x86.LevelPUD:
		c.Huge += n
		c.HugePUD += entries
	}
	if s.Rights.W {
		c.Writable += n
	}
	if s.Rights.X {
		c.Executable += n
	}
	if s.Kind == tree.KindProtnone {
		c.Protnone += n
	}
	for _, f := range [...]struct {
		bits uint64
		to   *uint64
	}{
		{x86.PageUffdWP, &c.UffdWP}, {x86.PageSoftDirty, &c.SoftDirty}, {x86.PageAccessed, &c.Accessed},
		{x86.PageDirty | abi.SavedDirtyMask(), &c.Dirty}, {specialMask(abi, s.Level), &c.Special},
	} {
		if s.Raw&f.bits != 0 {
			*f.to += n
		}
	}
}

// specialMask returns the bit that says that the kernel knows no page behind an entry of the level, or does not count it.
func specialMask(abi *x86.ABI, l x86.Level) uint64 {
	if l > x86.LevelPTE && !abi.Kernel().HugeSpecial {
		return 0
	}
	return x86.PageSpecial
}

// sum adds all figures of o.
func (c *Counts) sum(o *Counts) {
	for _, f := range [...][2]*uint64{
		{&c.Resident, &o.Resident}, {&c.Swapped, &o.Swapped}, {&c.Huge, &o.Huge}, {&c.UffdWP, &o.UffdWP},
		{&c.SoftDirty, &o.SoftDirty}, {&c.Writable, &o.Writable}, {&c.Executable, &o.Executable}, {&c.Dirty, &o.Dirty},
		{&c.Accessed, &o.Accessed}, {&c.Protnone, &o.Protnone}, {&c.Special, &o.Special}, {&c.Migration, &o.Migration},
		{&c.Device, &o.Device}, {&c.HWPoison, &o.HWPoison}, {&c.Markers, &o.Markers}, {&c.Other, &o.Other},
		{&c.HugePMD, &o.HugePMD}, {&c.HugePUD, &o.HugePUD},
	} {
		*f[0] += *f[1]
	}
	c.rights |= o.rights
}

// rightSet is the set of effective rights that entries have: a bit for each combination.
type rightSet uint16

func (s *rightSet) add(r tree.Rights) {
	i := 0
	for _, on := range [...]bool{r.R, r.W, r.X, r.U} {
		i <<= 1
		if on {
			i |= 1
		}
	}
	*s |= 1 << i
}

// names returns the combinations, those with the fewest rights first.
func (s rightSet) names() []string {
	names := []string{}
	for i := range 16 {
		if s>>i&1 != 0 {
			names = append(names, tree.Rights{R: i&8 != 0, W: i&4 != 0, X: i&2 != 0, U: i&1 != 0}.String())
		}
	}
	return names
}

// anyOf returns every right that some entry has.
func (s rightSet) anyOf() (r tree.Rights) {
	for i := range 16 {
		if s>>i&1 != 0 {
			r.R, r.W, r.X, r.U = r.R || i&8 != 0, r.W || i&4 != 0, r.X || i&2 != 0, r.U || i&1 != 0
		}
	}
	return r
}

// spaceCounts is what the tables of one address space come to.
type spaceCounts struct {
	Counts
	tables   uint64 // below the root
	problems []pgtable.Problem
	abi      *x86.ABI
}

func (c *spaceCounts) Table(t *pgtable.Table) bool {
	if t.Parent != 0 && !t.Repeat {
		c.tables++
	}
	return true
}

func (c *spaceCounts) Stretch(s *tree.Stretch)    { c.add(c.abi, s, s.N) }
func (c *spaceCounts) Problem(p *pgtable.Problem) { c.problems = append(c.problems, *p) }

// countSpace walks the user half of the space.
func countSpace(ctx context.Context, s *space.Space) (*spaceCounts, error) {
	c := &spaceCounts{abi: s.ABI}
	f := s.UserHalf()
	if err := s.Stretches(ctx, f.Bounds(), c); err != nil {
		return c, s.RootProblem(ctx, err, &c.problems)
	}
	return c, nil
}
