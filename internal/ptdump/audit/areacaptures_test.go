package audit

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
)

// alteredArea is a change to one entry in an area of a process.
type alteredArea struct {
	rule   ruleID
	match  func(s *tree.Tree, l *tree.Leaf, a *auditArea) bool
	change func(s *tree.Tree, raw uint64) uint64
}

// ordinary reports a page of 4 KiB in an ordinary area.
func ordinary(l *tree.Leaf, a *auditArea) bool { return page(l) && !a.Driver && !a.Huge }

var areaAlterations = []alteredArea{
	{ruleWritableWithoutVMWrite, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool {
		return ordinary(l, a) && !a.Write && a.Read && l.Raw&x86.PageSpecial == 0 && a.SoftDirty
	}, func(s *tree.Tree, raw uint64) uint64 { return uint64(x86.PTE(raw).MkWrite(s.ABI)) }},
	{ruleExecutableWithoutVMExec, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool { return ordinary(l, a) && !a.Exec && a.Read }, unset(x86.PageNX)},
	{rulePkeyMismatch, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool { return ordinary(l, a) }, func(_ *tree.Tree, raw uint64) uint64 {
		return raw ^ 3<<x86.PageBitPkey0
	}},
	{ruleSoftDirtyCleanWritable, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool {
		return ordinary(l, a) && !a.SoftDirty && l.Rights.W
	}, unset(x86.PageSoftDirty)},
	{ruleSpecialPageWritable, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool {
		return ordinary(l, a) && a.Write && a.SoftDirty && l.Raw&x86.PageSpecial != 0
	}, set(x86.PageRW)},
	{ruleStaleUffdWP, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool { return ordinary(l, a) && !l.Rights.W && !a.UffdWP }, set(x86.PageUffdWP)},
	{ruleUffdWPWritable, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool { return ordinary(l, a) && l.Rights.W && a.UffdWP }, set(x86.PageUffdWP)},
	{ruleAccessibleNoneArea, func(_ *tree.Tree, l *tree.Leaf, a *auditArea) bool {
		return l.Kind == tree.KindProtnone && l.Level == x86.LevelPTE && !a.Read && !a.Write && !a.Exec && !a.Driver
	}, func(s *tree.Tree, raw uint64) uint64 { return uint64(x86.PTE(raw).Modify(s.ABI, 0x8000000000000025)) }},
}

// find returns the first entry that an alteration is for.
func (a *alteredArea) find(in *Input) (found tree.Leaf, ok bool) {
	for _, s := range in.User {
		areas := areaCursor{areas: s.areas}
		root := s.At(s.userRoot().Phys())
		err := root.Walk(s.UserHalf(), leafFunc(func(l *tree.Leaf) error {
			if area := areas.at(l.VA); area != nil && a.match(root, l, area) {
				found = *l
				return errFound
			}
			return nil
		}))
		if errors.Is(err, errFound) {
			return found, true
		}
	}
	return found, false
}

// TestAuditAlteredAreas is TestAuditAlteredCaptures for the rules about areas. It takes captures of whole machines; those
// in the folders of PTEMU_CAPTURES can be such.
func TestAuditAlteredAreas(t *testing.T) {
	tried := 0
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		if !strings.Contains(filepath.Base(dump), "full") {
			return
		}
		o, err := session.Open(context.Background(), dump, &session.Options{CPU: -1, Root: "cr3"})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		spaces, err := o.Processes(context.Background(), proc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, err := NewInput(o.Tree, spaces, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		plain := o.Mem
		before := faults(auditAll(t, in, 2))
		for i := range areaAlterations {
			a := &areaAlterations[i]
			l, ok := a.find(in)
			if !ok || auditNotRunIn(in, a.rule) {
				t.Logf("%s: nothing to alter", a.rule)
				continue
			}
			tried++
			altered := *in.Tree
			altered.Mem = &overlay{plain, map[x86.Phys]uint64{l.Place(): a.change(in.Tree, l.Raw)}}
			other := *in
			other.Tree = &altered
			more := without(faults(auditAll(t, &other, 2)), before)
			if len(more) != 1 || !strings.HasPrefix(more[0], a.rule.String()+" ") || !strings.Contains(more[0], l.VA.String()) {
				t.Errorf("%s at %v, entry %#x made %#x: found %q", a.rule, l.VA, l.Raw, a.change(in.Tree, l.Raw), more)
			}
		}
	})
	if tried == 0 {
		t.Skip("no capture of a whole machine: set PTEMU_CAPTURES")
	}
}

func auditNotRunIn(in *Input, r ruleID) bool {
	return rules[r].Needs&needTracks != 0 && !in.Tracks
}
