package mmu_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

var (
	kRead  = mmu.Access{Kind: mmu.Read}
	kWrite = mmu.Access{Kind: mmu.Write}
	kFetch = mmu.Access{Kind: mmu.Fetch}
	uRead  = mmu.Access{Kind: mmu.Read, User: true}
	uWrite = mmu.Access{Kind: mmu.Write, User: true}
	uFetch = mmu.Access{Kind: mmu.Fetch, User: true}
	gdt    = mmu.Access{Kind: mmu.Read, User: true, Implicit: true}
	uRet   = mmu.Access{Kind: mmu.ShadowRead, User: true}
	uCall  = mmu.Access{Kind: mmu.ShadowWrite, User: true}
	kCall  = mmu.Access{Kind: mmu.ShadowWrite}
)

// TestSDM holds single sentences of the SDM. All levels above the leaf are 7 (P, RW, US) unless given.
func TestSDM(t *testing.T) {
	const (
		smep, smap, pke, pks = 1 << 20, 1 << 21, 1 << 22, 1 << 24
		permitted            = -1
	)
	for _, c := range []struct {
		what     string
		leaf     uint64 // with frame 0x42000
		pmd      uint64 // flags of the entry above, 0 for 7
		cr4, ac  uint64
		noWP     bool
		noNXE    bool
		pkru     uint32
		pkrs     uint32
		access   mmu.Access
		want     int
		wantWhys mmu.Why
	}{
		// Page-fault error codes.
		{what: "P=0, supervisor read", leaf: 0x42006, access: kRead, want: 0x0, wantWhys: mmu.WhyNotPresent},
		{what: "P=0, user write", leaf: 0x42006, access: uWrite, want: 0x6, wantWhys: mmu.WhyNotPresent},
		{what: "P=0, user fetch, NXE", leaf: 0, access: uFetch, want: 0x14, wantWhys: mmu.WhyNotPresent},
		{what: "P=0, fetch, neither NXE nor SMEP", leaf: 0, noNXE: true, access: kFetch, want: 0x0, wantWhys: mmu.WhyNotPresent},
		{what: "P=0, fetch, SMEP alone", leaf: 0, noNXE: true, cr4: smep, access: kFetch, want: 0x10, wantWhys: mmu.WhyNotPresent},
		{what: "P=0 hides reserved bits", leaf: 0x8000_0000_0000_0006 | 1<<51, noNXE: true, access: kRead, want: 0x0, wantWhys: mmu.WhyNotPresent},
		{what: "reserved bit 51, user write", leaf: 1<<51 | 0x42007, access: uWrite, want: 0xf, wantWhys: mmu.WhyReserved},
		{what: "XD is reserved without NXE", leaf: 1<<63 | 0x42007, noNXE: true, access: kRead, want: 0x9, wantWhys: mmu.WhyReserved},
		{what: "a reserved bit hides the rights", leaf: 1<<51 | 0x42001, access: uWrite, want: 0xf, wantWhys: mmu.WhyReserved},
		{what: "a reserved bit hides the key", leaf: 1<<51 | 1<<59 | 0x42007, cr4: pke, pkru: 0xc, access: uWrite, want: 0xf, wantWhys: mmu.WhyReserved},
		// User-mode accesses.
		{what: "user reads user", leaf: 0x42005, access: uRead, want: permitted},
		{what: "user reads supervisor", leaf: 0x42003, access: uRead, want: 0x5, wantWhys: mmu.WhySupervisor},
		{what: "user reads below a supervisor table", leaf: 0x42007, pmd: 3, access: uRead, want: 0x5, wantWhys: mmu.WhySupervisor},
		{what: "user writes writable", leaf: 0x42007, access: uWrite, want: permitted},
		{what: "user writes read-only", leaf: 0x42005, access: uWrite, want: 0x7, wantWhys: mmu.WhyReadOnly},
		{what: "user writes read-only without WP", leaf: 0x42005, noWP: true, access: uWrite, want: 0x7, wantWhys: mmu.WhyReadOnly},
		{what: "user writes below a read-only table", leaf: 0x42007, pmd: 5, access: uWrite, want: 0x7, wantWhys: mmu.WhyReadOnly},
		{what: "user fetches", leaf: 0x42005, cr4: smep | smap, access: uFetch, want: permitted},
		{what: "user fetches XD", leaf: 1<<63 | 0x42005, access: uFetch, want: 0x15, wantWhys: mmu.WhyNX},
		{what: "user fetches below an XD table", leaf: 0x42005, pmd: 1<<63 | 7, access: uFetch, want: 0x15, wantWhys: mmu.WhyNX},
		{what: "user reads XD", leaf: 1<<63 | 0x42005, access: uRead, want: permitted},
		{what: "user, SMAP, AC: of no effect", leaf: 0x42005, cr4: smap, access: uRead, want: permitted},
		// Supervisor-mode accesses.
		{what: "supervisor reads read-only supervisor", leaf: 0x42001, access: kRead, want: permitted},
		{what: "supervisor writes read-only, WP", leaf: 0x42001, access: kWrite, want: 0x3, wantWhys: mmu.WhyReadOnly},
		{what: "supervisor writes read-only, no WP", leaf: 0x42001, noWP: true, access: kWrite, want: permitted},
		{what: "supervisor writes read-only user, no WP", leaf: 0x42005, noWP: true, access: kWrite, want: permitted},
		{what: "the same with SMAP", leaf: 0x42005, cr4: smap, noWP: true, access: kWrite, want: 0x3, wantWhys: mmu.WhySMAP},
		{what: "the same with SMAP and AC", leaf: 0x42005, cr4: smap, ac: 1 << 18, noWP: true, access: kWrite, want: permitted},
		{what: "SMAP, read", leaf: 0x42007, cr4: smap, access: kRead, want: 0x1, wantWhys: mmu.WhySMAP},
		{what: "SMAP, AC, read", leaf: 0x42007, cr4: smap, ac: 1 << 18, access: kRead, want: permitted},
		{what: "SMAP, AC, implicit at CPL 3", leaf: 0x42007, cr4: smap, ac: 1 << 18, access: gdt, want: 0x1, wantWhys: mmu.WhySMAP},
		{what: "implicit at CPL 3 reaches supervisor", leaf: 0x42003, cr4: smap, access: gdt, want: permitted},
		{what: "SMAP, fetch", leaf: 0x42007, cr4: smap, access: kFetch, want: permitted},
		{what: "SMAP, AC, read-only, WP", leaf: 0x42005, cr4: smap, ac: 1 << 18, access: kWrite, want: 0x3, wantWhys: mmu.WhyReadOnly},
		{what: "SMEP, user address", leaf: 0x42005, cr4: smep, access: kFetch, want: 0x11, wantWhys: mmu.WhySMEP},
		{what: "SMEP, one supervisor table", leaf: 0x42005, pmd: 3, cr4: smep, access: kFetch, want: permitted},
		{what: "SMEP, supervisor address", leaf: 0x42001, cr4: smep, access: kFetch, want: permitted},
		{what: "SMEP without NXE", leaf: 0x42005, cr4: smep, noNXE: true, access: kFetch, want: 0x11, wantWhys: mmu.WhySMEP},
		{what: "SMEP and XD", leaf: 1<<63 | 0x42005, cr4: smep, access: kFetch, want: 0x11, wantWhys: mmu.WhySMEP | mmu.WhyNX},
		// Protection keys: key 1 is bits 2 (AD) and 3 (WD).
		{what: "AD, user read", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 4, access: uRead, want: 0x25, wantWhys: mmu.WhyPKRU},
		{what: "AD, PKE off", leaf: 1<<59 | 0x42007, pkru: 4, access: uRead, want: permitted},
		{what: "AD of another key", leaf: 1<<60 | 0x42007, cr4: pke, pkru: 4, access: uRead, want: permitted},
		{what: "key 15", leaf: 15<<59 | 0x42007, cr4: pke, pkru: 1 << 30, access: uRead, want: 0x25, wantWhys: mmu.WhyPKRU},
		{what: "key of a table is ignored", leaf: 0x42007, pmd: 1<<59 | 7, cr4: pke, pkru: 4, access: uRead, want: permitted},
		{what: "AD, supervisor read of user", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 4, access: kRead, want: 0x21, wantWhys: mmu.WhyPKRU},
		{what: "AD, user fetch", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 0xc, access: uFetch, want: permitted},
		{what: "WD, user read", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 8, access: uRead, want: permitted},
		{what: "WD, user write", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 8, access: uWrite, want: 0x27, wantWhys: mmu.WhyPKRU},
		{what: "WD, user write, no WP", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 8, noWP: true, access: uWrite, want: 0x27, wantWhys: mmu.WhyPKRU},
		{what: "WD, supervisor write", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 8, access: kWrite, want: 0x23, wantWhys: mmu.WhyPKRU},
		{what: "WD, supervisor write, no WP", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 8, noWP: true, access: kWrite, want: permitted},
		{what: "AD, supervisor write, no WP", leaf: 1<<59 | 0x42007, cr4: pke, pkru: 4, noWP: true, access: kWrite, want: 0x23, wantWhys: mmu.WhyPKRU},
		{what: "PKRU and a supervisor address", leaf: 1<<59 | 0x42003, cr4: pke, pkru: 0xc, access: kWrite, want: permitted},
		{what: "PK beside read-only", leaf: 1<<59 | 0x42005, cr4: pke, pkru: 8, access: uWrite, want: 0x27, wantWhys: mmu.WhyPKRU | mmu.WhyReadOnly},
		{what: "PK beside SMAP", leaf: 1<<59 | 0x42007, cr4: pke | smap, pkru: 4, access: kRead, want: 0x21, wantWhys: mmu.WhyPKRU | mmu.WhySMAP},
		{what: "PKS, AD", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 4, access: kRead, want: 0x21, wantWhys: mmu.WhyPKRS},
		{what: "PKS, WD, read", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 8, access: kRead, want: permitted},
		{what: "PKS, WD, write", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 8, access: kWrite, want: 0x23, wantWhys: mmu.WhyPKRS},
		{what: "PKS, WD, write, no WP", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 8, noWP: true, access: kWrite, want: permitted},
		{what: "PKS, AD, write, no WP", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 4, noWP: true, access: kWrite, want: 0x23, wantWhys: mmu.WhyPKRS},
		{what: "PKS and a user address", leaf: 1<<59 | 0x42007, cr4: pks, pkrs: 0xc, access: uWrite, want: permitted},
		{what: "PKS, fetch", leaf: 1<<59 | 0x42003, cr4: pks, pkrs: 0xc, access: kFetch, want: permitted},
		// Shadow stacks: R/W clear and D set in the leaf.
		{what: "user shadow stack", leaf: 0x42045, access: uCall, want: permitted},
		{what: "user shadow stack, ordinary write", leaf: 0x42045, access: uWrite, want: 0x7, wantWhys: mmu.WhyReadOnly},
		{what: "user shadow stack, ordinary read", leaf: 0x42045, access: uRead, want: permitted},
		{what: "shadow read of a writable page", leaf: 0x42047, access: uRet, want: 0x45, wantWhys: mmu.WhyShadow},
		{what: "shadow write of a clean read-only page", leaf: 0x42005, access: uCall, want: 0x47, wantWhys: mmu.WhyShadow},
		{what: "shadow write below a read-only table", leaf: 0x42045, pmd: 5, access: uCall, want: 0x47, wantWhys: mmu.WhyShadow},
		{what: "shadow write, not present", leaf: 0x42044, access: uCall, want: 0x46, wantWhys: mmu.WhyNotPresent},
		{what: "supervisor shadow write of a user shadow stack", leaf: 0x42045, access: kCall, want: 0x43, wantWhys: mmu.WhyShadow},
		{what: "supervisor shadow stack", leaf: 0x42041, access: kCall, want: permitted},
		{what: "user shadow write of a supervisor shadow stack", leaf: 0x42041, access: uCall, want: 0x47, wantWhys: mmu.WhySupervisor},
		{what: "WD, user shadow write", leaf: 1<<59 | 0x42045, cr4: pke, pkru: 8, access: uCall, want: 0x67, wantWhys: mmu.WhyPKRU},
	} {
		r := linux(4)
		r.CR4 |= c.cr4
		r.RFLAGS, r.PKRU, r.PKRS = c.ac, c.pkru, c.pkrs
		if c.noWP {
			r.CR0 &^= 1 << 16
		}
		if c.noNXE {
			r.EFER &^= 1 << 11
		}
		if c.pmd == 0 {
			c.pmd = 7
		}
		m := build(4, 1, testVA4, 0, [6]uint64{1: c.leaf, 2: c.pmd, 3: 7, 4: 7})
		w := newMMU(t, r, 40, 0).Walk(m, testVA4)
		p, err := w.Translate(c.access)
		if c.want == permitted {
			if err != nil || p != 0x42678 || w.Refusal(c.access) != 0 {
				t.Errorf("%s: %v, %v, want 0x42678", c.what, p, err)
			}
			continue
		}
		var f *mmu.Fault
		if !errors.As(err, &f) {
			t.Errorf("%s: %v, %v: want a fault", c.what, p, err)
			continue
		}
		if f.Vector != mmu.VectorPF || int(f.Code) != c.want || f.Why != c.wantWhys || f.VA != testVA4 || w.Refusal(c.access) != c.wantWhys {
			t.Errorf("%s: %v: want code %#x, %v", c.what, f, c.want, c.wantWhys)
		}
		class := mmu.ErrProtection
		switch c.wantWhys {
		case mmu.WhyNotPresent:
			class = mmu.ErrNotPresent
		case mmu.WhyReserved:
			class = mmu.ErrReserved
		}
		if !errors.Is(err, class) {
			t.Errorf("%s: %v is not %v", c.what, err, class)
		}
	}
}

