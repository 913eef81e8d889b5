package who

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// Answer is what ptdump who prints of one target: the target itself, then every place that names it.
type Answer struct {
	about  about
	places []*place
}

// about says what a target is; its JSON form is stable.
type about struct {
	Kind   string  `json:"kind"` // "frame", or "slot"
	Target string  `json:"target"`
	PA     string  `json:"pa,omitempty"`
	PFN    *uint64 `json:"pfn,omitempty"`
	Device *uint8  `json:"device,omitempty"`
	Offset *uint64 `json:"offset,omitempty"`
	Count  uint64  `json:"count"` // of frames or slots
	// InRAM is how many of the frames are memory of the machine, as the capture's list of memory and the direct map say;
	// Captured, how many are in that list; Content, whether the capture holds the first: "yes", "excluded" or "absent".
	InRAM    uint64 `json:"in_ram"`
	Captured uint64 `json:"-"`
	Content  string `json:"content,omitempty"`
	ramKnown bool   // what is not in InRAM is no memory
	// Mappings are the pages that map the frames; NotPresent, those of entries without P that name them. Slots have
	// only the latter. Processes have them.
	Mappings   uint64 `json:"mappings"`
	NotPresent uint64 `json:"not_present"`
	Processes  int    `json:"processes"`
	Tables     int    `json:"tables"` // page tables that lie in the frames
}

// place is one place that names a frame or slot; its JSON form is stable.
type place struct {
	Target string `json:"target"` // as the command line has it
	// Kind is that of the entry, or "table" for a page table in the frame: then VA is the first address that it
	// translates, Level that of its entries, and Raw the entry that leads to it.
	Kind    string       `json:"kind"`
	PA      string       `json:"pa,omitempty"`
	PFN     *uint64      `json:"pfn,omitempty"`
	Size    uint64       `json:"size"` // bytes; what continues in the next entry of a table is one place
	PID     *int         `json:"pid"`  // nil for the kernel
	Comm    string       `json:"comm"`
	VA      string       `json:"va"` // of the first page that maps the frame
	Level   string       `json:"level"`
	Right   *tree.Rights `json:"rights,omitempty"`
	Bits    []string     `json:"bits,omitempty"`
	Raw     string       `json:"raw"`
	EntryPA string       `json:"entry_pa,omitempty"`
	// Region is what of the kernel's half the address lies in, and which tables map it, if they are not init_mm's.
	Region string    `json:"region,omitempty"`
	Area   *areaJSON `json:"area,omitempty"`
	Swap   *swapJSON `json:"swap,omitempty"`

	hit   *hit
	stray bool // areas are known, and it lies in none
}

// areaJSON is the area that an address lies in.
type areaJSON struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Perms string `json:"perms"`
	Name  string `json:"name"`
}

// swapJSON is what an entry without P says besides.
type swapJSON struct {
	Type      uint8  `json:"type"`
	Offset    uint64 `json:"offset"`
	UffdWP    bool   `json:"uffd_wp"`
	SoftDirty bool   `json:"soft_dirty"`
	Exclusive bool   `json:"exclusive"`
	Access    string `json:"access,omitempty"` // of a migration entry: how the page was mapped
	Write     *bool  `json:"write,omitempty"`  // of a device entry
}

// Search is the address spaces that are asked who maps something.
type Search struct {
	Tree     *tree.Tree // any of the capture
	Spaces   *space.Machine
	UserOnly bool // not the kernel's half
	Workers  space.Workers
	Tally    *entries.Tally // problems are added to it

	most int64 // extents that are held at a time; 0 for maxExtents
}

