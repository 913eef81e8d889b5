package audit

import (
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/report"
)

// TestAuditExplained: what has a reason is found, and is no fault.
func TestAuditExplained(t *testing.T) {
	share := func(m *auditMachine) {
		*m.slot(m.userRoot(1), vaTLB, x86.LevelPUD) = *m.slot(m.userRoot(0), vaTLB, x86.LevelPUD)
	}
	noPCID := func(m *auditMachine) {
		m.mem.Map(m.kernel+1, 4, fakeText+0x400000, x86.LevelPMD, eRO|0x1400000|0x80, capturetest.KernelTable)
		for i := range m.cpus {
			m.cpus[i].CR4 &^= x86.CR4PCIDE
		}
	}
	for _, c := range []struct {
		name   string
		rule   ruleID
		pti    bool
		noArea bool
		do     func(*auditMachine)
		why    string
	}{
		{"hugetlb", ruleTableShared, false, false, share, "huge_pmd_share"},
		{"hugetlb without areas", ruleTableShared, false, true, share, "huge_pmd_share"},
		{"no PCID", rulePTIUserMapsKernel, true, false, noPCID, "pti_clone_kernel_text"},
	} {
		m := newAuditMachine(c.pti)
		c.do(m)
		m.noArea = c.noArea
		rep := m.audit(t, 2)
		i := slices.IndexFunc(rep.Findings, func(f *finding) bool { return f.Rule == c.rule })
		if i < 0 || !strings.Contains(rep.Findings[i].Explained, c.why) || rep.Findings[i].Severity != sevNote {
			t.Errorf("%s: %d of %v, want it explained by %s", c.name, i, faults(rep), c.why)
		}
		for _, f := range faults(rep) {
			if !c.noArea || !strings.HasPrefix(f, "user-wx ") {
				t.Errorf("%s: %s", c.name, f)
			}
		}
	}
}

// TestAuditNotExplained: the same without the reason is a fault.
func TestAuditNotExplained(t *testing.T) {
	m := newAuditMachine(false)
	*m.slot(m.userRoot(1), vaTLB, x86.LevelPUD) = *m.slot(m.userRoot(0), vaTLB, x86.LevelPUD)
	m.areas[1][len(m.areas[1])-1].Shared = false
	if got := faults(m.audit(t, 1)); len(got) != 1 || !strings.HasPrefix(got[0], "table-shared process 11") {
		t.Errorf("%q", got)
	}
}

// TestAuditMerges: neighbours that break a rule alike are one finding, others are not.
func TestAuditMerges(t *testing.T) {
	m := newAuditMachine(false)
	for j := range x86.Virt(4) {
		or(m.user(0, vaData+j<<12), x86.PageGlobal)
	}
	or(m.user(0, vaData+0x7000), x86.PageGlobal) // of the same area
	or(m.user(0, vaText), x86.PageGlobal)        // of another
	or(m.user(1, vaData), x86.PageGlobal)        // of another process
	want := []string{
		"user-global process 10 (p0) 0x0000000000400000 1: GLOBAL",
		"user-global process 10 (p0) 0x0000000000600000 5: GLOBAL",
		"user-global process 11 (p1) 0x0000000000600000 1: GLOBAL",
	}
	rep := m.audit(t, 1)
	if got := faults(rep); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, f := range rep.Findings {
		if f.Count == 5 && f.Size != 0x8000 {
			t.Errorf("size %#x of a finding that ends at 0x608000", f.Size)
		}
	}
}

// TestAuditRepeats: how many jobs there are does not change what is found, nor its order.
func TestAuditRepeats(t *testing.T) {
	m := newAuditMachine(true)
	for _, b := range []ruleID{ruleSharedPrivatePage, ruleExclusiveSwapShared, rulePageTableMapped, ruleUffdWPWritable, ruleKernelWX, ruleHWPoisonMapped} {
		all := append(slices.Clone(breakages), userBreakages...)
		all[slices.IndexFunc(all, func(x breakage) bool { return x.rule == b })].do(m)
	}
	first := m.audit(t, 1).text(report.Palette{})
	for range 20 {
		if again := m.audit(t, 4).text(report.Palette{}); string(again) != string(first) {
			t.Fatalf("with 4 jobs:\n%s\nwith one:\n%s", again, first)
		}
	}
}

// TestAuditBounds: a machine that breaks a rule everywhere gives a list of bounded length, and says how many are left
// out.
func TestAuditBounds(t *testing.T) {
	m := newAuditMachine(false)
	m.areas[0] = nil
	for i := range x86.Virt(4 * maxSpaceRule) {
		m.mem.Map(m.roots[0], 4, 0x50000000000+i<<13, x86.LevelPTE, 0xfffffffffffff600, capturetest.UserTable)
	}
	rep := m.audit(t, 1)
	n := uint64(0)
	for _, f := range rep.Findings {
		if f.Rule == ruleIllegalSwapEntry {
			n += f.Count
		}
	}
	if n != maxSpaceRule || rep.Dropped[ruleIllegalSwapEntry] != 3*maxSpaceRule {
		t.Errorf("%d listed, %v dropped", n, rep.Dropped)
	}
	if !rep.Failed() {
		t.Error("not a failure")
	}
}

// TestAuditNotRunNames: without areas, the rules about them are named as not run, and no other.
func TestAuditNotRunNames(t *testing.T) {
	m := newAuditMachine(false)
	m.noArea = true
	var got []string
	for _, n := range m.audit(t, 1).NotRun {
		if n.Why == "the areas of processes are not known: for a test" {
			got = append(got, n.Rule.String())
		}
	}
	var want []string
	for id := ruleOutsideAreas; id < ruleCount; id++ {
		want = append(want, id.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