// TestCanonical walks at the edges of the canonical halves, in tables that map every address.
func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		levels int
		va     uint64
		ok     bool
	}{
		{4, 0, true}, {4, 0x00007fffffffffff, true}, {4, 0x0000800000000000, false}, {4, 0x0000ffffffffffff, false},
		{4, 0x0001000000000000, false}, {4, 0xfffeffffffffffff, false}, {4, 0xffff000000000000, false},
		{4, 0xffff7fffffffffff, false}, {4, 0xffff800000000000, true}, {4, 0xffffffffffffffff, true},
		{4, 0x8000000000000000, false}, {4, 0x7fffffffffffffff, false}, {4, 0x00ffffffffffffff, false},
		{5, 0, true}, {5, 0x0000800000000000, true}, {5, 0x00ffffffffffffff, true}, {5, 0x0100000000000000, false},
		{5, 0xfeffffffffffffff, false}, {5, 0xff00000000000000, true}, {5, 0xffff7fffffffffff, true},
		{5, 0xffffffffffffffff, true}, {5, 0x8000000000000000, false}, {5, 0x01ffffffffffffff, false},
	} {
		m := ram{}
		for slot := range uint64(512) {
			m.set(rootCR3+8*slot, 0x6007)
			m.set(0x6000+8*slot, 0x4007)
			m.set(0x4000+8*slot, 0x87) // 1 GiB
		}
		if c.levels == 4 {
			for slot := range uint64(512) {
				m.set(rootCR3+8*slot, 0x4007)
			}
		}
		w := newMMU(t, linux(c.levels), 40, 0).Walk(m, virt(c.va))
		for _, a := range []mmu.Access{kRead, uFetch, gdt, {Kind: mmu.Write, Stack: true}} {
			p, err := w.Translate(a)
			var f *mmu.Fault
			switch {
			case c.ok && (err != nil || uint64(p) != c.va&0x3fffffff):
				t.Errorf("%d levels, %#x: %v, %v", c.levels, c.va, p, err)
			case !c.ok:
				want := mmu.VectorGP
				if a.Stack {
					want = mmu.VectorSS
				}
				if !errors.As(err, &f) || f.Vector != want || f.Code != 0 || !errors.Is(err, mmu.ErrNonCanonical) ||
					w.Outcome != mmu.NonCanonical || len(w.Steps()) != 0 {
					t.Errorf("%d levels, %#x: %v, %v: want %v(0)", c.levels, c.va, p, err, want)
				}
			}
		}
	}
}

