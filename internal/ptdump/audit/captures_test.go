package audit

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// overlay is memory in which single entries have other values.
type overlay struct {
	physmem.Reader
	entries map[x86.Phys]uint64
}

func (o *overlay) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if err := o.Reader.ReadFrame(pfn, dst); err != nil {
		return err
	}
	for at, e := range o.entries {
		if at.PFN() == pfn {
			for i := range 8 {
				dst[at.Offset()+uint64(i)] = byte(e >> (8 * i))
			}
		}
	}
	return nil
}

// altered is a change to one entry of a real capture: the first that matches.
type altered struct {
	rule   ruleID
	kernel bool
	match  func(s *tree.Tree, l *tree.Leaf) bool
	change func(s *tree.Tree, raw uint64) uint64
}

func page(l *tree.Leaf) bool {
	return l.Kind == tree.KindPresent && l.Rights.R && l.Level == x86.LevelPTE
}

func inRegion(s *tree.Tree, l *tree.Leaf, r linux.Region) bool {
	return l.Kind == tree.KindPresent && l.Rights.R && linux.RegionAt(s.System.Markers(), l.VA).Region == r
}

func set(bits uint64) func(*tree.Tree, uint64) uint64 {
	return func(_ *tree.Tree, raw uint64) uint64 { return raw | bits }
}

func unset(bits uint64) func(*tree.Tree, uint64) uint64 {
	return func(_ *tree.Tree, raw uint64) uint64 { return raw &^ bits }
}

var alterations = []altered{
	{ruleKernelTextWritable, true, func(s *tree.Tree, l *tree.Leaf) bool { return inRegion(s, l, linux.RegionText) && l.Rights.X }, set(x86.PageRW)},
	{ruleKernelWX, true, func(s *tree.Tree, l *tree.Leaf) bool { return inRegion(s, l, linux.RegionModules) && l.Rights.X }, set(x86.PageRW)},
	{ruleKernelWX, true, func(s *tree.Tree, l *tree.Leaf) bool { return inRegion(s, l, linux.RegionVMalloc) && l.Rights.W }, unset(x86.PageNX)},
	{ruleDirectMapNotLinear, true, func(s *tree.Tree, l *tree.Leaf) bool {
		return inRegion(s, l, linux.RegionDirectMap) && l.Level == x86.LevelPTE
	},
		func(_ *tree.Tree, raw uint64) uint64 { return raw ^ 1<<20 }},
	{ruleKernelFrameOutsideRAM, true, func(s *tree.Tree, l *tree.Leaf) bool { return inRegion(s, l, linux.RegionVMemmap) }, set(1 << 40)},
	{ruleDirectMapExecutable, true, func(s *tree.Tree, l *tree.Leaf) bool {
		return inRegion(s, l, linux.RegionDirectMap) && !l.Rights.W && !l.Rights.X && l.PFN > lowMemory
	}, unset(x86.PageNX)},
	{ruleUffdWPWritable, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) && l.Raw&x86.PageUffdWP != 0 },
		func(s *tree.Tree, raw uint64) uint64 { return uint64(x86.PTE(raw).MkWrite(s.ABI)) }},
	{ruleUserGlobal, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) }, set(x86.PageGlobal)},
	{ruleUserSupervisor, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) }, unset(x86.PageUser)},
	{ruleUserWX, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) && l.Rights.W && !l.Rights.X }, unset(x86.PageNX)},
	{ruleFrameOutsideRAM, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) && l.Raw&x86.PageSpecial == 0 }, set(1 << 45)},
	{ruleProtnoneNotInverted, false, func(_ *tree.Tree, l *tree.Leaf) bool {
		return l.Kind == tree.KindProtnone && l.Raw&x86.PageSpecial == 0
	},
		func(s *tree.Tree, raw uint64) uint64 { return raw ^ s.ABI.FrameMask(x86.LevelPTE) }},
	{ruleHugeMisaligned, false, func(_ *tree.Tree, l *tree.Leaf) bool { return l.Kind == tree.KindPresent && l.Level == x86.LevelPMD }, set(1 << 15)},
	{ruleIllegalSwapEntry, false, func(_ *tree.Tree, l *tree.Leaf) bool { return l.Kind == tree.KindSwap }, set(x86.PagePCD)},
	{ruleShadowStackEntry, false, func(s *tree.Tree, l *tree.Leaf) bool {
		return page(l) && s.ABI.SavedDirtyMask() != 0 && l.Raw&s.ABI.SavedDirtyMask() != 0
	}, func(s *tree.Tree, raw uint64) uint64 { return raw&^s.ABI.SavedDirtyMask() | x86.PageDirty }},
	{rulePageTableMapped, false, func(_ *tree.Tree, l *tree.Leaf) bool { return page(l) && l.Rights.W && l.Raw&x86.PageSpecial == 0 },
		func(s *tree.Tree, raw uint64) uint64 {
			return raw&^s.ABI.FrameMask(x86.LevelPTE) | uint64(s.System.InitMM.Kernel)
		}},
}