// Find answers all targets with one walk over all address spaces.
func (s *Search) Find(ctx context.Context, targets []Target) ([]*Answer, error) {
	want := wantedOf(targets)
	parts := partsOf(s.Spaces, s.UserOnly)
	found := make([]*visitor, len(parts))
	var total atomic.Int64
	err := s.Workers.Each(ctx, "searching", len(parts), func(i int) (err error) {
		found[i], err = parts[i].who(ctx, want, &total)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, v := range found {
		for i := range v.problems {
			s.Tally.Problem(&v.problems[i])
		}
	}
	b := &builder{procs: s.Spaces.Procs, markers: s.Tree.System.Markers(), s: s.Tree, ram: s.directMapped(ctx, want)}
	var all []*Answer
	for i := range targets {
		all = append(all, b.answer(&targets[i], parts, found))
	}
	return all, nil
}

// builder makes answers of hits.
type builder struct {
	procs   *proc.Processes
	markers []linux.Marker
	s       *tree.Tree
	ram     mapped
}

func (b *builder) answer(t *Target, parts []treePart, found []*visitor) *Answer {
	a := &Answer{about: b.about(t)}
	pids := map[*proc.Process]bool{}
	for i, v := range found {
		for j := range v.hits {
			h, ok := v.hits[j].of(t)
			if !ok {
				continue
			}
			if h.kind == kindTable {
				a.about.Tables++
			}
			for _, p := range parts[i].users() {
				if h.kind != kindTable {
					if h.notPresent() {
						a.about.NotPresent += h.pages
					} else {
						a.about.Mappings += h.pages
					}
					if p != nil {
						pids[p] = true
					}
				}
				a.places = append(a.places, b.place(t, &parts[i], p, &h))
			}
		}
	}
	a.about.Processes = len(pids)
	return a
}

// users returns the processes that run on the tables; for the kernel, a nil one.
func (p *treePart) users() []*proc.Process {
	if len(p.Procs) == 0 {
		return []*proc.Process{nil}
	}
	return p.Procs
}

// about says what a target is, without its places.
func (b *builder) about(t *Target) about {
	a := about{Kind: "frame", Target: t.arg, Count: t.last - t.first + 1}
	if t.swap {
		a.Kind, a.Device, a.Offset = "slot", &t.device, &t.first
		return a
	}
	first := x86.PFN(t.first)
	a.PFN, a.PA = &t.first, first.Phys().String()
	asked := []physmem.Range{{Start: first.Phys(), End: x86.PFN(t.last + 1).Phys()}}
	a.Captured = physmem.TotalLen(physmem.Intersect(b.s.Mem.Ranges(), asked)) / x86.PageSize
	a.InRAM = physmem.TotalLen(physmem.Intersect(b.ram.ranges(b.s.Mem.Ranges()), asked)) / x86.PageSize
	a.ramKnown = b.ram.known && first.Phys() >= lowEnd
	var frame physmem.Frame
	switch err := b.s.Mem.ReadFrame(first, &frame); {
	case err == nil:
		a.Content = "yes"
	case errors.Is(err, physmem.ErrExcluded):
		a.Content = "excluded"
	default:
		a.Content = "absent"
	}
	return a
}

func (b *builder) place(t *Target, part *treePart, p *proc.Process, h *hit) *place {
	one := *h
	w := &place{
		Target: t.arg, Kind: string(h.kind), Size: h.pages * x86.PageSize, Comm: "kernel", VA: h.va.String(),
		Level: h.level.String(), Raw: string(report.AppendHex16(nil, h.raw)), hit: &one,
	}
	if h.device == noDevice {
		w.PFN, w.PA = &one.number, x86.PFN(h.number).Phys().String()
	}
	if h.entry != 0 {
		w.EntryPA = h.entry.String()
	}
	if p != nil {
		w.Comm = p.Comm
		if p.PID >= 0 {
			w.PID = &p.PID
		}
	}
	switch {
	case part.what != "" && h.kind == kindTable && h.entry == 0:
		w.Region = part.what
	case part.what != "":
		w.Region = linux.RegionAt(b.markers, h.va).Name
		if part.what != partKernel {
			w.Region += " (" + part.what + ")"
		}
	case h.kind != kindTable:
		w.Area = b.area(part.MM, h.va)
		w.stray = w.Area == nil && part.MM != nil && (len(part.MM.Areas) > 0 || part.MM.Addr != 0 && part.MM.AreasErr == "")
	}
	if h.kind == kindTable {
		w.Size = x86.PageSize
		if h.entry == 0 {
			w.Kind = "root"
		}
		return w
	}
	w.Right = &one.rights
	w.Bits = h.kind.AppendFlags(b.s.ABI, []string{}, h.level, h.raw)
	w.Swap = b.swap(h)
	return w
}

func (b *builder) area(mm *proc.MM, va x86.Virt) *areaJSON {
	if mm == nil {
		return nil
	}
	a := space.AreaAt(mm.Areas, va)
	if a == nil {
		return nil
	}
	return &areaJSON{a.Start.String(), a.End.String(), space.AreaPerms(b.procs, a), space.AreaName(a)}
}

func (b *builder) swap(h *hit) *swapJSON {
	switch h.kind {
	case tree.KindPresent, tree.KindProtnone, tree.KindUnknown:
		return nil
	}
	e := b.s.Layout.Decode(h.level, h.raw)
	s := &swapJSON{Type: e.Type, Offset: e.PagemapOffset() + h.offset, UffdWP: e.UffdWP, SoftDirty: e.SoftDirty, Exclusive: e.Exclusive}
	switch h.kind {
	case tree.KindMigration:
		s.Access = e.Access.String()
	case tree.KindDevicePrivate, tree.KindDeviceExclusive:
		s.Write = &e.Write
	}
	return s
}

// text is one line about a target.
func (a *about) text() string {
	if a.Kind == "slot" {
		return fmt.Sprintf("swap device %d slot %s: %s", *a.Device, numbers(*a.Offset, a.Count),
			report.Count(int(a.NotPresent), "entry", "entries")) + a.users()
	}
	memory := "memory"
	switch {
	case a.InRAM == 0 && !a.ramKnown:
		memory = "not in the capture"
	case a.InRAM == 0:
		memory = "not memory"
	case a.Captured == 0:
		memory = "memory, not in the capture"
	case a.InRAM < a.Count:
		memory = fmt.Sprintf("%d of %d frames are memory", a.InRAM, a.Count)
	case a.Content != "yes":
		memory = "memory, " + a.Content + " from the capture"
	}
	text := fmt.Sprintf("frame %s (%s): %s; %s", numbers(*a.PFN, a.Count), a.PA, memory, report.Plural(int(a.Mappings), "mapping"))
	if a.NotPresent > 0 {
		text += ", " + report.Count(int(a.NotPresent), "entry that is not present", "entries that are not present")
	}
	return text + a.users()
}

func (a *about) users() string {
	if a.Processes == 0 {
		return ""
	}
	return ", in " + report.Count(a.Processes, "process", "processes")
}

// numbers spells n numbers from first on.
func numbers(first, n uint64) string {
	if n == 1 {
		return fmt.Sprintf("%#x", first)
	}
	return fmt.Sprintf("%#x-%#x", first, first+n-1)
}