// TestLeaves checks frame, size, key, memory type and G of leaves of each size, at both depths.
func TestLeaves(t *testing.T) {
	for levels := 4; levels <= 5; levels++ {
		for _, c := range []struct {
			leaf   int
			entry  uint64
			page   uint64
			size   uint64
			offset uint64
			pat    uint8
			pkey   uint8
			global bool
		}{
			{1, 0x000f_edcb_a987_6007, 0x000f_edcb_a987_6000, 4096, 0x678, 0, 0, false},
			{1, 0x7800_0000_0000_1187, 0x1000, 4096, 0x678, 4, 15, true},
			{1, 0x2800_0000_0000_101f, 0x1000, 4096, 0x678, 3, 5, false},
			{2, 0x000f_edcb_a980_0087, 0x000f_edcb_a980_0000, 2 << 20, 0x145678, 0, 0, false},
			{2, 0x0000_0000_0020_118f, 0x20_0000, 2 << 20, 0x145678, 5, 0, true},
			{3, 0x000f_edcb_8000_0087, 0x000f_edcb_8000_0000, 1 << 30, 0x12345678, 0, 0, false},
			{3, 0x4800_0000_4000_1197, 0x4000_0000, 1 << 30, 0x12345678, 6, 9, true},
		} {
			va := testVA(levels) // ...12345678
			m := build(levels, c.leaf, va, c.entry, [6]uint64{2: 7, 3: 7, 4: 7, 5: 7})
			m.set(place(levels, c.leaf, va), c.entry)
			unit := newMMU(t, linux(levels), 52, 0)
			w := unit.Walk(m, virt(va))
			p, ok := w.Phys()
			if w.Outcome != mmu.Mapped || uint64(w.Page()) != c.page || w.Size() != c.size || !ok || uint64(p) != c.page+c.offset {
				t.Errorf("%d levels, %#x: %v, page %v, size %#x, phys %v", levels, c.entry, w.Outcome, w.Page(), w.Size(), p)
			}
			if w.PATIndex() != c.pat || w.PKey() != c.pkey || w.Global() != c.global {
				t.Errorf("%d levels, %#x: PAT index %d, key %d, global %t", levels, c.entry, w.PATIndex(), w.PKey(), w.Global())
			}
			r := linux(levels)
			r.CR4 &^= 1 << 7
			if w := newMMU(t, r, 52, 0).Walk(m, virt(va)); w.Global() {
				t.Errorf("%#x: global without CR4.PGE", c.entry)
			}
			w = unit.Without1G().Walk(m, virt(va))
			if want := c.leaf == 3; (w.Outcome == mmu.Reserved) != want || want && w.ReservedBits() != 0x80 {
				t.Errorf("%#x: %v without 1 GiB pages", c.entry, w.Outcome)
			}
		}
	}
}

