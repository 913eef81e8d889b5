package mm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
)

// swapWorld is random traffic between memory and the swap area, beside a plain model: one byte for each page of each
// process.
type swapWorld struct {
	t     *testing.T
	m     *Machine
	r     *rand.Rand
	procs []*swapProc
	va    x86.Virt
	log   []string
	// stepwise has MADV_PAGEOUT go page by page, as where it may be stopped.
	stepwise bool
}

type swapProc struct {
	c    *CPU
	s    *Space
	want []byte
	lazy []bool // may be zero instead
}

const swapPages = 24

func (w *swapWorld) fail(format string, args ...any) {
	w.t.Helper()
	for _, l := range w.log[max(0, len(w.log)-40):] {
		w.t.Log(l)
	}
	w.t.Fatalf(format, args...)
}

func (w *swapWorld) must(err error) {
	if err != nil {
		w.t.Helper()
		w.fail("%v", err)
	}
}

func (w *swapWorld) at(i int) x86.Virt { return w.va + x86.Virt(i)*x86.PageSize }

func (w *swapWorld) load(p *swapProc, i int) {
	var b [1]byte
	w.must(p.c.Load(w.at(i), b[:]))
	if p.lazy[i] && b[0] == 0 {
		p.want[i] = 0
	}
	if b[0] != p.want[i] {
		w.fail("space %d page %d holds %d, want %d (%#x)", p.s.id, i, b[0], p.want[i], p.s.pte(w.at(i)))
	}
}

func (w *swapWorld) store(p *swapProc, i int) {
	v := byte(1 + w.r.IntN(3))
	w.must(p.c.Store(w.at(i), []byte{v}))
	p.want[i], p.lazy[i] = v, false
}

// step does one operation, and returns its name.
func (w *swapWorld) step() string {
	p := w.procs[w.r.IntN(len(w.procs))]
	i := w.r.IntN(swapPages)
	n := min(swapPages-i, 1+w.r.IntN(8))
	length := uint64(n) * x86.PageSize
	what := fmt.Sprintf("space %d page %d+%d: ", p.s.id, i, n)
	switch op := w.r.IntN(15); op {
	case 0, 1, 2:
		w.store(p, i)
		return what + "store"
	case 3, 4:
		w.load(p, i)
		return what + "load"
	case 5:
		w.pageOut(p, w.at(i), length)
		return what + "pageout"
	case 6, 7:
		return what + w.reclaim(p, i)
	case 8:
		w.must(p.c.Madvise(w.at(i), length, AdviseFree))
		for j := i; j < i+n; j++ {
			p.lazy[j] = true
		}
		return what + "free"
	case 9:
		w.must(p.c.Madvise(w.at(i), length, AdviseDontNeed))
		for j := i; j < i+n; j++ {
			p.want[j], p.lazy[j] = 0, false
		}
		return what + "dontneed"
	case 10:
		return what + w.forkOrExit(p)
	case 11:
		var places []Place
		for j := range swapPages {
			o := w.procs[w.r.IntN(len(w.procs))]
			places = append(places, Place{Space: o.s, VA: w.at(j)})
		}
		k, err := w.m.KSMMerge(p.c, places...)
		w.must(err)
		return fmt.Sprintf("ksm merges %d", k)
	case 12:
		_ = p.c.MovePages([]x86.Virt{w.at(i)}, w.r.IntN(2), true)
		return what + "move"
	case 13:
		if w.r.IntN(4) == 0 {
			w.must(w.m.Swapoff(p.c))
			w.m.Swapon()
			return "swapoff"
		}
		w.must(p.c.Madvise(w.at(i), length, AdviseCold))
		return what + "cold"
	default:
		return what + w.hold(p, i)
	}
}

func (w *swapWorld) pageOut(p *swapProc, va x86.Virt, length uint64) {
	out := func() { w.must(p.c.Madvise(va, length, AdvisePageOut)) }
	if w.stepwise {
		w.m.Go(p.c, out).Finish()
	} else {
		out()
	}
}

// reclaim takes a page out, and lets another processor write and read in the middle.
func (w *swapWorld) reclaim(p *swapProc, i int) string {
	pfn, ok := w.m.normal(p.s.pte(w.at(i)))
	if !ok {
		return "nothing to reclaim"
	}
	task := w.m.Go(p.c, func() {
		_, err := w.m.Reclaim(p.c, pfn)
		w.must(err)
	})
	if task.RunTo(PointUnmapped) && len(w.procs) > 1 {
		o := w.procs[w.r.IntN(len(w.procs))]
		if o.c != p.c {
			w.store(o, i)
			w.load(o, w.r.IntN(swapPages))
		}
	}
	task.Finish()
	return "reclaim"
}

