package mm

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
)

// TestWritenotifyRows: vma_set_page_prot(), each rule of vma_wants_writenotify() by what a read maps, and the entry
// that the first write makes. Then mprotect to read-only and back: only with rule 2 does it give RW back by hand.
func TestWritenotifyRows(t *testing.T) {
	const ro, rw, written = 0x8000000000000025, 0x8000000000000027, 0x8000000000000867
	kept := func(m *Machine) uint64 { return pick(m, uint64(0x8000000000000865), 0x8400000000000825) }
	always := func(v uint64) func(*Machine) uint64 { return func(*Machine) uint64 { return v } }
	for _, row := range []struct {
		name   string
		args   *FileArgs
		flags  MapFlags
		prot   uint64
		again  func(m *Machine) uint64 // after mprotect to read-only and back
		faults int                     // that a write takes then
	}{
		{"1 private", &FileArgs{MkWrite: true, Writeback: true}, 0, ro, always(written), 0},
		{"2 page_mkwrite", &FileArgs{MkWrite: true, Writeback: true}, MapShared, ro, always(written), 0},
		{"3 and 7 writeback only", &FileArgs{Writeback: true}, MapShared, ro, kept, 1},
		{"8 tmpfs", &FileArgs{Shmem: true}, MapShared, rw, always(written), 0},
		{"8 ramfs", &FileArgs{}, MapShared, rw, always(written), 0},
		{"8 shared anonymous", nil, MapShared, rw, always(written), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
				var f *File
				if row.args != nil {
					a := *row.args
					a.Size = 2 * x86.PageSize
					var err error
					f, err = m.NewFile(a)
					must(t, err)
				}
				va := mapFile(t, c, f, row.flags, 0, 2)
				if got := uint64(c.space.VMA(va).PageProt()); got != row.prot {
					t.Errorf("vm_page_prot %#x, want %#x", got, row.prot)
				}
				load(t, c, va)
				wantFlags(t, c.space, va, row.prot, "read")
				must(t, c.Store(va, []byte{1}))
				want := uint64(written)
				if row.prot == rw {
					want = 0x8000000000000067 // no fault: the processor sets D alone
				}
				wantFlags(t, c.space, va, want, "written after a read")
				must(t, c.Store(va+x86.PageSize, []byte{1}))
				wantFlags(t, c.space, va+x86.PageSize, written, "written at once")
				va += x86.PageSize
				must(t, c.Mprotect(va, x86.PageSize, ProtRead))
				wantFlags(t, c.space, va, kept(m), "mprotect to read-only")
				must(t, c.Mprotect(va, x86.PageSize, ProtRead|ProtWrite))
				wantFlags(t, c.space, va, row.again(m), "mprotect to read-write")
				if n := faults(m, func() { must(t, c.Store(va, []byte{2})) }); n != row.faults {
					t.Errorf("%d faults, want %d", n, row.faults)
				}
				wantFlags(t, c.space, va, written, "written again")
			})
		})
	}
}

// TestUffdWritenotify: vma_set_page_prot(), rule 5, and steps 1, 3, 9 and 10 of sequence S-B of the public discussions.
func TestUffdWritenotify(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", 2*x86.PageSize)
		va := mapFile(t, c, f, MapShared, 0, 2)
		prot := func() uint64 { return uint64(c.space.VMA(va).PageProt()) }
		if prot() != 0x8000000000000027 {
			t.Errorf("vm_page_prot %#x", prot())
		}
		must(t, c.Store(va, []byte{1}))
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, 2*x86.PageSize, UffdWP))
		if prot() != 0x8000000000000025 {
			t.Errorf("vm_page_prot registered %#x", prot())
		}
		_, err = f.WriteAt([]byte{1}, x86.PageSize)
		must(t, err)
		must(t, c.Madvise(va, x86.PageSize, AdviseDontNeed))
		load(t, c, va+x86.PageSize)
		wantFlags(t, c.space, va+x86.PageSize, 0x8000000000000025, "read of page 1")
		if got := present(c.space, va, 2); len(got) != 1 {
			t.Errorf("fault-around in the area: %v", got)
		}
		must(t, c.Store(va+x86.PageSize, []byte{1}))
		wantFlags(t, c.space, va+x86.PageSize, 0x8000000000000867, "write of page 1")
		must(t, u.Close(c))
	})
}

