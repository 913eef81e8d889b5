package who

import (
	"context"
	"errors"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptescan"
	"ptemu/linux"
	"ptemu/pgtable"
)

// extent is frames that follow one another and are mapped one after the other, with the same rights, in one part of
// the capture; or one frame that is mapped many times in a row.
type extent struct {
	first x86.PFN
	pages uint32 // of 4 KiB
	times uint32 // how often each is mapped
	part  uint32
	flags extentFlags
}

// extentFlags say how.
type extentFlags uint8

const (
	extentR extentFlags = 1 << iota
	extentW
	extentX
	extentU
	extentDirect     // by the direct map
	extentNotPresent // named by an entry without P: no page, or one that the kernel took out of its mapping
)

func flagsOf(r tree.Rights) extentFlags {
	var f extentFlags
	for _, b := range [...]struct {
		on   bool
		flag extentFlags
	}{{r.R, extentR}, {r.W, extentW}, {r.X, extentX}, {r.U, extentU}} {
		if b.on {
			f |= b.flag
		}
	}
	return f
}

func (f extentFlags) rights() tree.Rights {
	return tree.Rights{R: f&extentR != 0, W: f&extentW != 0, X: f&extentX != 0, U: f&extentU != 0}
}

// extentVisitor collects the extents of one part.
type extentVisitor struct {
	ctx      context.Context
	pile     *extentPile
	part     int
	pieces   int
	decoder  tree.Decoder
	frame    uint64 // mask of a PTE
	runs     x86.PTERuns
	kinds    x86.PTEKinds
	sorted   ptescan.Sorted
	breaks   ptescan.Bitmap
	leaf     tree.Leaf
	kernel   bool
	direct   pgtable.Range // the direct map
	out      []extent
	problems []pgtable.Problem
}

// extents collects those of one part of the capture.
func (p treePart) extents(ctx context.Context, pile *extentPile, number int) ([]pgtable.Problem, error) {
	abi := p.ABI
	v := &extentVisitor{
		ctx: ctx, pile: pile, part: number, decoder: p.Decoder(), frame: abi.FrameMask(x86.LevelPTE), kinds: abi.Kinds(),
		kernel: p.what == partKernel || p.what == partKernelPTI, direct: directMap(p.System),
	}
	v.runs = abi.Runs(^uint64(x86.PagePresent|x86.PageProtnone|x86.PageRW|x86.PageUser|x86.PageNX), true)
	v.runs.Attributes |= abi.ReservedBits(x86.LevelPTE, ^uint64(0))
	var err error
	if v.out, err = pile.take(); err != nil {
		return nil, err
	}
	err = pgtable.Walk(p.Mem, abi, p.Root.PFN(), p.r, v)
	pile.put(number, v.pieces, v.out)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errTooMany) {
		err = p.RootProblem(ctx, err, &v.problems)
	}
	return v.problems, err
}

// directMap returns the addresses of the direct map, an empty range if it is not known.
func directMap(sys *linux.System) pgtable.Range {
	if sys == nil || sys.Layout.DirectMapEnd == 0 {
		return pgtable.Range{First: 1}
	}
	return pgtable.Range{First: sys.Layout.DirectMap.Addr, Last: sys.Layout.DirectMapEnd - 1}
}

// Enter passes over tables of the kernel's half that were visited before: see the help.
func (v *extentVisitor) Enter(t *pgtable.Table) (bool, error) {
	return !(t.Repeat && v.kernel), v.ctx.Err()
}

func (v *extentVisitor) Leave(*pgtable.Table) error { return nil }

func (v *extentVisitor) Problem(p *pgtable.Problem) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	v.problems = append(v.problems, *p)
	return nil
}

func (v *extentVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	return v.decoded(t, i)
}

// decoded adds what the entry in slot i of t names, if it names a frame.
func (v *extentVisitor) decoded(t *pgtable.Table, i int) error {
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	if !l.HasPFN {
		return nil
	}
	flags := flagsOf(l.Rights)
	if !l.IsPage() || l.NotPresent() {
		flags = extentNotPresent
	}
	return v.add(l.VA, l.PFN, l.Level.Size()/x86.PageSize, flags)
}

func (v *extentVisitor) PTEs(t *pgtable.Table) error {
	table := (*ptescan.Table)(t.Entries)
	ptescan.Sort(&v.kinds, table, &v.sorted)
	if !v.sorted.Pages.Empty() {
		ptescan.Breaks(&v.runs, table, 0, &v.breaks)
		if err := v.pages(t); err != nil {
			return err
		}
	}
	if v.sorted.Others.Empty() {
		return nil
	}
	for i := v.sorted.Others.Next(t.First); i <= t.Last; i = v.sorted.Others.Next(i + 1) {
		if err := v.decoded(t, i); err != nil {
			return err
		}
	}
	return nil
}

// pages adds the runs of pages in a PTE table.
func (v *extentVisitor) pages(t *pgtable.Table) error {
	for i := v.sorted.Pages.Next(t.First); i <= t.Last; {
		e := t.Entries[i]
		n := min(v.breaks.Next(i+1), t.Last+1) - i
		flags, inverted := extentFlags(0), uint64(0)
		if e&x86.PagePresent == 0 {
			inverted = v.frame
			if t.VA>>63 != 0 {
				flags = extentNotPresent
			}
		} else if v.decoder.ABI.ReservedBits(x86.LevelPTE, e) == 0 {
			a := t.Access.And(e)
			flags = flagsOf(tree.Rights{R: true, W: a.W, X: a.X, U: a.U})
		}
		first := x86.Phys((e ^ inverted) & v.frame).PFN()
		if last := x86.Phys((t.Entries[i+n-1] ^ inverted) & v.frame).PFN(); last != first+x86.PFN(n-1) {
			n = 1 // frame numbers went round
		}
		if err := v.add(t.Addr(i), first, uint64(n), flags); err != nil {
			return err
		}
		i = v.sorted.Pages.Next(i + n)
	}
	return nil
}

// add adds frames that are mapped from va on, as a part of the extent before if they continue that.
func (v *extentVisitor) add(va x86.Virt, first x86.PFN, pages uint64, flags extentFlags) error {
	if va >= v.direct.First && va <= v.direct.Last {
		flags |= extentDirect
	}
	low, high := uint64(first), uint64(first)+pages-1
	if high < v.pile.window.first || low > v.pile.window.last {
		return nil
	}
	low, high = max(low, v.pile.window.first), min(high, v.pile.window.last)
	first, pages = x86.PFN(low), high-low+1
	if n := len(v.out); n > 0 {
		last := &v.out[n-1]
		switch {
		case last.flags != flags:
		case last.times == 1 && last.first+x86.PFN(last.pages) == first && uint64(last.pages)+pages < 1<<32:
			last.pages += uint32(pages)
			return nil
		case last.first == first && uint64(last.pages) == pages && last.times < 1<<32-1:
			last.times++
			return nil
		}
	}
	if len(v.out) == cap(v.out) {
		v.pile.put(v.part, v.pieces, v.out)
		v.pieces++
		var err error
		if v.out, err = v.pile.take(); err != nil {
			return err
		}
	}
	v.out = append(v.out, extent{first, uint32(pages), 1, uint32(v.part), flags})
	return nil
}
