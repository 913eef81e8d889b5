package mm

import (
	"bytes"
	"errors"
	"testing"

	"ptemu/arch/x86"
)

// disk makes a file of an ordinary file system: page_mkwrite and writeback.
func disk(t testing.TB, m *Machine, pages uint64) *File {
	t.Helper()
	f, err := m.NewFile(FileArgs{Name: "disk", Size: pages * x86.PageSize, MkWrite: true, Writeback: true})
	must(t, err)
	return f
}

func mapFile(t testing.TB, c *CPU, f *File, flags MapFlags, first, pages uint64) x86.Virt {
	t.Helper()
	va, err := c.Mmap(MmapArgs{
		Length: pages * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: flags, File: f, Offset: first * x86.PageSize,
	})
	must(t, err)
	return va
}

func load(t testing.TB, c *CPU, va x86.Virt) byte {
	t.Helper()
	var b [1]byte
	must(t, c.Load(va, b[:]))
	return b[0]
}

func wantSignal(t testing.TB, err error, sig Signal) {
	t.Helper()
	var a *AccessError
	if !errors.As(err, &a) || a.Signal != sig {
		t.Errorf("%v, want %v", err, sig)
	}
}

// faults counts the page faults of what f does.
func faults(m *Machine, f func()) (n int) {
	m.Watch(func(e Event) {
		if e.Kind == EventFault {
			n++
		}
	})
	f()
	m.Watch(nil)
	return n
}

// eachFile runs f under every release, with a second process on CPU 1, and checks at the end that nothing is broken and,
// when the processes and the files are gone, that no frame is lost.
func eachFile(t *testing.T, f func(t *testing.T, m *Machine, c, d *CPU)) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, c, _ := world(t, p)
			used := m.ram.Used()
			other, err := m.NewSpace()
			must(t, err)
			d := m.CPU(1)
			must(t, d.Run(other))
			f(t, m, c, d)
			must(t, m.Check())
			other.Exit(d)
			must(t, c.Munmap(0x1000, uint64(mmapTop)-0x1000))
			for _, f := range append([]*File(nil), m.files...) {
				if !f.open {
					t.Errorf("file %q outlives its mappings", f.name)
				}
				f.Close()
			}
			must(t, m.Check())
			if got := m.ram.Used(); got != used || len(m.files) != 0 || m.SwapUsed() != 0 {
				t.Errorf("%d frames in use, %d at first; %d files, %d slots", got, used, len(m.files), m.SwapUsed())
			}
		})
	}
}

// TestSharedStores: two processes that share a file see each other's stores at once, and so do read(2) and write(2).
func TestSharedStores(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		for _, f := range []*File{disk(t, m, 3), m.MemFD("memfd", 3*x86.PageSize)} {
			a, b := mapFile(t, c, f, MapShared, 0, 3), mapFile(t, d, f, MapShared, 1, 2)
			must(t, c.Store(a+x86.PageSize, []byte("one")))
			var got [3]byte
			must(t, d.Load(b, got[:]))
			if string(got[:]) != "one" {
				t.Errorf("%s: the other process reads %q", f.Name(), got)
			}
			must(t, d.Store(b, []byte("two")))
			must(t, c.Load(a+x86.PageSize, got[:]))
			if string(got[:]) != "two" {
				t.Errorf("%s: the first process reads %q", f.Name(), got)
			}
			pfn, ok := f.Cached(1)
			if e, o := c.space.pte(a+x86.PageSize), d.space.pte(b); !ok || e.PFN(m.abi) != pfn || o.PFN(m.abi) != pfn {
				t.Errorf("%s: frames %#x and %#x, cached is %#x", f.Name(), e.PFN(m.abi), o.PFN(m.abi), pfn)
			}
			if p := m.folio(pfn); p.ref != 3 || p.mapped != 2 || p.flags&(pgAnon|pgDirty) != pgDirty {
				t.Errorf("%s: page %+v", f.Name(), p)
			}
			if n, err := f.ReadAt(got[:], x86.PageSize); n != 3 || err != nil || string(got[:]) != "two" {
				t.Errorf("%s: read %d, %v: %q", f.Name(), n, err, got)
			}
			n, err := f.WriteAt([]byte("xyz"), 2*x86.PageSize-1)
			if n != 3 || err != nil || load(t, d, b+x86.PageSize-1) != 'x' || load(t, c, a+2*x86.PageSize+1) != 'z' {
				t.Errorf("%s: write %d, %v is not seen", f.Name(), n, err)
			}
		}
	})
}

