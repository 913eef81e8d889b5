//go:build linux && amd64

package peers

import (
	"encoding/binary"
	"testing"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/ring0/pagetables"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// gvisorSide is page tables of gVisor.
type gvisorSide struct {
	tb   testing.TB
	t    *pagetables.PageTables
	opts [rightsCount]pagetables.MapOpts
}

// newGvisor returns empty tables from allocator a.
func newGvisor(tb testing.TB, a pagetables.Allocator) *gvisorSide {
	levels() // New asks what the processor can do, which must be known by then
	g := &gvisorSide{tb: tb, t: pagetables.New(a)}
	for i := range g.opts {
		r := rights(i)
		g.opts[i] = pagetables.MapOpts{
			AccessType: hostarch.AccessType{Read: true, Write: r&write != 0, Execute: r&exec != 0},
			User:       true,
		}
	}
	return g
}

func (g *gvisorSide) name() string { return sides[1] }

func (g *gvisorSide) put(s span, r rights) (replaced bool) {
	return g.t.Map(hostarch.Addr(s.first), uintptr(s.pages)*x86.PageSize, g.opts[r], uintptr(s.frame.Phys()))
}

func (g *gvisorSide) mapAll(s span, r rights) {
	if g.put(s, r) {
		g.tb.Helper()
		g.tb.Fatalf("gVisor: a page was mapped in %d pages from %v on", s.pages, s.first)
	}
}

func (g *gvisorSide) unmap(s span) {
	g.t.Unmap(hostarch.Addr(s.first), uintptr(s.pages)*x86.PageSize)
	g.t.Allocator.Recycle()
}

func (g *gvisorSide) protect(s span, r rights) { g.put(s, r) }

func given(o pagetables.MapOpts) (r rights) {
	if o.AccessType.Write {
		r |= write
	}
	if o.AccessType.Execute {
		r |= exec
	}
	return r
}

func (g *gvisorSide) lookup(va x86.Virt) (x86.PFN, rights, bool) {
	_, phys, size, opts := g.t.Lookup(hostarch.Addr(va), false)
	return x86.Phys(phys).PFN(), given(opts), size != 0
}

func (g *gvisorSide) lookups(at []x86.Virt) (sum uint64) {
	for _, va := range at {
		pfn, r, _ := g.lookup(va)
		sum += uint64(pfn) + uint64(r)
	}
	return sum
}

func (g *gvisorSide) protectPages(s span, at []x86.Virt, r rights) {
	for _, va := range at {
		g.t.Map(hostarch.Addr(va), x86.PageSize, g.opts[r], uintptr(s.at(va).Phys()))
	}
}

func (g *gvisorSide) setPages(s span, at []x86.Virt, r rights) { g.protectPages(s, at, r) }

func (g *gvisorSide) each(f func(va x86.Virt, pfn x86.PFN, r rights)) {
	for at := hostarch.Addr(0); ; {
		va, phys, size, opts := g.t.Lookup(at, true)
		switch size {
		case 0:
			return
		case x86.PageSize:
		default:
			g.tb.Fatalf("gVisor: a page of %#x bytes at %#x", size, va)
		}
		f(x86.Virt(va), x86.Phys(phys).PFN(), given(opts))
		at = va + x86.PageSize
	}
}

func (g *gvisorSide) unit() (*mmu.MMU, physmem.Reader) {
	mem, ok := g.t.Allocator.(*tables)
	if !ok {
		g.tb.Fatal("these tables have no physical addresses")
	}
	return newUnit(g.tb, g.t.CR3(false, 0)), mem
}

// tables is an allocator that gives tables physical addresses of their own, so that a processor can walk them. A
// freed table cannot be read. Measurements use gVisor's RuntimeAllocator.
type tables struct {
	used        map[x86.PFN]*pagetables.PTEs
	frame       map[*pagetables.PTEs]x86.PFN // of those in use
	freed, pool []*pagetables.PTEs
	next        x86.PFN
}

func newTables() *tables {
	return &tables{used: map[x86.PFN]*pagetables.PTEs{}, frame: map[*pagetables.PTEs]x86.PFN{}, next: 1}
}

func (t *tables) NewPTEs() (p *pagetables.PTEs) {
	if n := len(t.pool); n > 0 {
		p, t.pool = t.pool[n-1], t.pool[:n-1]
	} else {
		p = new(pagetables.PTEs)
	}
	t.used[t.next], t.frame[p] = p, t.next
	t.next++
	return p
}

func (t *tables) PhysicalFor(p *pagetables.PTEs) uintptr { return uintptr(t.frame[p].Phys()) }

func (t *tables) LookupPTEs(physical uintptr) *pagetables.PTEs {
	return t.used[x86.Phys(physical).PFN()]
}

func (t *tables) FreePTEs(p *pagetables.PTEs) {
	delete(t.used, t.frame[p])
	delete(t.frame, p)
	t.freed = append(t.freed, p)
}

func (t *tables) Recycle() { t.pool, t.freed = append(t.pool, t.freed...), nil }

func (t *tables) Ranges() []physmem.Range { return []physmem.Range{{Start: 0, End: t.next.Phys()}} }

func (t *tables) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	p, ok := t.used[pfn]
	if !ok {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	for i, e := range p {
		binary.LittleEndian.PutUint64(dst[8*i:], uint64(e))
	}
	return nil
}
