package audit

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// execRange is frames that the kernel executes at an address.
type execRange struct {
	frameSpan
	at place
}

// kernelHalf audits the kernel half of init_mm, the registers, and with PTI the kernel half of init_mm's user root.
func (a *auditor) kernelHalf() ([]*findingList, error) {
	cpus := a.newList()
	a.processors(cpus)
	k := a.in.Kernel
	if k == nil {
		return []*findingList{cpus}, nil
	}
	a.markRoots(k)
	v := a.kernelAudit(k)
	v.own = true
	if err := v.walk(k.roots.Kernel, a.kernelRange()); err != nil {
		return nil, err
	}
	a.ram.known = a.in.System.Layout.DirectMap.Found && !a.ram.overflow
	v.aliases()
	lists := []*findingList{cpus, v.list}
	if k.roots.PTI {
		u := a.kernelAudit(k)
		u.pti = true
		if err := u.walk(k.roots.User, a.kernelRange()); err != nil {
			return nil, err
		}
		lists = append(lists, u.list)
	}
	return lists, nil
}

func (a *auditor) kernelRange() pgtable.Range {
	return pgtable.Range{First: a.in.ABI.Paging().KernelHalf(), Last: ^x86.Virt(0)}
}

// kernelAudit checks the entries of a kernel half.
type kernelAudit struct {
	a     *auditor
	space *addressSpace
	list  *findingList
	own   bool // init_mm's: tells where RAM is
	pti   bool // of a user root

	decoder tree.Decoder
	leaf    tree.Leaf
	seen    map[tree.TableKey]bool // tables that were visited again
	shared  int                    // below a table that the kernel's own root leads to too, how deep
	region  linux.Marker
	until   x86.Virt // where it ends
	text    textState
	pending []*finding // writable pages that are text if more follows
	holes   bool       // holes are where they should be
	behind  x86.Virt   // the end of the last entry of the image's text
}

// textState says where in the kernel image a walk is.
type textState uint8

const (
	textBefore textState = iota
	textIn
	textBehind
)

func (a *auditor) kernelAudit(s *addressSpace) *kernelAudit {
	l := a.in.System.Layout
	return &kernelAudit{
		a: a, space: s, list: a.newList(), decoder: a.in.Decoder(), seen: map[tree.TableKey]bool{},
		holes: l.DirectMap.Found && l.VMalloc.Found && l.VMemmap.Found,
	}
}

func (v *kernelAudit) walk(root x86.Phys, r pgtable.Range) error {
	return pgtable.Walk(v.a.in.Mem, v.a.in.ABI, root.PFN(), r, v)
}

// at moves to the region that va lies in.
func (v *kernelAudit) at(va x86.Virt) {
	if v.until != 0 && va >= v.region.Addr && va < v.until {
		return
	}
	v.region = linux.RegionAt(v.a.in.Markers, va)
	v.until = ^x86.Virt(0)
	for _, m := range v.a.in.Markers {
		if m.Addr > va {
			v.until = m.Addr
			break
		}
	}
}

// repeats reports a region in which tables are linked many times.
func (v *kernelAudit) repeats() bool {
	return v.region.Region == linux.RegionKASAN || v.region.Region == linux.RegionESPFix
}

// Enter implements [pgtable.Visitor].
func (v *kernelAudit) Enter(t *pgtable.Table) (bool, error) {
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
	v.at(t.VA)
	switch before, after := v.a.fr.set(uint64(t.PFN), frTable); {
	case v.pti:
		if v.shared > 0 || before&frTable != 0 {
			v.shared++
		}
	case before&frTable != 0 && !v.repeats():
		v.a.look(v.a.fr.set(uint64(t.PFN), frTableAgain))
	default:
		v.a.look(before, after)
	}
	return true, nil
}

// Leave implements [pgtable.Visitor].
func (v *kernelAudit) Leave(*pgtable.Table) error {
	v.shared = max(v.shared-1, 0)
	return nil
}

// Slot implements [pgtable.Visitor].
func (v *kernelAudit) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotLeaf {
		v.entry(t, i)
	}
	return nil
}

// PTEs implements [pgtable.Visitor].
func (v *kernelAudit) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		if !x86.PTE(t.Entries[i]).None() {
			v.entry(t, i)
		}
	}
	return nil
}

// Problem implements [pgtable.Visitor].
func (v *kernelAudit) Problem(p *pgtable.Problem) error {
	v.at(p.VA)
	if v.own && v.region.Region == linux.RegionDirectMap {
		first := x86.Phys(p.VA - v.a.in.System.Layout.DirectMap.Addr).PFN()
		v.a.ram.add(first, first+x86.PFN(p.Size/x86.PageSize), false)
	}
	v.a.problem(v.list, v.space, v.region.Name, p)
	return nil
}

// entry checks entry i of t, which is not empty. What is not present is a page that the kernel took out of its own
// mapping: it maps nothing.
func (v *kernelAudit) entry(t *pgtable.Table, i int) {
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	v.at(l.VA)
	if v.own {
		v.note(l)
	}
	if l.Raw&x86.PagePresent == 0 {
		return
	}
	if v.a.reserved(v.list, v.space, v.region.Name, l, nil) {
		return
	}
	if v.pti {
		v.userRoot(l)
		if v.shared > 0 {
			return
		}
	}
	v.rights(l)
	v.place(l)
	if v.a.in.ABI.Kernel().SavedDirty && l.Raw&(x86.PageRW|x86.PageDirty) == x86.PageDirty {
		v.add(ruleShadowStackEntry, l, "D without RW in the kernel half, where no shadow stacks are", "")
	}
}

// note takes what the entry says of RAM and of frames.
func (v *kernelAudit) note(l *tree.Leaf) {
	a := v.a
	present := l.Raw&x86.PagePresent != 0
	pages := x86.PFN(l.Level.Size() / x86.PageSize)
	switch {
	case v.region.Region == linux.RegionDirectMap:
		first := x86.Phys(l.VA - a.in.System.Layout.DirectMap.Addr).PFN()
		a.ram.add(first, first+pages, !present || !l.Rights.W)
		if present && l.PFN != first {
			v.add(ruleDirectMapNotLinear, l, "the frame that belongs here is "+fmt.Sprintf("%#x", uint64(first)), "")
		}
		return
	case present && v.region.Region == linux.RegionCPUEntry && len(a.entryArea) < maxEntryArea:
		a.entryArea[l.PFN] = true
	}
	if present && l.Rights.X && !l.Rights.W && len(a.exec) < maxExecRanges {
		a.exec = append(a.exec, execRange{frameSpan{l.PFN, l.PFN + pages}, v.where(l)})
	}
	if present && l.Rights.W && v.region.Region != linux.RegionText && !v.repeats() && l.Level <= x86.LevelPMD {
		a.mark(l, 0, 0, frWritable)
	}
}

func (v *kernelAudit) where(l *tree.Leaf) place {
	return place{v.space, l.VA, l.Level, l.Raw, l.Place()}
}

// add reports an entry.
func (v *kernelAudit) add(r ruleID, l *tree.Leaf, text, explained string) {
	if !v.list.on(r) {
		return
	}
	f := newFinding(r, v.space, l, text)
	f.Region, f.Explained = v.region.Name, explained
	v.list.add(f, nil)
}