// hold has a device read or write a page that is reclaimed meanwhile.
func (w *swapWorld) hold(p *swapProc, i int) string {
	g, err := p.c.GetPages(w.at(i), 1, GUPPin|GUPWrite)
	w.must(err)
	p.lazy[i] = p.lazy[i] && g.Content(0)[0] == p.want[i]
	if g.Content(0)[0] != p.want[i] && !p.lazy[i] {
		p.want[i] = g.Content(0)[0]
		if p.want[i] != 0 {
			w.fail("pinned page %d holds %d", i, p.want[i])
		}
	}
	_, err = w.m.Reclaim(p.c, g.Frames()[0])
	w.must(err)
	v := byte(1 + w.r.IntN(3))
	g.Content(0)[0] = v
	w.m.folio(g.Frames()[0]).flags |= pgDirty | pgSwapBacked // unpin_user_pages_dirty_lock()
	p.want[i], p.lazy[i] = v, false
	g.Put()
	w.load(p, i)
	return "pin"
}

func (w *swapWorld) forkOrExit(p *swapProc) string {
	if len(w.procs) == 4 {
		p.s.Exit(p.c)
		for k, o := range w.procs {
			if o == p {
				w.procs = append(w.procs[:k], w.procs[k+1:]...)
			}
		}
		return "exit"
	}
	child, err := p.c.Fork()
	w.must(err)
	for k := range w.m.CPUs() {
		c := w.m.CPU(k)
		if c.Space() != nil && c.Space() != p.s && w.runs(c) || c == p.c {
			continue
		}
		w.must(c.Run(child))
		w.procs = append(w.procs, &swapProc{c, child, append([]byte(nil), p.want...), append([]bool(nil), p.lazy...)})
		return "fork"
	}
	w.fail("no CPU is free")
	return ""
}

func (w *swapWorld) runs(c *CPU) bool {
	for _, p := range w.procs {
		if p.c == c {
			return true
		}
	}
	return false
}

// TestSwapRandom: whatever goes out comes back, every process has its own bytes, and nothing is left at the end.
func TestSwapRandom(t *testing.T) {
	const steps = 300
	for _, p := range Profiles() {
		for _, cfg := range []Config{{Profile: p, Slots: 40, Frames: 1024}, {Profile: p, Slots: 512, Frames: 2048, Orders: 1<<2 | 1<<3}, {Profile: p, Slots: 64, Frames: 8192, HugePages: true}} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s/%d slots/%d", p.Kernel.Release, cfg.Slots, seed), func(t *testing.T) {
					swapRandom(t, cfg, seed, steps)
				})
			}
		}
	}
}

func swapRandom(t *testing.T, cfg Config, seed uint64, steps int) {
	w, used := newSwapWorld(t, cfg, seed)
	m := w.m
	for range steps {
		w.log = append(w.log, w.step())
		if err := m.Check(); err != nil {
			w.fail("%v", err)
		}
	}
	for _, p := range w.procs {
		for i := range swapPages {
			w.load(p, i)
		}
		p.s.Exit(p.c)
	}
	if m.huge != 0 {
		used += 512
	}
	if got := m.ram.Used(); got != used || m.SwapUsed() != 0 {
		t.Errorf("%d frames in use, were %d; %d slots", got, used, m.SwapUsed())
	}
}

// newSwapWorld makes a world with one process, and returns how many frames were in use before.
func newSwapWorld(t *testing.T, cfg Config, seed uint64) (*swapWorld, uint64) {
	m, err := New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	used := m.ram.Used()
	s, err := m.NewSpace()
	must(t, err)
	w := &swapWorld{t: t, m: m, r: rand.New(rand.NewPCG(seed, 1)), va: 0x40000000}
	m.SetSwapDirect(seed%2 == 1)
	c := m.CPU(0)
	must(t, c.Run(s))
	size := uint64(swapPages * x86.PageSize)
	if cfg.HugePages {
		size = hugeSize
	}
	_, err = c.Mmap(MmapArgs{Addr: w.va, Length: size, Prot: ProtRead | ProtWrite, Flags: MapFixed})
	must(t, err)
	must(t, c.Madvise(w.va, size, AdviseMergeable))
	w.procs = []*swapProc{{c, s, make([]byte, swapPages), make([]bool, swapPages)}}
	return w, used
}
