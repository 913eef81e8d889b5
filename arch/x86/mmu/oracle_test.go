package mmu_test

import (
	"errors"
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// The oracle: the SDM's paragraphs one by one, in the SDM's own case analysis, written from the book and not from
// the package. It shares nothing with it but the register values and the memory.

// state spells a processor as the SDM's conditions do.
type state struct {
	wp, smep, smap, ac, nxe, pke, pks bool
	pkru, pkrs                        uint32
	cr3                               uint64
	levels                            int
	maxphyaddr                        int
	cbit                              int // AMD's encryption bit, 0 if there is none
	no1G                              bool
}

func spell(r mmu.Regs, physBits uint8, cbit int) state {
	bit := func(v uint64, n int) bool { return v>>n&1 == 1 }
	s := state{
		wp:   bit(r.CR0, 16),
		smep: bit(r.CR4, 20), smap: bit(r.CR4, 21), pke: bit(r.CR4, 22), pks: bit(r.CR4, 24),
		ac: bit(r.RFLAGS, 18), nxe: bit(r.EFER, 11),
		pkru: r.PKRU, pkrs: r.PKRS,
		cr3: r.CR3, levels: 4, maxphyaddr: int(physBits), cbit: cbit,
	}
	if bit(r.CR4, 12) {
		s.levels = 5
	}
	return s
}

// entry is a paging-structure entry. number counts from 1, a PTE, to 5, a PML5E.
type entry struct {
	value  uint64
	number int
}

func (e entry) flag(n int) bool { return e.value>>n&1 == 1 }

// "maps a page": a PTE, or PS in a PDE or PDPTE.
func (e entry) mapsPage() bool {
	return e.number == 1 || (e.number == 2 || e.number == 3) && e.flag(7)
}

// "The following bits are reserved with 4-level paging and 5-level paging".
func (s state) setsReserved(e entry) bool {
	for n := s.maxphyaddr; n <= 51; n++ {
		if e.flag(n) && (s.cbit == 0 || n != s.cbit) {
			return true
		}
	}
	if (e.number == 5 || e.number == 4) && e.flag(7) {
		return true
	}
	if s.no1G && e.number == 3 && e.flag(7) {
		return true
	}
	if e.number == 3 && e.flag(7) {
		for n := 13; n <= 29; n++ {
			if e.flag(n) && (s.cbit == 0 || n != s.cbit) {
				return true
			}
		}
	}
	if e.number == 2 && e.flag(7) {
		for n := 13; n <= 20; n++ {
			if e.flag(n) && (s.cbit == 0 || n != s.cbit) {
				return true
			}
		}
	}
	return !s.nxe && e.flag(63)
}

// field returns bits hi to lo of v in place, without the encryption bit.
func (s state) field(v uint64, hi, lo int) uint64 {
	var f uint64
	for n := lo; n <= hi; n++ {
		if n != s.cbit || s.cbit == 0 {
			f |= v & (1 << n)
		}
	}
	return f
}

// translation is what the SDM calls one: the entries that control it, and the physical address.
type translation struct {
	used                 []entry
	places               []uint64
	notPresent, reserved bool // why there is none
	unreadable           bool
	physical             uint64
}

// translate uses the entries in turn; read says whether the word at an address is known.
func (s state) translate(read func(uint64) (uint64, bool), va uint64) (tr translation) {
	table := s.field(s.cr3, 51, 12)
	for number := s.levels; ; number-- {
		lowest := 12 + 9*(number-1) // va's lowest bit that picks the entry; those below it are the offset in a page
		at := table + va>>lowest%512*8
		value, known := read(at)
		if !known {
			tr.unreadable = true
			return tr
		}
		e := entry{value, number}
		tr.used, tr.places = append(tr.used, e), append(tr.places, at)
		if !e.flag(0) {
			tr.notPresent = true
			return tr
		}
		if s.setsReserved(e) {
			tr.reserved = true
			return tr
		}
		if e.mapsPage() {
			tr.physical = s.field(value, 51, lowest) + va%(1<<lowest)
			return tr
		}
		table = s.field(value, 51, 12)
	}
}

func (tr translation) every(n int, want bool) bool {
	for _, e := range tr.used {
		if e.flag(n) != want {
			return false
		}
	}
	return true
}

func (tr translation) leaf() entry { return tr.used[len(tr.used)-1] }

// "If the U/S flag is 0 in at least one of the paging-structure entries, the address is a supervisor-mode address."
func (tr translation) userModeAddress() bool { return tr.every(2, true) }

func (tr translation) rwEverywhere() bool { return tr.every(1, true) }
func (tr translation) xdNowhere() bool    { return tr.every(63, false) }

func (tr translation) shadowStackAddress() bool {
	last := len(tr.used) - 1
	for _, e := range tr.used[:last] {
		if !e.flag(1) {
			return false
		}
	}
	return !tr.used[last].flag(1) && tr.used[last].flag(6)
}

// The section on protection keys: "Use of the protection key i of a user-mode address depends on PKRU", "of a
// supervisor-mode address on IA32_PKRS".
func (s state) keyPermits(tr translation, writing, userModeAccess bool) bool {
	i := tr.leaf().value >> 59 & 15
	if tr.userModeAddress() {
		if !s.pke {
			return true
		}
		ad, wd := s.pkru>>(2*i)&1 == 1, s.pkru>>(2*i+1)&1 == 1
		if ad {
			return false
		}
		if wd && writing {
			if userModeAccess {
				return false
			}
			return !s.wp
		}
		return true
	}
	if !s.pks {
		return true
	}
	ad, wd := s.pkrs>>(2*i)&1 == 1, s.pkrs>>(2*i+1)&1 == 1
	if ad {
		return false
	}
	if wd && writing && s.wp {
		return false
	}
	return true
}

// permitted is "Determination of Access Rights".
func (s state) permitted(tr translation, a mmu.Access) bool {
	if !a.User || a.Implicit {
		return s.supervisorMay(tr, a)
	}
	switch a.Kind {
	case mmu.Read:
		return tr.userModeAddress() && s.keyPermits(tr, false, true)
	case mmu.Write:
		return tr.userModeAddress() && tr.rwEverywhere() && s.keyPermits(tr, true, true)
	case mmu.Fetch:
		if !tr.userModeAddress() {
			return false
		}
		if !s.nxe {
			return true
		}
		return tr.xdNowhere()
	case mmu.ShadowRead:
		return tr.userModeAddress() && tr.shadowStackAddress() && s.keyPermits(tr, false, true)
	case mmu.ShadowWrite:
		return tr.userModeAddress() && tr.shadowStackAddress() && s.keyPermits(tr, true, true)
	}
	panic("no such access")
}

func (s state) supervisorMay(tr translation, a mmu.Access) bool {
	explicit := !a.Implicit
	switch a.Kind {
	case mmu.Read:
		if !tr.userModeAddress() {
			return s.keyPermits(tr, false, false)
		}
		if !s.smap {
			return s.keyPermits(tr, false, false)
		}
		if s.ac && explicit {
			return s.keyPermits(tr, false, false)
		}
		return false
	case mmu.Write:
		if !tr.userModeAddress() {
			if !s.wp {
				return s.keyPermits(tr, true, false)
			}
			return tr.rwEverywhere() && s.keyPermits(tr, true, false)
		}
		if !s.wp {
			if !s.smap {
				return s.keyPermits(tr, true, false)
			}
			if s.ac && explicit {
				return s.keyPermits(tr, true, false)
			}
			return false
		}
		if !s.smap {
			return tr.rwEverywhere() && s.keyPermits(tr, true, false)
		}
		if s.ac && explicit {
			return tr.rwEverywhere() && s.keyPermits(tr, true, false)
		}
		return false
	case mmu.Fetch:
		if !tr.userModeAddress() {
			if !s.nxe {
				return true
			}
			return tr.xdNowhere()
		}
		if s.smep {
			return false
		}
		if !s.nxe {
			return true
		}
		return tr.xdNowhere()
	case mmu.ShadowRead:
		return !tr.userModeAddress() && tr.shadowStackAddress() && s.keyPermits(tr, false, false)
	case mmu.ShadowWrite:
		return !tr.userModeAddress() && tr.shadowStackAddress() && s.keyPermits(tr, true, false)
	}
	panic("no such access")
}

// errorCode is "Page-Fault Exceptions", flag by flag.
func (s state) errorCode(tr translation, a mmu.Access) uint32 {
	var code uint32
	userMode := a.User && !a.Implicit
	writing := a.Kind == mmu.Write || a.Kind == mmu.ShadowWrite
	if !tr.notPresent {
		code |= 0x1
	}
	if writing {
		code |= 0x2
	}
	if userMode {
		code |= 0x4
	}
	if tr.reserved {
		code |= 0x8
	}
	if a.Kind == mmu.Fetch && (s.smep || s.nxe) {
		code |= 0x10
	}
	complete := !tr.notPresent && !tr.reserved
	if complete && a.Kind != mmu.Fetch && !s.keyPermits(tr, writing, userMode) {
		code |= 0x20
	}
	if a.Kind == mmu.ShadowRead || a.Kind == mmu.ShadowWrite {
		code |= 0x40
	}
	return code
}

// accesses is every kind of access: 5 kinds by user, supervisor, implicit (from either level).
var accesses = func() (all []mmu.Access) {
	for kind := mmu.Read; kind <= mmu.ShadowWrite; kind++ {
		all = append(all, mmu.Access{Kind: kind}, mmu.Access{Kind: kind, User: true},
			mmu.Access{Kind: kind, Implicit: true}, mmu.Access{Kind: kind, User: true, Implicit: true})
	}
	return all
}()

// agree compares one access with the oracle.
func (s state) agree(tr translation, w *mmu.Walk, a mmu.Access) error {
	got, err := w.Translate(a)
	var fault *mmu.Fault
	if tr.unreadable {
		var te *mmu.TableError
		if !errors.As(err, &te) || w.Outcome != mmu.Unreadable {
			return fmt.Errorf("%v: %v, %v: want a TableError", a, w.Outcome, err)
		}
		return nil
	}
	if !tr.notPresent && !tr.reserved && s.permitted(tr, a) {
		if err != nil || uint64(got) != tr.physical {
			return fmt.Errorf("%v: %v, %v: want %#x", a, got, err, tr.physical)
		}
		return nil
	}
	if !errors.As(err, &fault) || got != 0 {
		return fmt.Errorf("%v: %v, %v: want a fault", a, got, err)
	}
	last := len(tr.used) - 1
	want := fmt.Sprintf("#PF %#x at %d: %#x at %#x", s.errorCode(tr, a), tr.used[last].number, tr.used[last].value, tr.places[last])
	have := fmt.Sprintf("%v %#x at %d: %#x at %#x", fault.Vector, uint32(fault.Code), fault.Step.Level, fault.Step.Entry, uint64(fault.Step.Place))
	if have != want {
		return fmt.Errorf("%v: %s (%v): want %s", a, have, fault, want)
	}
	return nil
}

// agreeAll compares a whole walk with the oracle: steps, rights, every access.
func (s state) agreeAll(t *testing.T, m ram, unit *mmu.MMU, va uint64) {
	t.Helper()
	w := unit.Walk(m, x86.Virt(va))
	tr := s.translate(func(at uint64) (uint64, bool) {
		if m[x86.PFN(at>>12)] == nil {
			return 0, false
		}
		return m.get(at), true
	}, va)
	if len(w.Steps()) != len(tr.used) {
		t.Fatalf("%#x: %d steps, want %d: %+v", va, len(w.Steps()), len(tr.used), w.Steps())
	}
	for i, st := range w.Steps() {
		if int(st.Level) != tr.used[i].number || st.Entry != tr.used[i].value || uint64(st.Place) != tr.places[i] {
			t.Fatalf("%#x: step %+v, want %+v at %#x", va, st, tr.used[i], tr.places[i])
		}
	}
	var rights mmu.Rights
	if !tr.notPresent && !tr.reserved && !tr.unreadable {
		rights = mmu.Rights{R: true, W: tr.rwEverywhere(), X: tr.xdNowhere(), U: tr.userModeAddress(), Shadow: tr.shadowStackAddress()}
	}
	if w.Rights() != rights {
		t.Fatalf("%#x: rights %+v, want %+v", va, w.Rights(), rights)
	}
	for _, a := range accesses {
		if err := s.agree(tr, &w, a); err != nil {
			t.Fatalf("%+v: va %#x: entries %x: %v", s, va, tr.used, err)
		}
	}
}
