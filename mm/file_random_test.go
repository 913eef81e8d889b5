package mm

import (
	"errors"
	"fmt"
	"math/rand"
	"testing"

	"ptemu/arch/x86"
)

// fileWorld is one file that two processes map, shared and private, and what a plain model says they must see.
type fileWorld struct {
	m       *Machine
	f       *File
	cpus    [2]*CPU
	shared  [2]x86.Virt
	private [2]x86.Virt
	bytes   []byte          // of the file, one for each page
	copies  [2]map[int]byte // private copies
	log     []string
}

const worldPages = 40

func newFileWorld(t *testing.T, p Profile, a FileArgs) *fileWorld {
	m, c, _ := world(t, p)
	other, err := m.NewSpace()
	must(t, err)
	d := m.CPU(1)
	must(t, d.Run(other))
	a.Size = worldPages * x86.PageSize
	f, err := m.NewFile(a)
	must(t, err)
	w := &fileWorld{m: m, f: f, cpus: [2]*CPU{c, d}, bytes: make([]byte, worldPages)}
	for i, c := range w.cpus {
		w.shared[i], w.private[i] = mapFile(t, c, f, MapShared, 0, worldPages), mapFile(t, c, f, 0, 0, worldPages)
		w.copies[i] = map[int]byte{}
	}
	return w
}

func (w *fileWorld) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// want returns what process i must read at page n of its private mapping.
func (w *fileWorld) want(i, n int) byte {
	if b, ok := w.copies[i][n]; ok {
		return b
	}
	return w.bytes[n]
}

func (w *fileWorld) step(t *testing.T, r *rand.Rand) {
	i, n, b := r.Intn(2), r.Intn(worldPages), byte(r.Intn(255)+1)
	c, at := w.cpus[i], x86.Virt(n)*x86.PageSize
	switch r.Intn(11) {
	case 0, 1:
		w.note("CPU %d stores %d at page %d", i, b, n)
		w.access(t, n, c.Store(w.shared[i]+at, []byte{b}), func() { w.bytes[n] = b })
	case 2:
		w.note("CPU %d stores %d at private page %d", i, b, n)
		w.access(t, n, c.Store(w.private[i]+at, []byte{b}), func() { w.copies[i][n] = b })
	case 3, 4:
		w.note("CPU %d reads page %d", i, n)
		var got [1]byte
		w.access(t, n, c.Load(w.shared[i]+at, got[:]), func() {
			if got[0] != w.bytes[n] {
				t.Fatalf("reads %d, want %d", got[0], w.bytes[n])
			}
		})
	case 5:
		w.note("CPU %d reads private page %d", i, n)
		var got [1]byte
		w.access(t, n, c.Load(w.private[i]+at, got[:]), func() {
			if got[0] != w.want(i, n) {
				t.Fatalf("reads %d, want %d", got[0], w.want(i, n))
			}
		})
	case 6:
		w.note("write(2) of %d to page %d", b, n)
		if n < len(w.bytes) {
			_, err := w.f.WriteAt([]byte{b}, uint64(at))
			must(t, err)
			w.bytes[n] = b
		}
	case 7:
		w.note("truncate to %d pages", n+1)
		must(t, w.f.Truncate(c, uint64(n+1)*x86.PageSize))
		w.resize(n + 1)
	case 8:
		end := min(n+1+r.Intn(4), len(w.bytes))
		w.note("hole from %d to %d", n, end)
		if n < end {
			must(t, w.f.punch(c, uint64(n), uint64(end)))
			clear(w.bytes[n:end])
		}
	case 9:
		w.note("reclaim or move page %d", n)
		if pfn, ok := w.f.Cached(uint64(n)); ok && r.Intn(2) == 0 {
			_, err := w.m.Reclaim(c, pfn)
			must(t, err)
		} else {
			c.MovePages([]x86.Virt{w.shared[i] + at, w.private[i] + at}, r.Intn(2), true)
		}
	case 10:
		w.other(t, r, i, n)
	}
}

func (w *fileWorld) other(t *testing.T, r *rand.Rand, i, n int) {
	c, at := w.cpus[i], x86.Virt(n)*x86.PageSize
	switch r.Intn(5) {
	case 0:
		w.note("sync")
		w.f.Sync()
	case 1:
		w.note("CPU %d drops shared page %d", i, n)
		must(t, c.Madvise(w.shared[i]+at, x86.PageSize, AdviseDontNeed))
	case 2:
		w.note("CPU %d drops private page %d", i, n)
		must(t, c.Madvise(w.private[i]+at, x86.PageSize, AdviseDontNeed))
		delete(w.copies[i], n)
	case 3:
		w.note("CPU %d: mprotect of page %d and back", i, n)
		for _, va := range []x86.Virt{w.shared[i], w.private[i]} {
			must(t, c.Mprotect(va+at, x86.PageSize, ProtRead))
			must(t, c.Mprotect(va+at, x86.PageSize, ProtRead|ProtWrite))
		}
	case 4:
		w.note("fork, and the child ends")
		child, err := c.Fork()
		must(t, err)
		child.Exit(w.m.CPU(2))
	}
}

// access checks that an access to page n was made, or raised SIGBUS if the file is too short.
func (w *fileWorld) access(t *testing.T, n int, err error, made func()) {
	t.Helper()
	if n < len(w.bytes) {
		must(t, err)
		made()
		return
	}
	var a *AccessError
	if !errors.As(err, &a) || a.Signal != BusAdrErr {
		t.Fatalf("beyond the end: %v", err)
	}
}

func (w *fileWorld) resize(n int) {
	for len(w.bytes) < n {
		w.bytes = append(w.bytes, 0)
	}
	w.bytes = w.bytes[:n]
	for _, copies := range w.copies {
		for i := range copies {
			if i >= n {
				delete(copies, i)
			}
		}
	}
}

// TestFileRandom: random programs on one file, against a model of a byte for each page, with [Machine.Check] on the way.
func TestFileRandom(t *testing.T) {
	kinds := []FileArgs{
		{Name: "disk", MkWrite: true, Writeback: true}, {Name: "plain", Writeback: true}, {Name: "memfd", Shmem: true},
		{Name: "large", MkWrite: true, Writeback: true, Order: 3}, {Name: "large memfd", Shmem: true, Order: 4},
	}
	for _, p := range Profiles() {
		for seed, a := range kinds {
			t.Run(p.Kernel.Release+" "+a.Name, func(t *testing.T) {
				w := newFileWorld(t, p, a)
				r := rand.New(rand.NewSource(int64(seed)))
				defer func() {
					if t.Failed() {
						t.Logf("last steps: %q", w.log[max(0, len(w.log)-30):])
					}
				}()
				for n := range 1500 {
					w.step(t, r)
					if n%20 == 0 {
						must(t, w.m.Check())
					}
				}
			})
		}
	}
}
