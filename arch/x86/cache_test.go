package x86

import "testing"

// TestCacheModes goes through all eight values of PAT, PCD and PWT, with the PAT that Linux programs: the register's
// bytes say what the processor does, the modes what Linux calls it.
func TestCacheModes(t *testing.T) {
	want := []string{"WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT"}
	for i, name := range want {
		p := Prot(i>>2&1<<7 | i>>1&1<<4 | i&1<<3)
		if got := p.CacheMode().String(); got != name {
			t.Errorf("index %d is %s, want %s", i, got, name)
		}
		if got := PATLinux.MemType(LevelPTE, true, uint64(p)).String(); got != name {
			t.Errorf("index %d of the register is %s, want %s", i, got, name)
		}
		if got := p.ToLarge(); got != Prot(i>>2&1<<12|i>>1&1<<4|i&1<<3) || got.LargeTo4K() != p {
			t.Errorf("index %d in a large page is %#x", i, uint64(got))
		}
		for l := LevelPMD; l <= LevelPUD; l++ {
			if got := PATLinux.MemType(l, true, uint64(p.ToLarge()|PagePSE)).String(); got != name {
				t.Errorf("index %d of a %v is %s, want %s", i, l, got, name)
			}
			if got := PATLinux.MemType(l, false, uint64(p|PagePATLarge)).String(); got != want[i&3] {
				t.Errorf("index %d of a table's %v is %s, want %s", i, l, got, want[i&3])
			}
		}
	}
	for mode, name := range []string{"WB", "WC", "UC-", "UC", "WT", "WP", "?", "?"} {
		c := CacheMode(mode)
		if c.String() != name || mode < 6 && c.Protval().CacheMode() != c || mode >= 6 && c.Protval() != 0 {
			t.Errorf("mode %d: %s, %#x", mode, c, uint64(c.Protval()))
		}
	}
	// What the processor sets at reset, and what is reserved.
	const reset PAT = 0x0007_0406_0007_0406
	for i, name := range []string{"WB", "WT", "UC-", "UC"} {
		if got := reset.MemType(LevelPTE, true, uint64(i>>1&1<<4|i&1<<3)).String(); got != name {
			t.Errorf("index %d after reset is %s, want %s", i, got, name)
		}
	}
	if got := MemType(2).String() + MemType(3).String(); got != "reservedreserved" {
		t.Error(got)
	}
}
