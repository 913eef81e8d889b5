package linux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// AllRoots is what a search of RAM for the roots of address spaces found.
type AllRoots struct {
	// Roots are those of address spaces that map something in the user half, ascending by Kernel. init_mm's are not among them.
	// Why says what was seen.
	Roots []Roots
	// Frames is how many frames of RAM could be read, Unread how many could not.
	Frames, Unread uint64
	// Empty is how many more tables have the kernel's upper half and nothing of a program's below: address spaces that have
	// ended, whose frames were not used again, and the table on which processors start.
	Empty uint64
}

// maxAllRoots bounds what a search returns: more than the kernel has numbers for processes on most machines.
const maxAllRoots = 1 << 17

// ErrTooManyRoots: more tables look like roots than a machine has processes. The memory was altered, or is not Linux's.
var ErrTooManyRoots = errors.New("too many root tables")

// FindAllRoots searches RAM for the root tables of all address spaces: frames whose upper half is that of init_mm's root.
// sys must have the latter. progress, if not nil, is told which part is done. The error is [ErrNoRoot], ctx's, or
// [ErrTooManyRoots], with which the result holds what was found.
//
// Linux copies the upper half of init_mm's root into each root that it makes. What is added to init_mm's later is
// copied when it is first needed, so an entry that a process has not used may be missing; those of the kernel image and the
// direct map never are. The entry of the LDTs is each process's own. Kernel threads have no root; but one address space
// without a process may be among those found, through which Linux changes its own code (poking_mm).
//
// With PTI, the user roots, one frame behind, are found through [FindRoots]. Filtered captures may lack them; Why says so.
//
// Linux: arch/x86/mm/pgtable.c:pgd_ctor(); arch/x86/mm/init_64.c:sync_global_pgds(); arch/x86/mm/fault.c:vmalloc_fault()
func FindAllRoots(ctx context.Context, mem physmem.Reader, sys *System, progress func(float64)) (*AllRoots, error) {
	return findAllRoots(ctx, mem, sys, progress, maxAllRoots)
}

func findAllRoots(ctx context.Context, mem physmem.Reader, sys *System, progress func(float64), limit int) (*AllRoots, error) {
	if sys.InitMM == nil {
		return nil, fmt.Errorf("init_mm: %w", ErrNoRoot)
	}
	u, err := newUpperHalf(mem, sys)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	out := &AllRoots{}
	err = scanRAM(ctx, mem, progress, func() func(chunk) error {
		return func(c chunk) error {
			found := u.search(mem, c)
			mu.Lock()
			defer mu.Unlock()
			out.Roots = append(out.Roots, found.Roots...)
			out.Frames, out.Unread, out.Empty = out.Frames+found.Frames, out.Unread+found.Unread, out.Empty+found.Empty
			if len(out.Roots) > limit {
				return ErrTooManyRoots
			}
			return nil
		}
	})
	slices.SortFunc(out.Roots, func(a, b Roots) int { return cmp.Compare(a.Kernel, b.Kernel) })
	if err != nil && !errors.Is(err, ErrTooManyRoots) {
		return nil, err
	}
	return out, err
}

const (
	upperFirst = x86.EntriesPerTable / 2
	upperTop   = x86.EntriesPerTable - 1
)

// upperHalf is what the upper half of a root must look like.
type upperHalf struct {
	abi    *x86.ABI
	self   x86.PFN       // init_mm's root
	pti    bool          // it has a user copy
	want   physmem.Table // without the bits that the processor sets
	needed []int         // entries that every root has, the top one first
	ldt    int
}

func newUpperHalf(mem physmem.Reader, sys *System) (*upperHalf, error) {
	u := &upperHalf{abi: sys.ABI, self: sys.InitMM.Kernel.PFN(), pti: sys.InitMM.PTI}
	if err := physmem.ReadTable(mem, u.self, &u.want); err != nil {
		return nil, fmt.Errorf("init_mm's root: %w", err)
	}
	for i, e := range u.want {
		u.want[i] = steady(e)
	}
	root, l := sys.ABI.Paging().Root(), sys.Layout
	u.ldt = l.geo.ldt.Index(root)
	u.needed = []int{upperTop}
	if l.DirectMap.Found {
		for i := l.DirectMap.Addr.Index(root); i <= (l.DirectMapEnd - 1).Index(root); i++ {
			u.needed = append(u.needed, i)
		}
	}
	for _, i := range u.needed {
		if u.want[i]&x86.PagePresent == 0 {
			return nil, fmt.Errorf("init_mm's root at %v: entry %d, which maps the kernel image or RAM, is not present", sys.InitMM.Kernel, i)
		}
	}
	return u, nil
}

// steady returns an entry without what the processor changes in it.
func steady(e uint64) uint64 { return e &^ (x86.PageAccessed | x86.PageDirty) }

// search looks for roots in a chunk.
func (u *upperHalf) search(mem physmem.Reader, c chunk) AllRoots {
	var out AllRoots
	var t physmem.Table
	for pfn := c.first; pfn < c.end; pfn++ {
		if physmem.ReadTable(mem, pfn, &t) != nil {
			out.Unread++
			continue
		}
		out.Frames++
		if !u.plausible(&t) || pfn == u.self {
			continue
		}
		missing, ok := u.compare(&t)
		switch {
		case !ok:
		case !u.usedBelow(&t):
			out.Empty++
		default:
			out.Roots = append(out.Roots, u.roots(mem, pfn, missing))
		}
	}
	return out
}

// plausible compares the few entries that every root has.
func (u *upperHalf) plausible(t *physmem.Table) bool {
	for _, i := range u.needed {
		if steady(t[i]) != u.want[i] {
			return false
		}
	}
	return true
}

// compare compares the whole upper half. missing are the entries that only init_mm's root has.
func (u *upperHalf) compare(t *physmem.Table) (missing []int, ok bool) {
	for i := upperFirst; i < x86.EntriesPerTable; i++ {
		switch {
		case steady(t[i]) == u.want[i] || i == u.ldt:
		case t[i] == 0:
			missing = append(missing, i)
		default:
			return nil, false
		}
	}
	return missing, true
}

// usedBelow reports whether the user half has an entry that is a program's. The tables on which processors start and EFI
// runs have the kernel's entries there, for the same memory as in the upper half.
//
// Linux: arch/x86/realmode/init.c:setup_real_mode(); arch/x86/mm/kaslr.c:init_trampoline_kaslr()
func (u *upperHalf) usedBelow(t *physmem.Table) bool {
	const program = x86.PagePresent | x86.PageUser
	for _, e := range t[:upperFirst] {
		if e&program == program && !slices.Contains(u.want[upperFirst:], steady(e)) {
			return true
		}
	}
	return false
}

// roots makes a finding of a root.
func (u *upperHalf) roots(mem physmem.Reader, pfn x86.PFN, missing []int) Roots {
	why := "its upper half is that of init_mm's root"
	if len(missing) > 0 {
		why = fmt.Sprintf("%s, less entries %d, which init_mm's got later", why, missing)
	}
	r, err := FindRoots(mem, u.abi, uint64(pfn.Phys()))
	if err != nil || r.Kernel.PFN() != pfn {
		r = Roots{Kernel: pfn.Phys(), User: pfn.Phys(), Why: "no PTI: it maps the whole kernel"}
	}
	if u.pti && !r.PTI {
		r.Why = "PTI is on, but there is no user root in the frame behind: " + r.Why
	}
	r.Why = why + "; " + r.Why
	return r
}