// TestMarkers: file faults, do_swap_page(), entries that are not swap: a uffd-wp marker is passed on to the entry that takes its place; a write fault
// installs a read-only entry first, and the next hands the write over. zap: MADV_DONTNEED leaves a
// marker, a hole in the file too, munmap none.
func TestMarkers(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", 4*x86.PageSize)
		va := mapFile(t, c, f, MapShared, 0, 4)
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, 4*x86.PageSize, UffdWP))
		must(t, u.WriteProtect(c, va, 4*x86.PageSize, true))
		marked := func(i x86.Virt, when string) {
			t.Helper()
			if e := c.space.pte(va + i*x86.PageSize); !m.layout.PTEUffdWPMarker(e) {
				t.Errorf("%s: %#x", when, e)
			}
		}
		marked(0, "protected")
		load(t, c, va)
		wantFlags(t, c.space, va, 0x8000000000000425, "read")
		var uf *UffdFault
		if err := c.Store(va+x86.PageSize, []byte{1}); !errors.As(err, &uf) || !uf.WP {
			t.Errorf("write: %v", err)
		}
		wantFlags(t, c.space, va+x86.PageSize, pick(m, uint64(0x8000000000000c65), 0x8400000000000c25), "write")
		marked(2, "neighbour") // fault-around is off
		must(t, c.Madvise(va, x86.PageSize, AdviseDontNeed))
		marked(0, "MADV_DONTNEED")
		must(t, f.PunchHole(c, x86.PageSize, x86.PageSize))
		marked(1, "hole")
		must(t, u.WriteProtect(c, va, 4*x86.PageSize, false))
		must(t, c.Store(va+x86.PageSize, []byte{1}))
		wantFlags(t, c.space, va+x86.PageSize, 0x8000000000000867, "resolved")
		must(t, u.Close(c))
	})
}

// TestPrivateMarker: the same in a private mapping of shared memory: the copy is write-protected.
func TestPrivateMarker(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", x86.PageSize)
		va := mapFile(t, c, f, 0, 0, 1)
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, x86.PageSize, UffdWP))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		var uf *UffdFault
		if err := c.Store(va, []byte{1}); !errors.As(err, &uf) || !uf.WP {
			t.Errorf("write: %v", err)
		}
		wantFlags(t, c.space, va, pick(m, uint64(0x8000000000000c65), 0x8400000000000c25), "write")
		if pfn := c.space.pte(va).PFN(m.abi); !m.anonPage(pfn) || !m.exclusive(pfn) {
			t.Error("not a copy")
		}
		must(t, u.WriteProtect(c, va, x86.PageSize, false))
		must(t, c.Store(va, []byte{1}))
		wantFlags(t, c.space, va, 0x8000000000000867, "resolved")
		must(t, u.Close(c))
	})
}

// TestUffdMissing: shared memory asks userfaultfd for pages that nobody has touched; what is in the cache is mapped.
func TestUffdMissing(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", 2*x86.PageSize)
		va := mapFile(t, c, f, MapShared, 0, 2)
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, 2*x86.PageSize, UffdMissing))
		_, err = f.WriteAt([]byte{3}, 0)
		must(t, err)
		if load(t, c, va) != 3 {
			t.Error("the cached page is not mapped")
		}
		var uf *UffdFault
		if err := c.Load(va+x86.PageSize, make([]byte, 1)); !errors.As(err, &uf) || uf.WP {
			t.Errorf("read: %v", err)
		}
		_, err = u.Copy(c, va+x86.PageSize, append([]byte{4}, make([]byte, x86.PageSize-1)...), false)
		must(t, err)
		if load(t, c, va+x86.PageSize) != 4 {
			t.Error("not filled")
		}
		must(t, u.Close(c))
	})
}
