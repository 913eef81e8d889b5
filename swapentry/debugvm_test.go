package swapentry

import (
	"testing"

	"ptemu/arch/x86"
)

// TestHelperLaws states what the kernel's own test of its helpers (mm/debug_vm_pgtable.c) asks of swap forms: they are
// neither present nor none, go to the table and back, and each flag comes, goes and changes nothing else.
func TestHelperLaws(t *testing.T) {
	offsets := []uint64{1, 2, 0x1234, 1 << 33, 1<<34 | 1, 1<<49 | 1, 1<<50 - 1}
	for name, l := range layouts(t) {
		for typ := range uint8(1 << typeBits) {
			for _, offset := range offsets {
				if typ == 0 && offset == 1<<50-1 {
					continue // all zero: none
				}
				s := MkSwp(typ, offset)
				p, m := s.PTE(), s.PMD()
				if p.Present() || p.None() || m.Present() || m.None() || !SwapPTE(p) || !SwapPMD(m) {
					t.Fatalf("%s: %#x as %#016x is present or none", name, uint64(s), uint64(p))
				}
				flagLaws(t, name, p, SwpMkSoftDirty[x86.PTE], SwpClearSoftDirty[x86.PTE], SwpSoftDirty[x86.PTE])
				flagLaws(t, name, p, SwpMkUffdWP[x86.PTE], SwpClearUffdWP[x86.PTE], SwpUffdWP[x86.PTE])
				flagLaws(t, name, p, PTESwpMkExclusive, PTESwpClearExclusive, PTESwpExclusive)
				flagLaws(t, name, m, SwpMkSoftDirty[x86.PMD], SwpClearSoftDirty[x86.PMD], SwpSoftDirty[x86.PMD])
				flagLaws(t, name, m, SwpMkUffdWP[x86.PMD], SwpClearUffdWP[x86.PMD], SwpUffdWP[x86.PMD])
				all := PTESwpMkExclusive(SwpMkUffdWP(SwpMkSoftDirty(p)))
				if !SwpSoftDirty(all) || !SwpUffdWP(all) || !PTESwpExclusive(all) || PTESwpClearFlags(all) != p || !SwapPTE(all) {
					t.Fatalf("%s: %#016x with every flag is %#016x", name, uint64(p), uint64(all))
				}
				if l.FromPTE(p) != s || l.FromPTE(all) != s || l.FromPMD(m) != s || l.FromPMD(SwpMkUffdWP(SwpMkSoftDirty(m))) != s {
					t.Fatalf("%s: %#x does not come back from %#016x", name, uint64(s), uint64(p))
				}
			}
		}
	}
}

func flagLaws[E Leaf](t *testing.T, name string, e E, mk, clear func(E) E, has func(E) bool) {
	t.Helper()
	on := mk(e)
	if has(e) || !has(on) || has(clear(on)) || on == e || clear(on) != e || mk(on) != on || clear(e) != e {
		t.Fatalf("%s: %#016x with the flag is %#016x, without it %#016x", name, uint64(e), uint64(on), uint64(clear(on)))
	}
}

// TestMigrationLaws: what makes an entry and what reads it agree, and A and D come alone, together, or, without room for
// them, not at all.
func TestMigrationLaws(t *testing.T) {
	for name, l := range layouts(t) {
		for _, pfn := range []x86.PFN{0, 1, 0x12345, 1<<34 - 1} {
			read, rx, write := l.MakeReadableMigrationEntry(pfn), l.MakeReadableExclusiveMigrationEntry(pfn), l.MakeWritableMigrationEntry(pfn)
			for _, s := range []Swp{read, rx, write} {
				young, dirty := l.MakeMigrationEntryYoung(s), l.MakeMigrationEntryDirty(s)
				both := l.MakeMigrationEntryDirty(young)
				for _, c := range []struct {
					s            Swp
					young, dirty bool
				}{{s, false, false}, {young, true, false}, {dirty, false, true}, {both, true, true}} {
					if !c.s.Migration(l) || !c.s.HasPFN(l) || c.s.PFN(l) != pfn || c.s.Type() != s.Type() ||
						c.s.MigrationYoung(l) != (c.young && l.MigrationAD()) || c.s.MigrationDirty(l) != (c.dirty && l.MigrationAD()) {
						t.Fatalf("%s: %#x", name, uint64(c.s))
					}
				}
			}
			for s, want := range map[Swp][3]bool{read: {true, false, false}, rx: {false, true, false}, write: {false, false, true}} {
				if got := [3]bool{s.ReadableMigration(l), s.ReadableExclusiveMigration(l), s.WritableMigration(l)}; got != want {
					t.Fatalf("%s: %#x is %v", name, uint64(s), got)
				}
			}
		}
	}
}
