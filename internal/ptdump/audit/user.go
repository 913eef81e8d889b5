package audit

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// userHalf audits the root tables and the user half of one address space.
func (a *auditor) userHalf(s *addressSpace) (*findingList, error) {
	v := a.userAudit(s)
	if a.markRoots(s) {
		v.quiet = 1
	}
	if err := a.rootTables(s, v.list); err != nil {
		return nil, err
	}
	return v.list, v.walk()
}

// userAudit checks the entries of a user half.
type userAudit struct {
	a       *auditor
	space   *addressSpace
	list    *findingList
	decoder tree.Decoder
	leaf    tree.Leaf
	seen    map[tree.TableKey]bool // tables that were visited again
	areas   areaCursor
	quiet   int // below a table that was linked before, how deep: its pages are marked already
	cet     bool
}

func (a *auditor) userAudit(s *addressSpace) *userAudit {
	v := &userAudit{
		a: a, space: s, list: a.newList(), decoder: a.in.Decoder(), seen: map[tree.TableKey]bool{}, areas: areaCursor{areas: s.areas},
	}
	v.cet = a.in.ABI.Paging().ShadowStack
	for _, c := range a.in.CPUs {
		v.cet = v.cet || c.CR4&x86.CR4CET != 0
	}
	return v
}

// userRoot is the root that the process runs on: with PTI, the kernel's has NX on everything.
func (s *addressSpace) userRoot() x86.PFN {
	if s.roots.PTI {
		return s.roots.User.PFN()
	}
	return s.roots.Kernel.PFN()
}

// walk visits the user half. If its root cannot be read, that is a finding.
func (v *userAudit) walk() error {
	p := v.a.in.ABI.Paging()
	r := pgtable.Range{First: 0, Last: p.KernelHalf() - 1}
	err := pgtable.Walk(v.a.in.Mem, v.a.in.ABI, v.space.userRoot(), r, v)
	if err == nil || v.a.interrupted() != nil {
		return v.a.interrupted()
	}
	v.a.problem(v.list, v.space, "", &pgtable.Problem{Size: uint64(r.Last) + 1, Level: p.Root(), Entry: v.space.userRoot().Phys(), Err: err})
	return nil
}

// Enter implements [pgtable.Visitor].
func (v *userAudit) Enter(t *pgtable.Table) (bool, error) {
	if t.Repeat {
		if v.seen[tree.KeyOf(t)] {
			return false, nil
		}
		if len(v.seen) < maxRepeats {
			v.seen[tree.KeyOf(t)] = true
		}
	}
	if t.Parent == 0 {
		return true, nil
	}
	v.tableEntry(t)
	if v.quiet > 0 {
		v.quiet++
		return true, nil
	}
	before, after := v.a.fr.setAgain(uint64(t.PFN), frTable, frTableAgain, 0)
	v.a.look(before, after)
	if before&frTable != 0 {
		v.quiet++
	}
	return true, nil
}

// Leave implements [pgtable.Visitor].
func (v *userAudit) Leave(*pgtable.Table) error {
	v.quiet = max(v.quiet-1, 0)
	return nil
}

// tableEntry checks the entry that led to t.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_bad(), pud_bad(), p4d_bad(), pgd_bad()
func (v *userAudit) tableEntry(t *pgtable.Table) {
	abi, bad := v.a.in.ABI, false
	switch t.Level + 1 {
	case x86.LevelPMD:
		bad = x86.PMD(t.Raw).Bad(abi)
	case x86.LevelPUD:
		bad = x86.PUD(t.Raw).Bad(abi)
	case x86.LevelP4D:
		bad = x86.P4D(t.Raw).Bad(abi)
	case x86.LevelPGD:
		bad = x86.PGD(t.Raw).Bad(abi)
	}
	const usual = x86.PageRW | x86.PageUser
	if !bad && t.Raw&usual == usual {
		return
	}
	text := fmt.Sprintf("%s entry %#016x leads to a table", t.Level+1, t.Raw)
	v.list.add(&finding{
		place: place{v.space, t.VA, t.Level + 1, t.Raw, t.Parent}, Rule: ruleBadTableEntry,
		Severity: rules[ruleBadTableEntry].Severity, Size: t.Level.Span(), Count: 1, Text: text,
	}, nil)
}

