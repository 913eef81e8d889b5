package swapentry

import (
	"testing"

	"ptemu/arch/x86"
)

func TestPagemapPresent(t *testing.T) {
	page := PageFacts{File: true, Exclusive: true}
	for _, c := range []struct {
		name   string
		kernel string
		level  x86.Level
		raw    uint64
		page   uint64
		facts  PageFacts
		want   Pagemap
	}{
		{"none", "6.1", pte, 0, 0, page, 0},
		{"none, erratum", "6.1", pte, 0x60, 0, page, 0},
		{"none, soft-dirty area", "6.1", pte, 0, 0, PageFacts{VMASoftDirty: true}, 0x0080000000000000},
		{"present, soft-dirty", "6.1", pte, 0x8000000012345867, 0, PageFacts{}, 0x8080000000012345},
		{"present, file", "7.2", pte, 0x8000000012345067, 0, PageFacts{File: true}, 0xa000000000012345},
		{"present, exclusive", "6.12", pte, 0x8000000012345067, 0, PageFacts{Exclusive: true}, 0x8100000000012345},
		{"present, uffd-wp", "6.12", pte, 0x8400000012345425, 0, PageFacts{}, 0x8200000000012345},
		{"no CAP_SYS_ADMIN", "6.12", pte, 0x8400000012345425, 0, PageFacts{HideFrame: true}, 0x8200000000000000},
		{"zero page: special, no page", "6.12", pte, 0x8000000012345225, 0, page, 0x8000000000012345},
		{"PROT_NONE", "6.1", pte, 0x000fffffedcba960, 0, PageFacts{}, 0x8080000000012345},
		{"PROT_NONE, 6.12", "6.12", pte, 0x040fffffedcba920, 0, PageFacts{}, 0x8080000000012345},
		{"huge", "6.12", pmd, 0x80000000400000e7, 0, PageFacts{}, 0x8000000000040000},
		{"huge, page 5", "6.12", pmd, 0x80000000400000e7, 5, PageFacts{}, 0x8000000000040005},
		{"huge PROT_NONE, page 511", "6.12", pmd, 0x000fffffbfe009a0, 511, PageFacts{}, 0x80800000000401ff},
		{"huge, being changed", "6.12", pmd, 0x800fffffbfe008e6, 0, PageFacts{}, 0x8080000000040000},
		{"hugetlb ignores soft-dirty", "6.1", pmd, 0x8000000002c008e5, 1, PageFacts{Hugetlb: true}, 0x8000000000002c01},
		{"1 GiB", "6.1", pud, 0x80000000400000e7, 3, PageFacts{Hugetlb: true}, 0x8000000000040003},
	} {
		got := layoutOf(t, c.kernel, 4).Pagemap(c.level, c.raw, c.page, c.facts)
		if got != c.want {
			t.Errorf("%s: 0x%016x (%s), want 0x%016x (%s)", c.name, uint64(got), got, uint64(c.want), c.want)
		}
	}
}

func TestPagemapSwapped(t *testing.T) {
	page := PageFacts{File: true, Exclusive: true}
	const (
		swapped   = 0x07ffffffffdb9600 // type 0, offset 0x1234
		migration = 0xbffffffffdb97400 // 6.1P, frame 0x12345
		poison61  = 0xb7fffffffdb97400 // 6.1P, frame 0x12345
		poison612 = 0xbffffffffdb97400 // 6.12P, frame 0x12345
		uffdWP612 = 0xfffffffffffffc00
	)
	for _, c := range []struct {
		name   string
		kernel string
		level  x86.Level
		raw    uint64
		page   uint64
		facts  PageFacts
		want   Pagemap
	}{
		{"swap has no page", "6.1P", pte, swapped, 0, page, 0x4000000000024680},
		{"swap, soft-dirty uffd-wp", "6.1P", pte, swapped | 6, 0, PageFacts{}, 0x4280000000024680},
		{"swap, no CAP_SYS_ADMIN", "6.1P", pte, swapped | 6, 0, PageFacts{HideFrame: true}, 0x4280000000000000},
		{"migration is never exclusive", "6.1P", pte, migration, 0, page, 0x60000000002468b7},
		{"hwpoison is exclusive in 6.1", "6.1P", pte, poison61, 0, page, 0x61000000002468b6},
		{"hwpoison is not in 6.12", "6.12P", pte, poison612, 0, page, 0x60000000002468b7},
		{"marker has no page", "6.12", pte, uffdWP612, 0, page, 0x420000000000003f},
		{"swapin error has no page", "6.1", pte, 0xfffffffffdb97404, 0, page, 0x42000000002468bf},
		{"huge migration, page 2", "6.1P", pmd, 0xcfffe7fff7fffe00, 2, PageFacts{}, 0x4000000000800059},
		{"an offset beyond the field", "6.12", pmd, 0x0800000000000000, 1, PageFacts{}, 0x4000000000000001}, // 1<<50, of type 1
		{"hugetlb shows uffd-wp only", "6.12", pmd, uffdWP612, 0, PageFacts{Hugetlb: true}, 0x0200000000000000},
		{"hugetlb migration", "6.1P", pmd, 0xcfffe7fff7fffe00, 0, PageFacts{Hugetlb: true}, 0},
	} {
		got := layoutOf(t, c.kernel, 4).Pagemap(c.level, c.raw, c.page, c.facts)
		if got != c.want {
			t.Errorf("%s: 0x%016x (%s), want 0x%016x (%s)", c.name, uint64(got), got, uint64(c.want), c.want)
		}
	}
}

func TestPagemapParts(t *testing.T) {
	for w, want := range map[Pagemap]PagemapParts{
		0:                  {},
		0xa280000000012345: {Present: true, File: true, UffdWP: true, SoftDirty: true, PFN: 0x12345},
		0x440000000000009f: {Swapped: true, Guard: true, SwapType: 31, SwapOffset: 4},
		0x4100000000024681: {Swapped: true, Exclusive: true, SwapType: 1, SwapOffset: 0x1234},
	} {
		if got := w.Parts(); got != want {
			t.Errorf("0x%016x: %+v, want %+v", uint64(w), got, want)
		}
	}
	if s := Pagemap(0x4480000000024681).String(); s != "swap type 1 offset 0x1234 guard soft-dirty" {
		t.Error(s)
	}
	if s := Pagemap(0x8100000000012345).String(); s != "present pfn 0x12345 exclusive" {
		t.Error(s)
	}
}
