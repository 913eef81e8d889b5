package x86

import "testing"

// TestFormOf states the forms one by one, over every subset of the bits that decide and a few that do not.
func TestFormOf(t *testing.T) {
	for _, levels := range []int{4, 5} {
		a := MustABI(Linux7_2(), DefaultPaging(levels))
		for l := LevelPTE; l <= Level(levels); l++ {
			subsets(PagePresent|PageRW|PageUser|PageAccessed|PagePSE|PageProtnone|PageNX, func(v uint64) {
				p, user, pse, protnone := v&1 != 0, v>>2&1 != 0, v>>7&1 != 0, v>>8&1 != 0
				leaf := l == 1 || pse && l <= 3
				var want Form
				switch {
				case p && !leaf && int(l) == levels:
					want = FormRoot
				case p && !leaf:
					want = FormTable
				case p && user:
					want = FormLeaf
				case p:
					want = FormKernel
				case protnone, pse && l > 1:
					want = FormProtnone
				default:
					want = FormSwap
				}
				if got := a.FormOf(l, v); got != want {
					t.Fatalf("%d levels, %v %#x: form %d, want %d", levels, l, v, got, want)
				}
			})
		}
	}
}

// TestEveryFlagName spells out the flags of all ones in each form.
func TestEveryFlagName(t *testing.T) {
	const (
		low  = "RW USER PWT PCD ACCESSED DIRTY "
		rest = " BIT52 BIT53 BIT54 BIT55 BIT56 "
		keys = " PKEY_BIT0 PKEY_BIT1 PKEY_BIT2 PKEY_BIT3 NX"
	)
	sme := DefaultPaging(4)
	sme.EncMask = 1 << 47
	for _, c := range []struct {
		k    Kernel
		p    Paging
		l    Level
		f    Form
		want string
	}{
		{Linux6_1(), sme, LevelPTE, FormLeaf, low + "PAT GLOBAL SPECIAL UFFD_WP SOFT_DIRTY ENC" + rest + "BIT57 DEVMAP NX"},
		{Linux6_12(), DefaultPaging(4), LevelPTE, FormLeaf, low + "PAT GLOBAL SPECIAL UFFD_WP SOFT_DIRTY" + rest + "DEVMAP SAVED_DIRTY NX"},
		{Linux7_2(), DefaultPaging(4), LevelPTE, FormKernel, low + "PAT GLOBAL SPECIAL UFFD_WP KERNEL_4K" + rest + "BIT57 SAVED_DIRTY NX"},
		{Linux6_12(), DefaultPaging(4), LevelPTE, FormKernel, low + "PAT GLOBAL SPECIAL UFFD_WP SOFT_DIRTY" + rest + "DEVMAP SAVED_DIRTY NX"},
		{Linux7_2(), DefaultPaging(4), LevelPTE, FormProtnone, low + "PAT PROTNONE SPECIAL UFFD_WP SOFT_DIRTY" + rest + "BIT57 SAVED_DIRTY NX"},
		{Linux6_1(), DefaultPaging(4), LevelPMD, FormLeaf, low + "PSE GLOBAL SOFTW1 UFFD_WP SOFT_DIRTY PAT_LARGE BIT13 BIT14 BIT15 BIT16 BIT17 BIT18 BIT19 BIT20" +
			rest + "BIT57 DEVMAP NX"},
		{Linux7_2(), DefaultPaging(4), LevelPMD, FormProtnone, low + "PSE PROTNONE SPECIAL UFFD_WP SOFT_DIRTY PAT_LARGE BIT13 BIT14 BIT15 BIT16 BIT17 BIT18 BIT19 BIT20" +
			rest + "BIT57 SAVED_DIRTY NX"},
		{Linux7_2(), DefaultPaging(4), LevelPUD, FormTable, low + "PSE GLOBAL SOFTW1 SOFTW2 SOFTW3" + rest + "BIT57 BIT58" + keys},
		{Linux7_2(), sme, LevelP4D, FormRoot, low + "PSE GLOBAL SOFTW1 SOFTW2 SOFTW3 ENC" + rest + "BIT57 NOPTISHADOW" + keys},
		{Linux6_1(), DefaultPaging(4), LevelP4D, FormRoot, low + "PSE GLOBAL SOFTW1 SOFTW2 SOFTW3" + rest + "BIT57 BIT58" + keys},
		{Linux7_2(), DefaultPaging(4), LevelPTE, FormSwap, "SWP_SOFT_DIRTY SWP_UFFD_WP SWP_EXCLUSIVE BIT4 ACCESSED DIRTY BIT7 BIT8"},
		{Linux7_2(), DefaultPaging(4), LevelPMD, FormSwap, "SWP_SOFT_DIRTY SWP_UFFD_WP BIT3 BIT4 ACCESSED DIRTY PSE BIT8"},
	} {
		got := ""
		for _, f := range MustABI(c.k, c.p).FlagsOf(c.l, c.f) {
			got += " " + f.Name
		}
		if got != " "+c.want {
			t.Errorf("%s, %v, form %d:\n got%s\nwant %s", c.k.Release, c.l, c.f, got, c.want)
		}
	}
}