// Slot implements [pgtable.Visitor].
func (v *userAudit) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotLeaf {
		v.entry(t, i)
	}
	return nil
}

// PTEs implements [pgtable.Visitor].
func (v *userAudit) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		if !x86.PTE(t.Entries[i]).None() {
			v.entry(t, i)
		}
	}
	return nil
}

// Problem implements [pgtable.Visitor].
func (v *userAudit) Problem(p *pgtable.Problem) error {
	if err := v.a.interrupted(); err != nil {
		return err
	}
	v.a.problem(v.list, v.space, "", p)
	return nil
}

// entry checks entry i of t, which is not empty.
func (v *userAudit) entry(t *pgtable.Table, i int) {
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	area := v.areas.at(l.VA)
	if area == nil && v.space.complete {
		v.add(ruleOutsideAreas, l, nil, "no area covers this", "")
	}
	if !l.IsPage() {
		v.other(l, area)
		return
	}
	if v.a.reserved(v.list, v.space, areaText(area), l, area) {
		return
	}
	if l.Invalid && !v.notInverted(l) {
		v.illegal(l, area)
		return
	}
	v.frames(l, area)
	v.page(l, area)
	if area != nil {
		v.inArea(l, area)
	}
}

// illegal reports an entry that no kernel writes.
func (v *userAudit) illegal(l *tree.Leaf, area *auditArea) {
	text := "no kernel writes this"
	if err := v.decoder.Layout.Check(l.Level, l.Raw); err != nil {
		text = tree.InvalidText(err)
	}
	v.add(ruleIllegalSwapEntry, l, area, text, "")
}

// other checks an entry that names no page by its frame bits.
func (v *userAudit) other(l *tree.Leaf, area *auditArea) {
	if l.Invalid {
		v.illegal(l, area)
		return
	}
	switch l.Kind {
	case tree.KindSwap:
		v.swapSlot(l)
	case tree.KindMigration:
		v.add(ruleMigrationEntry, l, area, "migrating", "")
	case tree.KindHWPoison:
		v.add(ruleHWPoisonEntry, l, area, "the frame has failed", "")
		if v.quiet == 0 && v.a.ram.tracked(l.PFN) {
			v.a.look(v.a.fr.set(uint64(l.PFN), frPoison))
		}
	case tree.KindSwapinError:
		v.add(ruleHWPoisonEntry, l, area, "could not be read back from swap", "")
	case tree.KindMarker:
		if l.Swap.Marker&swapentry.MarkerPoisoned != 0 {
			v.add(ruleHWPoisonEntry, l, area, "marked as poisoned", "")
		}
	}
	if l.HasPFN && l.Kind != tree.KindDevicePrivate && v.a.ram.outside(l.PFN) {
		v.add(ruleFrameOutsideRAM, l, area, fmt.Sprintf("a %s entry, and frame %#x is not RAM", l.Kind, uint64(l.PFN)), "")
	}
	if area != nil && !area.UffdWP && (l.Swap.UffdWP || l.Swap.Marker&swapentry.MarkerUffdWP != 0) {
		v.add(ruleStaleUffdWP, l, area, "uffd-wp in an area that is not registered", "")
	}
}

// swapSlot takes note of who names a slot of a swap device.
func (v *userAudit) swapSlot(l *tree.Leaf) {
	if v.quiet > 0 {
		return
	}
	bits := uint32(0)
	if l.Swap.Exclusive {
		bits = slExclusive
	}
	before, after := v.a.slot.of(l.Swap.Type).setAgain(l.Swap.Offset, slSeen, slAgain, bits)
	if before != after && slotClash(after) {
		v.a.clashes.n.Add(1)
	}
}

// add reports an entry. area may be nil.
func (v *userAudit) add(r ruleID, l *tree.Leaf, area *auditArea, text, explained string) {
	if !v.list.on(r) {
		return
	}
	f := newFinding(r, v.space, l, text)
	f.Region, f.Explained = areaText(area), explained
	v.list.add(f, area)
}

func areaText(a *auditArea) string {
	if a == nil {
		return ""
	}
	return a.Name
}