// TestEncryptionBit checks that the bit of AMD's memory encryption is neither reserved nor part of an address.
func TestEncryptionBit(t *testing.T) {
	const c = 1 << 47
	m := build(4, 1, testVA4, 0x42000, [6]uint64{1: c | 7, 2: c | 7, 3: 7, 4: c | 7})
	r := linux(4)
	r.CR3 |= c
	w := newMMU(t, r, 43, c).Walk(m, testVA4)
	if p, err := w.Translate(uWrite); err != nil || p != 0x42678 {
		t.Errorf("with the bit: %v, %v", p, err)
	}
	r.CR3 = rootCR3
	w = newMMU(t, r, 43, 0).Walk(m, testVA4)
	if w.Outcome != mmu.Reserved || w.ReservedBits() != c || w.Last().Level != x86.LevelP4D {
		t.Errorf("without: %v, %#x at %v", w.Outcome, w.ReservedBits(), w.Last().Level)
	}
}

// TestUnreadable takes away the tables one by one.
func TestUnreadable(t *testing.T) {
	for levels := 4; levels <= 5; levels++ {
		va := testVA(levels)
		for gone := 1; gone <= levels; gone++ {
			for _, reason := range []error{physmem.ErrAbsent, physmem.ErrExcluded} {
				m := build(levels, 1, va, 0x42000, [6]uint64{7, 7, 7, 7, 7, 7})
				at := place(levels, gone, va)
				delete(m, x86.PFN(at>>12))
				if reason == physmem.ErrExcluded {
					m[x86.PFN(at>>12)] = nil
				}
				w := newMMU(t, linux(levels), 40, 0).Walk(m, virt(va))
				_, err := w.Translate(kRead)
				var te *mmu.TableError
				var fe *physmem.FrameError
				if !errors.As(err, &te) || !errors.As(err, &fe) || !errors.Is(err, reason) || w.Err() != err {
					t.Fatalf("level %d: %v (%v)", gone, err, w.Err())
				}
				via := 0
				if gone < levels {
					via = gone + 1
				}
				if int(te.Level) != gone || uint64(te.Place) != at || te.VA != virt(va) || int(te.Via.Level) != via || te.Via != w.Last() ||
					w.Outcome != mmu.Unreadable || w.Rights() != (mmu.Rights{}) || w.Refusal(kRead) != 0 || len(w.Marks(kRead, nil)) != 0 {
					t.Errorf("level %d: %+v, %v", gone, te, w.Outcome)
				}
				if s := te.Error(); !strings.Contains(s, te.Place.String()) || !strings.Contains(s, reason.Error()) ||
					strings.Contains(s, "CR3") != (via == 0) {
					t.Errorf("message %q", s)
				}
			}
		}
	}
}