// TestSharedAnonymous: after fork, parent and child share memory that was mapped shared and anonymous; the child's entries
// come by faults (copy_page_range()).
func TestSharedAnonymous(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		va := mapFile(t, c, nil, MapShared, 0, 2)
		must(t, c.Store(va, []byte{1}))
		child, err := c.Fork()
		must(t, err)
		if e := child.pte(va); !e.None() {
			t.Errorf("the child has %#x", e)
		}
		o := m.CPU(2)
		must(t, o.Run(child))
		if load(t, o, va) != 1 {
			t.Error("the child reads something else")
		}
		must(t, o.Store(va, []byte{2}))
		if load(t, c, va) != 2 {
			t.Error("the parent does not see the child's store")
		}
		must(t, c.Munmap(va, 2*x86.PageSize))
		if load(t, o, va) != 2 {
			t.Error("lost when the parent unmapped it")
		}
		child.Exit(o)
		if len(m.files) != 0 {
			t.Error("it outlives the last process")
		}
	})
}

// TestPrivate: a private mapping shows the file until it is written, and has a page of its own from then on.
func TestPrivate(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 3)
		_, err := f.WriteAt([]byte{1}, 0)
		must(t, err)
		va := mapFile(t, c, f, 0, 0, 3)
		if load(t, c, va) != 1 {
			t.Error("the file is not seen")
		}
		wantFlags(t, c.space, va, 0x8000000000000025, "read")
		_, err = f.WriteAt([]byte{2}, 0)
		must(t, err)
		if load(t, c, va) != 2 {
			t.Error("write(2) is not seen")
		}
		must(t, c.Store(va, []byte{3}))              // copied by a write-protect fault
		must(t, c.Store(va+x86.PageSize, []byte{4})) // copied at once
		wantFlags(t, c.space, va, 0x8000000000000867, "copied")
		wantFlags(t, c.space, va+x86.PageSize, 0x8000000000000867, "copied at once")
		var b [x86.PageSize + 1]byte
		_, err = f.ReadAt(b[:], 0)
		must(t, err)
		if b[0] != 2 || b[x86.PageSize] != 0 {
			t.Errorf("the file has %d and %d", b[0], b[x86.PageSize])
		}
		for i := range x86.Virt(2) {
			pfn := c.space.pte(va + i*x86.PageSize).PFN(m.abi)
			if cached, _ := f.Cached(uint64(i)); pfn == cached || !m.exclusive(pfn) || m.folio(pfn).ref != 1 {
				t.Errorf("page %d: frame %#x, exclusive %v, %+v", i, pfn, m.exclusive(pfn), m.folio(pfn))
			}
			if cached, ok := f.Cached(uint64(i)); !ok || m.folio(cached).ref != 1 || m.mapcount(cached) != 0 {
				t.Errorf("page %d of the cache: %+v", i, m.folio(cached))
			}
		}
	})
}

// TestTruncate: what is beyond the end raises SIGBUS, also where a private mapping had a copy; the rest of the last page is
// zeros, and so is what comes when the file grows again.
func TestTruncate(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		for _, f := range []*File{disk(t, m, 4), m.MemFD("memfd", 4*x86.PageSize)} {
			data := bytes.Repeat([]byte{7}, 4*x86.PageSize)
			_, err := f.WriteAt(data, 0)
			must(t, err)
			f.Sync()
			a, b := mapFile(t, c, f, MapShared, 0, 5), mapFile(t, d, f, 0, 0, 4)
			wantSignal(t, c.Store(a+4*x86.PageSize, []byte{1}), BusAdrErr)
			wantSignal(t, c.Load(a+4*x86.PageSize, make([]byte, 1)), BusAdrErr)
			must(t, c.Store(a+3*x86.PageSize, []byte{8}))
			must(t, d.Store(b+2*x86.PageSize, []byte{9}))
			must(t, f.Truncate(c, x86.PageSize+10))
			wantSignal(t, c.Store(a+3*x86.PageSize, []byte{1}), BusAdrErr)
			wantSignal(t, d.Load(b+2*x86.PageSize, make([]byte, 1)), BusAdrErr)
			if load(t, c, a+x86.PageSize+9) != 7 || load(t, c, a+x86.PageSize+10) != 0 {
				t.Errorf("%s: the last page is cut in the wrong place", f.Name())
			}
			must(t, f.Truncate(c, 4*x86.PageSize))
			for i := range x86.Virt(2) {
				if load(t, c, a+(2+i)*x86.PageSize) != 0 || load(t, d, b+(2+i)*x86.PageSize) != 0 {
					t.Errorf("%s: page %d came back", f.Name(), 2+i)
				}
			}
		}
	})
}

