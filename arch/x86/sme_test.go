package x86

import "testing"

// TestMemoryEncryption: AMD's bit is no part of a frame, stays when a protection changes, belongs to every table entry,
// and to every protection of user memory.
func TestMemoryEncryption(t *testing.T) {
	const c = 1 << 47
	for _, k := range Kernels() {
		p := DefaultPaging(5)
		p.EncMask = c
		a := MustABI(k, p)
		if a.PhysicalMask() != 0x000f7fffffffffff || a.FrameMask(LevelPTE) != 0x000f7ffffffff000 ||
			a.FrameMask(LevelPMD) != 0x000f7fffffe00000 || a.FrameMask(LevelPUD) != 0x000f7fffc0000000 {
			t.Errorf("%s: masks %#x %#x %#x %#x", k.Release, a.PhysicalMask(), a.FrameMask(LevelPTE), a.FrameMask(LevelPMD), a.FrameMask(LevelPUD))
		}
		e := MkPTE(a, 0x12345, (VMShared | VMWrite).PageProt(a))
		if e != 0x8000800012345027 || e.PFN(a) != 0x12345 || e.Decrypted(a) || !(e &^ c).Decrypted(a) {
			t.Errorf("%s: page %#016x", k.Release, uint64(e))
		}
		if got := e.Modify(a, ProtReadonly); got != 0x8000800012345025 {
			t.Errorf("%s: read-only %#016x", k.Release, uint64(got))
		}
		if got := (e &^ c).Modify(a, ProtReadonly|c); got != 0x8000000012345025 {
			t.Errorf("%s: decrypted, read-only %#016x", k.Release, uint64(got))
		}
		if got := e.Modify(a, ProtNone); got.PFN(a) != 0x12345 || got&c == 0 {
			t.Errorf("%s: no access %#016x", k.Release, uint64(got))
		}
		for _, f := range []uint64{0x63, 0x67} {
			enc, plain := c|0x12345000|f, 0x12345000|f
			if PMD(enc).Bad(a) || !PMD(plain).Bad(a) || PGD(enc).Bad(a) || !PGD(plain).Bad(a) ||
				PUD(enc).Bad(a) || PUD(plain).Bad(a) || P4D(enc).Bad(a) || P4D(plain).Bad(a) { // pud_bad and p4d_bad only look for more
				t.Errorf("%s: tables %#x", k.Release, enc)
			}
			if a.TableFrame(enc) != 0x12345 || PGD(enc).PFN(a) != 0x12345 || P4D(enc).PFN(a) != 0x12345 {
				t.Errorf("%s: table frame of %#x", k.Release, enc)
			}
		}
	}
}

// TestAccessible: PROT_NONE counts while a flush is owed.
func TestAccessible(t *testing.T) {
	subsets(PagePresent|PageProtnone|PageAccessed, func(v uint64) {
		if got, want := PTE(v).Accessible(false), v&1 != 0; got != want {
			t.Errorf("%#x: %v", v, got)
		}
		if got, want := PTE(v).Accessible(true), v&0x101 != 0; got != want {
			t.Errorf("%#x, flush pending: %v", v, got)
		}
	})
}