var errFound = errors.New("found")

// find returns the first entry that an alteration is for.
func (a *altered) find(s *tree.Tree) (found tree.Leaf, ok bool) {
	f := s.UserHalf()
	if a.kernel {
		s = s.At(s.System.InitMM.Kernel)
		f = tree.Filter{First: s.ABI.Paging().KernelHalf(), Last: ^x86.Virt(0)}
	}
	err := s.Walk(f, leafFunc(func(l *tree.Leaf) error {
		if a.match(s, l) {
			found = *l
			return errFound
		}
		return nil
	}))
	return found, errors.Is(err, errFound)
}

type leafFunc func(*tree.Leaf) error

func (f leafFunc) Leaf(l *tree.Leaf) error        { return f(l) }
func (f leafFunc) Problem(*pgtable.Problem) error { return nil }

// TestAuditAlteredCaptures: a real capture with one entry changed gives the findings of the capture, and one more: of the
// right rule, at the right place.
func TestAuditAlteredCaptures(t *testing.T) {
	tried := make([]int, len(alterations))
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		if !strings.Contains(filepath.Base(dump), "tables") {
			t.Skip("one dump a machine is enough")
		}
		o, err := session.Open(context.Background(), dump, &session.Options{CPU: -1, Root: "cr3"})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		plain := o.Mem
		before := auditOpened(t, o)
		for i := range alterations {
			a := &alterations[i]
			l, ok := a.find(o.Tree)
			if !ok || tried[i] == 2 {
				continue
			}
			tried[i]++
			o.Mem = &overlay{plain, map[x86.Phys]uint64{l.Place(): a.change(o.Tree, l.Raw)}}
			more := without(auditOpened(t, o), before)
			if len(more) != 1 || !strings.HasPrefix(more[0], a.rule.String()+" ") || !strings.Contains(more[0], l.VA.String()) {
				t.Errorf("%s at %v, entry %#x made %#x: found %q", a.rule, l.VA, l.Raw, a.change(o.Tree, l.Raw), more)
			}
			o.Mem = plain
		}
	})
	for i := range alterations {
		if tried[i] == 0 {
			t.Errorf("%s was tried on no capture", alterations[i].rule)
		}
	}
}

// auditOpened audits the trees of the processors.
func auditOpened(t testing.TB, o *session.Session) []string {
	t.Helper()
	in, err := NewInput(o.Tree, nil, "for a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return faults(auditAll(t, in, 2))
}

// without returns what is in a and not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// TestAuditCaptures: what is found in the captures of guests is what these made on purpose.
func TestAuditCaptures(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		o, err := session.Open(context.Background(), dump, &session.Options{CPU: -1, Root: "cr3"})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		guest, err := f.Guest()
		if err != nil {
			t.Skip("no guest's log: ", err)
		}
		in, err := NewInput(o.Tree, nil, "for a test", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range auditAll(t, in, 2).Findings {
			if found.Explained != "" {
				continue
			}
			region := ""
			for _, r := range guest.Regions {
				if uint64(found.VA) >= r.Start && uint64(found.VA) < r.Start+r.Len {
					region = r.Name
				}
			}
			if !madeOnPurpose(found.Rule, region) {
				t.Errorf("%s, in region %q", describe(found), region)
			}
		}
	})
}

// madeOnPurpose reports whether the guest's region was made to have what the rule finds.
func madeOnPurpose(r ruleID, region string) bool {
	switch r {
	case ruleUserWX:
		return region == "anon_rwx"
	case ruleHWPoisonEntry:
		return slices.Contains([]string{"hwpoison", "hugetlb_hwpoison", "uffd_poison", "mixed"}, region)
	}
	return false
}
