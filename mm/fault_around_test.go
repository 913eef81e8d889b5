package mm

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
)

// present returns the pages from va on that are mapped.
func present(s *Space, va x86.Virt, n int) (all []int) {
	for i := range n {
		if s.pte(va + x86.Virt(i)*x86.PageSize).Present() {
			all = append(all, i)
		}
	}
	return all
}

// TestFaultAround: file faults: a read maps what the cache has in 16 aligned pages, young and clean, in empty
// slots; a window that the area cuts at its beginning is as long, one that it cuts at its end is shorter.
func TestFaultAround(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 64)
		for _, i := range []uint64{0, 14, 15, 16, 17, 20, 31, 32, 40} {
			_, err := f.WriteAt([]byte{1}, i*x86.PageSize)
			must(t, err)
		}
		f.Sync()
		const base = x86.Virt(0x10000000)
		fixed := func(first, pages uint64, flags MapFlags) x86.Virt {
			va := base + x86.Virt(first*x86.PageSize)
			_, err := c.Mmap(MmapArgs{Addr: va, Length: pages * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: flags | MapFixed, File: f, Offset: first * x86.PageSize})
			must(t, err)
			return va
		}
		check := func(when string, want ...int) {
			t.Helper()
			if got := present(c.space, base, 64); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: mapped %v, want %v", when, got, want)
			}
		}
		for _, flags := range []MapFlags{0, MapShared} {
			fixed(0, 64, flags)
			load(t, c, base+20*x86.PageSize)
			check("cached", 16, 17, 20, 31)
			wantFlags(t, c.space, base+31*x86.PageSize, 0x8000000000000025, "neighbour")
			must(t, c.Munmap(base, 64*x86.PageSize))

			fixed(0, 64, flags)
			load(t, c, base+21*x86.PageSize)
			check("not cached, so that both come", 16, 17, 20, 21, 31)
			must(t, f.PunchHole(c, 21*x86.PageSize, x86.PageSize))
			must(t, c.Munmap(base, 64*x86.PageSize))

			fixed(15, 20, flags)
			load(t, c, base+20*x86.PageSize)
			check("cut at the beginning of a window", 16, 17, 20, 31)
			must(t, c.Munmap(base, 64*x86.PageSize))

			fixed(17, 14, flags)
			load(t, c, base+20*x86.PageSize)
			check("cut on both sides", 17, 20)
			must(t, c.Munmap(base, 64*x86.PageSize))

			fixed(17, 47, flags)
			load(t, c, base+20*x86.PageSize)
			check("begins later, and is as long", 17, 20, 31, 32)
			must(t, c.Munmap(base, 64*x86.PageSize))
		}
		fixed(0, 64, MapShared)
		must(t, c.Store(base+20*x86.PageSize, []byte{1}))
		check("writes map one page", 20)
	})
}

// TestWholeFolio: file faults, row "count mapped".
func TestWholeFolio(t *testing.T) {
	for _, write := range []bool{false, true} {
		for _, p := range Profiles() {
			m, err := New(Config{Profile: p, ShmemOrder: 5})
			must(t, err)
			s, err := m.NewSpace()
			must(t, err)
			c := m.CPU(0)
			must(t, c.Run(s))
			one := []int{9}
			all := make([]int, 32)
			for i := range all {
				all[i] = i
			}
			large := func(shmem bool) *File {
				f, err := m.NewFile(FileArgs{Shmem: shmem, Size: 64 * x86.PageSize, Order: 5})
				must(t, err)
				return f
			}
			for _, row := range []struct {
				name      string
				f         *File
				new, last []int // 6.12, 7.2
			}{
				{"file", large(false), one, all}, {"memfd", large(true), one, all}, {"shared anonymous", nil, all, all},
			} {
				va, err := c.Mmap(MmapArgs{Addr: 0x10000000, Length: 64 * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapShared | MapFixed, File: row.f})
				must(t, err)
				if write {
					must(t, c.Store(va+9*x86.PageSize, []byte{1}))
				} else {
					load(t, c, va+9*x86.PageSize)
				}
				want := one
				switch p.Kernel.Release {
				case "6.12":
					want = row.new
				case "7.2":
					want = row.last
				}
				if got := present(s, va, 64); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s, %s, write %v: mapped %v", p.Kernel.Release, row.name, write, got)
				}
				first := s.pte(va + 9*x86.PageSize)
				for _, i := range want {
					if e := s.pte(va + x86.Virt(i)*x86.PageSize); e != first.AdvancePFN(uint64(i)-9) {
						t.Errorf("%s: page %d is %#x, page 9 %#x", row.name, i, e, first)
					}
				}
				pfn := first.PFN(m.abi)
				if n := m.mapcount(pfn); n != len(want) || m.folio(pfn).ref != int32(n+m.folioSize(pfn)) {
					t.Errorf("%s: %d mappings, %d references", row.name, n, m.folio(pfn).ref)
				}
				must(t, m.Check())
				must(t, c.Munmap(va, 64*x86.PageSize))
			}
			m.Close()
		}
	}
}

