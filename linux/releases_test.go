package linux

import (
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/truth"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// releases are captures of testdata of kernels that x86 has no features of its own for: one before, one between, one after.
// CONFIG_DEVICE_PRIVATE is what Debian's configuration files say of them.
var releases = []struct {
	dir, label    string
	levels        int
	devicePrivate bool
	// kinds is what the entries without a page are, in the regions that the guest made for it.
	kinds map[string]swapentry.Entry
}{
	{"linux-5.10-4level", "5.10", 4, false, map[string]swapentry.Entry{
		"hwpoison": {Kind: swapentry.KindHWPoison}, "hugetlb_hwpoison": {Kind: swapentry.KindHWPoison},
		"swapped": {Kind: swapentry.KindSwap}, "thp_swapped": {Kind: swapentry.KindSwap},
	}},
	{"linux-6.17-la57", "6.17", 5, true, map[string]swapentry.Entry{
		"hwpoison": {Kind: swapentry.KindHWPoison}, "hugetlb_hwpoison": {Kind: swapentry.KindHWPoison},
		"swapped": {Kind: swapentry.KindSwap}, "thp_swapped": {Kind: swapentry.KindSwap},
		"guard":               {Kind: swapentry.KindMarker, Marker: swapentry.MarkerGuard},
		"uffd_poison":         {Kind: swapentry.KindMarker, Marker: swapentry.MarkerPoisoned},
		"uffd_wp_unpopulated": {Kind: swapentry.KindMarker, Marker: swapentry.MarkerUffdWP},
		"hugetlb_uffd_wp":     {Kind: swapentry.KindMarker, Marker: swapentry.MarkerUffdWP},
	}},
	{"linux-7.3-la57", "7.3", 5, true, map[string]swapentry.Entry{
		"hwpoison": {Kind: swapentry.KindHWPoison}, "hugetlb_hwpoison": {Kind: swapentry.KindHWPoison},
		"swapped": {Kind: swapentry.KindSwap}, "thp_swapped": {Kind: swapentry.KindSwap},
		"guard":               {Kind: swapentry.KindMarker, Marker: swapentry.MarkerGuard},
		"uffd_poison":         {Kind: swapentry.KindMarker, Marker: swapentry.MarkerPoisoned},
		"uffd_wp_unpopulated": {Kind: swapentry.KindMarker, Marker: swapentry.MarkerUffdWP},
		"hugetlb_uffd_wp":     {Kind: swapentry.KindMarker, Marker: swapentry.MarkerUffdWP},
	}},
}

// TestReleases holds what is detected of kernels of other releases against what their guests said: where the image and the
// roots are, and, entry by entry with the features that were chosen, every pagemap word.
func TestReleases(t *testing.T) {
	for _, c := range releases {
		t.Run(c.dir, func(t *testing.T) {
			f := truth.Folder{Dir: filepath.Join("testdata", c.dir)}
			s, cap := detect(t, filepath.Join(f.Dir, "tables.elf.zst"), Options{})
			if len(s.Warnings) > 0 || assumed(s, "kernel") {
				t.Errorf("assumptions %v, warnings %q", s.Assumptions, s.Warnings)
			}
			k := s.ABI.Kernel()
			if k.Release != c.label || k.DevicePrivate != c.devicePrivate || s.ABI.Paging().Levels != c.levels {
				t.Errorf("kernel %s, device-private %v, paging %+v", k.Release, k.DevicePrivate, s.ABI.Paging())
			}
			checkRegisters(t, s, f.Path("qemu-registers.txt"))
			if f.Has("qemu-info-tlb.txt") {
				checkLayout(t, s, f.Path("qemu-info-tlb.txt"))
			}
			guest, err := f.Guest()
			if err != nil {
				t.Fatal(err)
			}
			checkAddresses(t, s, guest.Symbols)
			r := &regionCheck{mem: cap.Mem, abi: s.ABI, root: s.CPUs[0].Kernel.PFN(), layout: swapentry.NewLayout(s.ABI), guest: guest}
			for _, region := range guest.Regions {
				want, ok := c.kinds[region.Name]
				if got := r.region(t, region, want); ok && got == 0 {
					t.Errorf("%s: no entry is a %v", region.Name, want.Kind)
				}
			}
			t.Logf("%d words, %d of pages that are not present", r.words, r.absent)
			if r.words < 15000 || r.absent < 1000 {
				t.Errorf("only %d words, %d of pages that are not present", r.words, r.absent)
			}
		})
	}
}

// regionCheck compares the words of one process.
type regionCheck struct {
	mem           physmem.Reader
	abi           *x86.ABI
	root          x86.PFN
	layout        *swapentry.Layout
	guest         *truth.Guest
	words, absent int
}

// region compares the words of a region, and returns how many of its entries without a page are of the kind that the guest made.
// In all regions there is no page in migration and no device: the machine was idle and has none.
func (r *regionCheck) region(t *testing.T, region truth.Region, want swapentry.Entry) int {
	const notInTables = 1<<61 | 1<<56 // whether the page is of a file, and mapped once
	n := 0
	for va := region.Start; va < region.Start+region.Len; va += x86.PageSize {
		word, said := r.guest.Pagemap[va]
		area := r.guest.VMA(va)
		if !said || area == nil || area.Has("pf") {
			continue
		}
		level, raw := r.leaf(t, x86.Virt(va))
		facts := swapentry.PageFacts{VMASoftDirty: area.Has("sd"), Hugetlb: area.Has("ht")}
		got := uint64(r.layout.Pagemap(level, raw, va&(level.Size()-1)/x86.PageSize, facts))
		if (got^word)&^notInTables != 0 {
			t.Errorf("%s: %#x: %v entry %#016x gives the pagemap word %#x, the guest read %#x", region.Name, va, level, raw, got, word)
		}
		r.words++
		e := r.layout.Decode(level, raw)
		switch e.Kind {
		case swapentry.KindNone, swapentry.KindPresent:
			continue
		case swapentry.KindMigration, swapentry.KindDevicePrivate, swapentry.KindDeviceExclusive, swapentry.KindUnknown:
			t.Errorf("%s: %#x: %v entry %#016x is a %v", region.Name, va, level, raw, e.Kind)
		case want.Kind:
			if e.Marker == want.Marker {
				n++
			}
		}
		if err := r.layout.Check(level, raw); err != nil {
			t.Errorf("%s: %#x: %v", region.Name, va, err)
		}
		r.absent++
	}
	return n
}

// leaf returns the entry in leaf position for an address.
func (r *regionCheck) leaf(t *testing.T, va x86.Virt) (x86.Level, uint64) {
	pfn := r.root
	for level := r.abi.Paging().Root(); ; level-- {
		raw := readWord(t, r.mem, pfn.Phys()+x86.Phys(8*va.Index(level)))
		table := raw&x86.PagePresent != 0 && raw&x86.PagePSE == 0
		if level == x86.LevelPTE || level <= x86.LevelPUD && !table || raw == 0 {
			return level, raw
		}
		pfn = r.abi.TableFrame(raw)
	}
}
