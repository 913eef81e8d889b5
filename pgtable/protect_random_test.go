package pgtable_test

import (
	"flag"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

var protectSeed = flag.Uint64("protect.seed", 0, "seed for TestChangeProtectionModel; 0: a new one")

// randomWorld makes an area that a kernel of this release could have.
func randomWorld(r *rand.Rand, k x86.Kernel) *world {
	p := x86.DefaultPaging(4 + r.IntN(2))
	p.ShadowStack = r.IntN(4) == 0
	k.DevicePrivate = r.IntN(2) == 0
	w := &world{a: x86.MustABI(k, p), salt: r.Uint64(), folios: r.IntN(3) != 0}
	w.layout = swapentry.NewLayout(w.a)
	shared := r.IntN(3) == 0
	w.anon = !shared && r.IntN(3) != 0
	switch {
	case w.anon:
		w.backing, w.markers = swapentry.BackingAnon, k.Release != "6.1" && r.IntN(2) == 0
	case shared:
		w.backing, w.markers = swapentry.Backing([]swapentry.Backing{swapentry.BackingFile, swapentry.BackingMixed}[r.IntN(2)]), true
	default:
		w.backing, w.markers = swapentry.BackingMixed, true
	}
	if shared {
		w.facts |= x86.ChangeShared
	}
	for _, f := range []x86.ChangeFlags{x86.ChangeAreaUffdWP, x86.ChangeSoftDirtyTracked} {
		if r.IntN(2) == 0 {
			w.facts |= f
		}
	}
	if p.ShadowStack && w.anon && r.IntN(2) == 0 {
		w.facts |= x86.ChangeShadowStack
	}
	if r.IntN(2) == 0 {
		w.bits = pgtable.Exclusive{Base: pageBase + x86.PFN(r.IntN(pageCount)), Bits: make([]uint64, 1+r.IntN(64))}
		for i := range w.bits.Bits {
			w.bits.Bits[i] = r.Uint64()
		}
	}
	return w
}

// pteFlags are the bits that decide about a page, but for P and PROT_NONE.
var pteFlags = []x86.PTE{
	x86.PageRW, x86.PageUser, x86.PageAccessed, x86.PageDirty, x86.PageUffdWP, x86.PageSoftDirty, x86.PageSoftW5,
	x86.PageNX, x86.PageSpecial, x86.PagePCD,
}

// randomFlags returns flags of a page.
func randomFlags(r *rand.Rand) x86.Prot {
	common := []x86.Prot{
		0x8000000000000867, 0x8000000000000865, 0x8400000000000825, 0x8400000000000025, 0x8000000000000025,
		0x8000000000000c65, 0x8400000000000c25, 0x225, 0x120, 0x0400000000000920, 0x122,
	}
	if r.IntN(3) != 0 {
		return common[r.IntN(len(common))]
	}
	e := x86.PTE(x86.PagePresent)
	if r.IntN(4) == 0 {
		e = x86.PageProtnone
	}
	for _, f := range pteFlags {
		if r.IntN(2) == 0 {
			e |= f
		}
	}
	return x86.Prot(e)
}

func randomPage(w *world, r *rand.Rand) x86.PTE {
	return x86.MkPTE(w.a, pageBase+x86.PFN(r.IntN(pageCount)), randomFlags(r))
}

// randomOther returns an entry that is neither page nor empty.
func randomOther(w *world, r *rand.Rand) x86.PTE {
	typ := uint8(r.IntN(32))
	if r.IntN(4) != 0 {
		typ = w.layout.Types().MaxSwapfiles + uint8(r.IntN(int(32-w.layout.Types().MaxSwapfiles)))
	}
	offset := pageBase + uint64(r.IntN(pageCount)) | uint64(r.IntN(4))*w.layout.MigrationYoungMask()
	if typ == w.layout.Types().Marker {
		offset = uint64(r.IntN(8))
	}
	return swapentry.MkSwp(typ, offset).PTE() | x86.PTE(r.IntN(8))<<1
}

func randomHuge(w *world, r *rand.Rand) x86.PMD {
	pfn := pageBase + x86.PFN(r.IntN(pageCount/perTable)*perTable)
	t := w.layout.Types()
	switch r.IntN(6) {
	case 0:
		typ := t.MigrationRead + uint8(r.IntN(3))
		if w.a.Kernel().Release == "7.2" && w.a.Kernel().DevicePrivate && r.IntN(2) == 0 {
			typ = t.DevicePrivateWrite + uint8(r.IntN(2))
			return swapentry.MkSwp(typ, uint64(pfn)).PMD() | x86.PMD(r.IntN(4))<<1
		}
		return swapentry.MkSwp(typ, uint64(pfn)|uint64(r.IntN(4))*w.layout.MigrationYoungMask()).PMD() | x86.PMD(r.IntN(4))<<1
	case 1:
		if w.anon {
			e := x86.MkPMD(w.a, hugeZero, x86.ProtReadonly).MkHuge()
			if r.IntN(2) == 0 {
				e = e.MkUffdWP(w.a)
			}
			return e
		}
	}
	return x86.MkPMD(w.a, pfn, randomFlags(r)&^x86.PageSpecial).MkHuge()
}

// fillSlot gives slot i new content: a structured table, a huge page, or nothing.
func (z *zoo) fillSlot(t *testing.T, r *rand.Rand, i int) {
	s, va := &z.slots[i], z.at(i, 0)
	if s.huge != 0 {
		var g pgtable.Gather
		g.Start(z.tree, nil)
		if _, err := z.thp.Zap(&g, va); err != nil {
			t.Fatal(err)
		}
		g.Finish()
		s.huge = 0
	}
	if !s.table && r.IntN(2) == 0 {
		if r.IntN(3) != 0 {
			s.huge = randomHuge(z.world, r)
			if err := z.thp.Map(z.tree, va, s.huge); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	s.table = true
	c, err := z.tree.LockPTEs(va, true)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < perTable; {
		end := min(perTable, n+[]int{1, 3, 16, 100, 512}[r.IntN(5)])
		fillPTEs(z.world, r, s.ptes[n:end])
		n = end
	}
	for j, e := range s.ptes {
		c.Set(j, e)
	}
	c.Unlock()
}

func fillPTEs(w *world, r *rand.Rand, e []x86.PTE) {
	first, other, pfn := randomFlags(r), randomOther(w, r), pageBase+x86.PFN(r.IntN(pageCount-perTable))
	kind := r.IntN(8)
	for i := range e {
		e[i] = x86.MkPTE(w.a, pfn+x86.PFN(i), first)
		switch {
		case kind == 0:
			e[i] = 0
		case kind == 1:
			e[i] = other
		case kind == 2 && r.IntN(8) == 0:
			e[i] = randomOther(w, r)
		case kind == 3 && r.IntN(8) != 0:
			e[i] = 0
		case kind == 4:
			e[i] = randomPage(w, r)
		case kind == 5: // one folio, of which pages differ in A and the dirty state
			if r.IntN(2) == 0 {
				e[i] = e[i].MkYoung()
			}
			if r.IntN(4) == 0 {
				e[i] = e[i].MkDirty(w.a)
			}
		}
	}
}

// randomChange makes a change that the area's callers could ask for.
func (z *zoo) randomChange(t *testing.T, r *rand.Rand) *pgtable.Protection {
	args := pgtable.ProtectionArgs{
		Prot: []x86.Prot{
			x86.ProtReadonly, x86.ProtNone, x86.ProtReadonlyExec, x86.ProtShared, x86.ProtReadonly | 5<<x86.PageBitPkey0,
		}[r.IntN(5)],
		Anonymous: z.anon, Exclusive: z.bits, Huge: z.thp,
	}
	switch r.IntN(5) {
	case 0:
		args.Flags, args.Prot = x86.ChangeNUMA, x86.ProtNone
	case 1:
		args.Flags = x86.ChangeUffdWP
	case 2:
		args.Flags = x86.ChangeUffdWPResolve
	}
	if args.Flags&x86.ChangeNUMA == 0 && r.IntN(2) == 0 {
		args.Flags |= x86.ChangeTryWritable
	}
	if z.anon && !z.a.Kernel().HugeUpgrade && args.Flags&x86.ChangeNUMA == 0 {
		args.Prot &^= x86.PageRW // no private area has it, and such a kernel insists
	}
	args.Flags |= z.facts
	args.Swap = z.layout.Change(args.Flags, z.backing, z.markers)
	args.Pages = modelPages{z.world, args.Flags}
	if z.folios {
		args.Folios = z.world
	}
	p, err := pgtable.NewProtection(z.a, args)
	if err != nil {
		t.Fatal(err)
	}
	z.model.prot, z.model.flags = args.Prot, args.Flags
	return p
}

func randomPages(r *rand.Rand, n int) (first, last int) {
	switch r.IntN(4) {
	case 0:
		return 0, n - 1
	case 1:
		first = r.IntN(n)
		return first, min(n-1, first+r.IntN(8))
	case 2: // whole slots
		first = r.IntN(n / perTable)
		return first * perTable, (first+1+r.IntN(n/perTable-first))*perTable - 1
	}
	first = r.IntN(n)
	return first, first + r.IntN(n-first)
}

// TestChangeProtectionModel does random changes to a tree and to a flat model, which works one entry at a time, and
// compares all entries, the count, and what is owed to processors.
func TestChangeProtectionModel(t *testing.T) {
	seed := *protectSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %#x", seed)
	worlds := 60
	if testing.Short() {
		worlds = 12
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for n := range worlds {
		k := x86.Kernels()[n%3]
		w := randomWorld(r, k)
		// The slots lie on both sides of a boundary between PMD tables.
		z := newZoo(t, w, 0x7f00_c000_0000-2<<21, 5)
		for step := range 12 {
			for i := range z.slots {
				if step == 0 || r.IntN(5) == 0 {
					z.fillSlot(t, r, i)
				}
			}
			z.step(t, r)
			if t.Failed() {
				t.Fatalf("world %d (%v), step %d: prot %#x flags %#x", n, w, step, uint64(z.model.prot), z.model.flags)
			}
		}
	}
}

func (z *zoo) step(t *testing.T, r *rand.Rand) {
	p := z.randomChange(t, r)
	first, last := randomPages(r, len(z.slots)*perTable)
	z.model.change(first, last)
	z.g.Start(z.tree, nil)
	got, err := z.tree.ChangeProtection(&z.g, pgtable.Range{First: z.at(0, first), Last: z.at(0, last) + x86.PageSize - 1}, p)
	if err != nil {
		t.Error(err)
	}
	if got != z.counted {
		t.Errorf("pages %d to %d: %d counted, want %d", first, last, got, z.counted)
	}
	f, owed := z.g.Owed()
	if owed != (z.levels != 0) || owed && (f.First != z.model.first || f.Last != z.model.last || f.Levels != z.levels) {
		t.Errorf("pages %d to %d: owed %v: %+v, want %v to %v, levels %#x", first, last, owed, f, z.model.first,
			z.model.last, z.levels)
	}
	if err := z.g.Finish(); err != nil {
		t.Error(err)
	}
	z.check(t)
}