// TestWholeFolioCut: where the folio does not fit the area, or a slot is taken, only the page is mapped (7.2).
func TestWholeFolioCut(t *testing.T) {
	m, c, s := world(t, Linux7_2())
	f, err := m.NewFile(FileArgs{Size: 32 * x86.PageSize, Order: 5})
	must(t, err)
	va := mapFile(t, c, f, MapShared, 1, 31)
	must(t, c.Store(va+2*x86.PageSize, []byte{1}))
	if got := present(s, va, 31); fmt.Sprint(got) != "[2]" {
		t.Errorf("area cut: %v", got)
	}
	vb := mapFile(t, c, f, MapShared, 0, 32)
	must(t, c.Store(vb+3*x86.PageSize, []byte{1}))
	if got := present(s, vb, 32); len(got) != 32 {
		t.Errorf("all fit: %v", got)
	}
	must(t, c.Madvise(vb+4*x86.PageSize, 2*x86.PageSize, AdviseDontNeed))
	must(t, c.Store(vb+4*x86.PageSize, []byte{1}))
	if got := present(s, vb, 32); len(got) != 31 || s.pte(vb+5*x86.PageSize).Present() {
		t.Errorf("others taken: %v", got)
	}
	must(t, m.Check())
}

// TestReadDirty: file faults: 7.2 maps a dirty page dirty where prot has RW, on reads, and around them.
func TestReadDirty(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := m.MemFD("memfd", 2*x86.PageSize)
		_, err := f.WriteAt(make([]byte, 2*x86.PageSize), 0)
		must(t, err)
		a, b := mapFile(t, c, f, MapShared, 0, 2), mapFile(t, c, f, 0, 0, 1)
		want := uint64(0x8000000000000027)
		if m.kernel.Release == "7.2" {
			want = 0x8000000000000867
		}
		load(t, c, a)
		wantFlags(t, c.space, a, want, "read")
		wantFlags(t, c.space, a+x86.PageSize, want, "around")
		load(t, c, b)
		wantFlags(t, c.space, b, 0x8000000000000025, "private")
	})
}

// TestHugeFile: file faults, row "THP PMD": a huge page of a file is mapped by one entry, dirty and writable for a
// write; KSM, page_mkclean() and guards, page_mkclean, and the write after it, which empties the slot and
// maps the page again (faults of huge pages).
func TestHugeFile(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		const size = 512 * x86.PageSize
		f, err := m.NewFile(FileArgs{Size: size, Writeback: true, Order: 9})
		must(t, err)
		const va = x86.Virt(0x40000000)
		at := func(c *CPU, va x86.Virt, flags MapFlags) {
			t.Helper()
			_, err := c.Mmap(MmapArgs{Addr: va, Length: size, Prot: ProtRead | ProtWrite, Flags: flags | MapFixed, File: f})
			must(t, err)
		}
		huge := func(c *CPU, want uint64, when string) {
			t.Helper()
			if e, ok := c.space.hugePMD(va); !ok || e.Flags(m.abi) != want {
				t.Errorf("%s: %#x, want flags %#x", when, e, want)
			}
		}
		at(c, va, MapShared)
		at(d, va, 0)
		must(t, c.Store(va+0x5000, []byte{5}))
		huge(c, 0x80000000000008e7, "write")
		if load(t, d, va+0x5000) != 5 {
			t.Error("not shared")
		}
		huge(d, 0x80000000000000a5, "private read")
		must(t, m.Check())
		head, _ := f.Cached(0)
		if p := m.folio(head); p.whole != 2 || p.ref != 514 {
			t.Errorf("page %+v", p)
		}
		f.Sync()
		huge(c, 0x80000000000008a5, "written back")
		must(t, c.Store(va+0x6000, []byte{6}))
		huge(c, 0x80000000000008e7, "write after it")
		must(t, d.Store(va+0x6000, []byte{7}))
		if load(t, c, va+0x6000) != 6 || load(t, d, va+0x6000) != 7 || load(t, d, va+0x5000) != 5 {
			t.Error("the copy is wrong")
		}
		must(t, m.Check())
		must(t, c.Munmap(va, size))
		for _, a := range []MmapArgs{
			{Addr: va + x86.PageSize, Length: size},
			{Addr: va, Length: size - x86.PageSize},
			{Addr: va, Length: size, Offset: x86.PageSize},
		} {
			a.Prot, a.Flags, a.File = ProtRead, MapShared|MapFixed, f
			_, err := c.Mmap(a)
			must(t, err)
			load(t, c, a.Addr)
			if _, ok := c.space.hugePMD(va); ok {
				t.Errorf("mapped askew: %+v", a)
			}
			must(t, c.Munmap(a.Addr, a.Length))
		}
		at(d, va, MapShared)
		load(t, d, va)
		huge(d, 0x80000000000000a5, "read")
		must(t, f.Truncate(c, size/2))
		if e, ok := d.space.hugePMD(va); ok {
			t.Errorf("truncated: %#x", e)
		}
		if load(t, d, va+0x6000) != 6 {
			t.Error("lost in the cut")
		}
	})
}