// TestPunchHole: zap, "should_zap_cows": a hole drops the pages of the file, but no private copy.
func TestPunchHole(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", 4*x86.PageSize)
		_, err := f.WriteAt(bytes.Repeat([]byte{7}, 4*x86.PageSize), 0)
		must(t, err)
		a, b := mapFile(t, c, f, MapShared, 0, 4), mapFile(t, d, f, 0, 0, 4)
		must(t, d.Store(b+x86.PageSize, []byte{9}))
		must(t, c.Store(a+x86.PageSize, []byte{8}))
		if load(t, d, b+2*x86.PageSize) != 7 {
			t.Error("not mapped")
		}
		copied := d.space.pte(b + x86.PageSize)
		must(t, c.Madvise(a+x86.PageSize, 2*x86.PageSize, AdviseRemove))
		if d.space.pte(b+x86.PageSize) != copied || load(t, d, b+x86.PageSize) != 9 {
			t.Error("the private copy went")
		}
		if e, o := c.space.pte(a+x86.PageSize), d.space.pte(b+2*x86.PageSize); !e.None() || !o.None() {
			t.Errorf("%#x and %#x stayed", e, o)
		}
		if _, ok := f.Cached(1); ok {
			t.Error("the page is still cached")
		}
		if load(t, c, a+x86.PageSize) != 0 || load(t, d, b+2*x86.PageSize) != 0 || load(t, c, a) != 7 || load(t, c, a+3*x86.PageSize) != 7 {
			t.Error("the hole is in the wrong place")
		}
		must(t, f.PunchHole(c, 10, 20))
		if load(t, c, a+9) != 7 || load(t, c, a+10) != 0 || load(t, c, a+29) != 0 || load(t, c, a+30) != 7 {
			t.Error("a small hole is in the wrong place")
		}
		must(t, f.PunchHole(c, 2*x86.PageSize+10, 2*x86.PageSize))
		if got := present(c.space, a, 4); len(got) != 2 || got[0] != 0 || got[1] != 1 {
			t.Errorf("hole in page 3, and part of page 2: %v are mapped", got)
		}
		load(t, c, a+2*x86.PageSize)
		must(t, f.PunchHole(c, 2*x86.PageSize+10, 2*x86.PageSize))
		if got := present(c.space, a, 4); len(got) != 3 || got[2] != 2 {
			t.Errorf("a page of which only a part is punched is unmapped: %v", got)
		}
	})
}

// TestLargeFolioRoom: large folios neither reach over the end of the file nor overlap what the cache has.
func TestLargeFolioRoom(t *testing.T) {
	m, c, _ := world(t, Linux7_2())
	f, err := m.NewFile(FileArgs{Size: 7*x86.PageSize - 1, Order: 3})
	must(t, err)
	for _, row := range []struct {
		index        uint64
		order        uint8
		first, cache uint64
	}{{2, 2, 0, 4}, {6, 0, 6, 5}} {
		_, err := f.WriteAt([]byte{1}, row.index*x86.PageSize)
		must(t, err)
		pfn, _ := f.Cached(row.index)
		if p := m.folio(pfn); p.order != row.order || p.index != row.first || uint64(len(f.cache)) != row.cache {
			t.Errorf("page %d: order %d, index %d, %d cached", row.index, p.order, p.index, len(f.cache))
		}
	}
	must(t, f.Truncate(c, x86.PageSize))
	must(t, f.Truncate(c, 20*x86.PageSize))
	for _, row := range []struct {
		index uint64
		order uint8
	}{{1, 0}, {2, 1}, {4, 2}, {9, 3}, {19, 2}} {
		_, err := f.WriteAt([]byte{1}, row.index*x86.PageSize)
		must(t, err)
		pfn, _ := f.Cached(row.index)
		if p := m.folio(pfn); p.order != row.order {
			t.Errorf("page %d: order %d, want %d", row.index, p.order, row.order)
		}
	}
	must(t, m.Check())
}

// TestLargeFolioCut: truncation into a large folio splits it; if somebody holds it, the part gets zeros and stays.
func TestLargeFolioCut(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
			f, err := m.NewFile(FileArgs{Name: "large", Size: 16 * x86.PageSize, Writeback: true, Order: 4})
			must(t, err)
			va := mapFile(t, c, f, MapShared, 0, 16)
			for i := range x86.Virt(16) {
				must(t, c.Store(va+i*x86.PageSize, []byte{byte(i + 1)}))
			}
			if head, _ := f.Cached(0); m.folio(head).order != 4 {
				t.Fatalf("order %d", m.folio(head).order)
			}
			var p *Pages
			if pinned {
				p, err = c.GetPages(va, 1, GUPPin)
				must(t, err)
			}
			must(t, f.Truncate(c, 5*x86.PageSize))
			_, kept := f.Cached(5)
			if kept != pinned {
				t.Errorf("page 5 is cached: %v", kept)
			}
			wantSignal(t, c.Load(va+5*x86.PageSize, make([]byte, 1)), BusAdrErr)
			must(t, f.Truncate(c, 16*x86.PageSize))
			for i := range x86.Virt(16) {
				want := byte(i + 1)
				if i >= 5 {
					want = 0
				}
				if got := load(t, c, va+i*x86.PageSize); got != want {
					t.Errorf("pinned %v: page %d reads %d", pinned, i, got)
				}
			}
			must(t, m.Check())
			if pinned {
				p.Put()
			}
		})
	}
}