func TestSelfReference(t *testing.T) {
	m := ram{}
	m.set(rootCR3+8*511, rootCR3|7) // slot 511 of the root is the root
	for levels := 4; levels <= 5; levels++ {
		w := newMMU(t, linux(levels), 40, 0).Walk(m, 0xffff_ffff_ffff_fff8)
		if p, err := w.Translate(uRead); err != nil || p != rootCR3+0xff8 || len(w.Steps()) != levels {
			t.Errorf("%d levels: %v, %v", levels, p, err)
		}
	}
}

func TestRegs(t *testing.T) {
	good := linux(5)
	if p := good.Paging(46, 0); p.Levels != 5 || !p.NX || p.PhysBits != 46 || p.ShadowStack {
		t.Errorf("Paging: %+v", p)
	}
	for bit := range 64 {
		r := good
		r.CR4 |= 1 << bit
		if p := r.Paging(46, 0); p.ShadowStack != (bit == 23) {
			t.Errorf("CR4 bit %d: shadow stacks %v", bit, p.ShadowStack)
		}
	}
	for _, c := range []struct {
		change func(*mmu.Regs)
		want   error
	}{
		{func(r *mmu.Regs) {}, nil},
		{func(r *mmu.Regs) { r.CR0 &^= 1 << 31 }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.CR4 &^= 1 << 5 }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.EFER &^= 1 << 10 }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.CR0 = ^uint64(1 << 31) }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.CR4 = ^uint64(1 << 5) }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.EFER = ^uint64(1 << 10) }, mmu.ErrNotLongMode},
		{func(r *mmu.Regs) { r.CR4 |= 1 << 23 }, nil},
		{func(r *mmu.Regs) { r.CR4 |= 1 << 23; r.CR0 &^= 1 << 16 }, mmu.ErrBadRegs},
	} {
		r := good
		c.change(&r)
		if _, err := mmu.New(r, r.Paging(46, 0)); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", r, err, c.want)
		}
	}
	if _, err := mmu.New(good, x86.DefaultPaging(4)); !errors.Is(err, mmu.ErrBadRegs) {
		t.Errorf("4 levels against LA57: %v", err)
	}
	if _, err := mmu.New(good.WithPaging(x86.DefaultPaging(4)), x86.DefaultPaging(4)); err != nil {
		t.Errorf("WithPaging: %v", err)
	}
	noNX := x86.Paging{Levels: 5, PhysBits: 40}
	if _, err := mmu.New(good, noNX); !errors.Is(err, mmu.ErrBadRegs) {
		t.Errorf("no NX against NXE: %v", err)
	}
	if r := good.WithPaging(noNX); r.EFER != 0x501 || r.CR4 != good.CR4 {
		t.Errorf("WithPaging: %+v", r)
	}
	if _, err := mmu.New(good, good.Paging(60, 0)); err == nil {
		t.Error("60 physical bits accepted")
	}
	good.CR3 = 0x8000_0000_1234_5abc
	if good.PCID() != 0 {
		t.Errorf("PCID %#x without PCIDE", good.PCID())
	}
	good.CR4 |= 1 << 17
	if good.PCID() != 0xabc || newMMU(t, good, 40, 0).Root() != 0x12345000 {
		t.Errorf("PCID %#x, root %v", good.PCID(), newMMU(t, good, 40, 0).Root())
	}
	var zero mmu.Walk
	if _, err := zero.Translate(kRead); err == nil {
		t.Error("a zero Walk translates")
	}
}

