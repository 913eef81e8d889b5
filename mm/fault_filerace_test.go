package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// TestMkWriteRecheck: do_wp_page(): while the file system is asked, the page may be cut off the file, or written
// back; the entry is looked at again.
func TestMkWriteRecheck(t *testing.T) {
	for _, mapped := range []bool{false, true} {
		eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
			f := disk(t, m, 1)
			va := mapFile(t, c, f, MapShared, 0, 1)
			at := func(do func()) error {
				if mapped {
					load(t, c, va)
				}
				var err error
				task := m.Go(c, func() { err = c.Store(va, []byte{9}) })
				if !task.RunTo(PointMkWrite) {
					t.Fatal("the file was not asked")
				}
				do()
				task.Finish()
				return err
			}
			must(t, at(f.Sync))
			pfn, _ := f.Cached(0)
			if m.folio(pfn).flags&pgDirty == 0 {
				t.Error("writable and clean")
			}
			f.Sync()
			must(t, c.Madvise(va, x86.PageSize, AdviseDontNeed))
			must(t, at(func() { must(t, c.Munmap(va, x86.PageSize)); va = mapFile(t, c, f, MapShared, 0, 1) }))
			f.Sync()
			must(t, c.Madvise(va, x86.PageSize, AdviseDontNeed))
			wantSignal(t, at(func() { must(t, f.Truncate(d, 0)) }), BusAdrErr)
			if !c.space.pte(va).None() {
				t.Error("the page came back")
			}
		})
	}
}

// TestFileMigrates: pages of the cache move with all their mappings; whoever wants the page meanwhile waits.
func TestFileMigrates(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 1)
		a, b := mapFile(t, c, f, MapShared, 0, 1), mapFile(t, d, f, MapShared, 0, 1)
		must(t, c.Store(a, []byte{1}))
		old, _ := f.Cached(0)
		task := m.Go(c, func() { must(t, c.MovePages([]x86.Virt{a}, 1, true)[0]) })
		if !task.RunTo(PointMigrated) {
			t.Fatal("no point")
		}
		must(t, d.Store(b, []byte{2})) // waits
		if !task.Done() {
			t.Error("mapped under migration")
		}
		if now, _ := f.Cached(0); now == old || c.space.pte(a).PFN(m.abi) != now || load(t, c, a) != 2 {
			t.Errorf("frame %#x, was %#x; entry %#x", now, old, c.space.pte(a))
		}
		wantFlags(t, c.space, a, 0x8000000000000867, "moved")
		if n := m.folio(old).ref; n != 0 {
			t.Errorf("the old frame has %d references", n)
		}
	})
}

// TestFilePoison: failed swap-ins and memory failure: a clean page that fails is read again.
func TestFilePoison(t *testing.T) {
	m, c, s := world(t, Linux7_2())
	f := disk(t, m, 1)
	_, err := f.WriteAt([]byte{4}, 0)
	must(t, err)
	f.Sync()
	va := mapFile(t, c, f, MapShared, 0, 1)
	load(t, c, va)
	old, _ := f.Cached(0)
	must(t, c.Madvise(va, x86.PageSize, AdviseHWPoison))
	if e := s.pte(va); !e.None() {
		t.Errorf("%#x", e)
	}
	if load(t, c, va) != 4 {
		t.Error("not read again")
	}
	if now, _ := f.Cached(0); now == old {
		t.Error("the failed frame is used again")
	}
	g := m.MemFD("memfd", x86.PageSize)
	vb := mapFile(t, c, g, MapShared, 0, 1)
	must(t, c.Store(vb, []byte{4}))
	must(t, c.Madvise(vb, x86.PageSize, AdviseHWPoison))
	wantSignal(t, c.Load(vb, make([]byte, 1)), BusHWPoison)
	must(t, c.Madvise(vb, x86.PageSize, AdviseDontNeed))
	wantSignal(t, c.Load(vb, make([]byte, 1)), BusHWPoison)
}

// TestUnshareFile: do_wp_page(): unsharing a page of a file does nothing in 6.1, and copies later.
func TestUnshareFile(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 1)
		va := mapFile(t, c, f, 0, 0, 1)
		load(t, c, va)
		p, err := c.GetPages(va, 1, GUPPin|GUPLongterm)
		must(t, err)
		cached, _ := f.Cached(0)
		if same := p.Frames()[0] == cached; same != pick(m, true, false) {
			t.Errorf("the page of the file: %v", same)
		}
		p.Put()
		wantFlags(t, c.space, va, 0x8000000000000025, "read-only all the same")
	})
}

// TestHoleRace: a page that is mapped again while a hole is being punched does not survive it: its entry goes with it
// (zap, unmap_mapping_folio).
func TestHoleRace(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", x86.PageSize)
		a, b := mapFile(t, c, f, MapShared, 0, 1), mapFile(t, d, f, MapShared, 0, 1)
		must(t, c.Store(a, []byte{1}))
		o := m.CPU(2)
		task := m.Go(o, func() { must(t, f.PunchHole(o, 0, x86.PageSize)) })
		if !task.RunTo(PointFlush) {
			t.Fatal("nothing to flush")
		}
		thread := m.CPU(3) // of a process that has been done; it has cached nothing
		must(t, thread.Run(c.space))
		if load(t, thread, a) != 1 || !c.space.pte(a).Present() {
			t.Error("the page went too early")
		}
		task.Finish()
		if e := c.space.pte(a); !e.None() {
			t.Errorf("%#x stayed", e)
		}
		if load(t, d, b) != 0 || load(t, c, a) != 0 {
			t.Error("no hole")
		}
	})
}