func TestText(t *testing.T) {
	m := build(4, 1, testVA4, 0x42000, [6]uint64{1: 5, 2: 7, 3: 7, 4: 7})
	w := newMMU(t, linux(4), 40, 0).Walk(m, testVA4)
	_, err := w.Translate(uWrite)
	const want = "mmu: #PF(P|W|U): user write at 0x00005def12345678: read-only: pte entry 0x0000000000042005 at 0x1a28"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	w = newMMU(t, linux(4), 40, 0).Walk(m, 1<<63)
	_, err = w.Translate(gdt)
	if err == nil || err.Error() != "mmu: #GP: implicit supervisor read at 0x8000000000000000: not canonical" {
		t.Errorf("got %v", err)
	}
	if s := (mmu.CodeSS | mmu.CodePK | mmu.CodeI | mmu.CodeRSVD).String(); s != "RSVD|I|PK|SS" {
		t.Error(s)
	}
	if s := (mmu.WhySMAP | mmu.WhyPKRU).String(); s != "SMAP, PKRU" {
		t.Error(s)
	}
	var kinds, outcomes []string
	for k := mmu.Read; k <= mmu.ShadowWrite+1; k++ {
		kinds = append(kinds, k.String())
	}
	for o := range mmu.NonCanonical + 2 {
		outcomes = append(outcomes, o.String())
	}
	if s := strings.Join(kinds, ", "); s != "read, write, fetch, shadow-stack read, shadow-stack write, unknown access" {
		t.Error(s)
	}
	if s := strings.Join(outcomes, ", "); s != "no walk, mapped, not present, reserved bit, table unreadable, not canonical, no walk" {
		t.Error(s)
	}
	if s := fmt.Sprint(mmu.VectorSS, mmu.VectorGP, mmu.VectorPF, mmu.Vector(3)); s != "#SS #GP #PF vector 3" {
		t.Error(s)
	}
	if s := mmu.ErrorCode(0).String(); s != "0" {
		t.Error(s)
	}
}
