package audit

import (
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
)

// TestAuditClean: nothing is found in a sound machine, but what is explained.
func TestAuditClean(t *testing.T) {
	for _, pti := range []bool{false, true} {
		m := newAuditMachine(pti)
		rep := m.audit(t, 1)
		for _, f := range faults(rep) {
			t.Errorf("pti %v: %s", pti, f)
		}
		var explained []string
		for _, f := range rep.Findings {
			explained = append(explained, f.Rule.String())
		}
		want := []string{"direct-map-executable", "user-wx", "user-wx"}
		if !slices.Equal(explained, want) {
			t.Errorf("pti %v: explained %q, want %q", pti, explained, want)
		}
		m.noArea = true
		for _, f := range faults(m.audit(t, 1)) {
			if !strings.HasPrefix(f, "user-wx ") {
				t.Errorf("pti %v, no areas: %s", pti, f)
			}
		}
	}
}

// breakage is one change to a sound machine, and what must be found.
type breakage struct {
	rule     ruleID
	name     string
	pti      bool
	bare     bool // also found without areas
	bareOnly bool // only then
	where    x86.Virt
	also     []ruleID // found with it, as it must be
	do       func(*auditMachine)
}

func or(p *uint64, bits uint64)    { *p |= bits }
func clear(p *uint64, bits uint64) { *p &^= bits }

var breakages = []breakage{
	{rule: ruleKernelWX, bare: true, where: fakeModules, do: func(m *auditMachine) {
		or(m.kern(fakeModules), x86.PageRW|x86.PageDirty)
		or(m.kern(fakeDirect+0x1210000), x86.PageRW)
	}},
	{rule: ruleKernelWX, name: "vmalloc", bare: true, where: fakeVMalloc + 0x1000, do: func(m *auditMachine) { clear(m.kern(fakeVMalloc+0x1000), x86.PageNX) }},
	{rule: ruleKernelWX, name: "image data", bare: true, where: fakeText + 0x600000, do: func(m *auditMachine) {
		clear(m.slot(m.kernel, fakeText+0x600000, x86.LevelPMD), x86.PageNX)
	}},
	{rule: ruleKernelTextWritable, bare: true, where: fakeText + 0x201000, do: func(m *auditMachine) { or(m.kern(fakeText+0x201000), x86.PageRW|x86.PageDirty) }},
	{rule: ruleKernelTextWritable, name: "not executable", bare: true, where: fakeText + 0x201000, do: func(m *auditMachine) {
		or(m.kern(fakeText+0x201000), x86.PageRW|x86.PageNX)
	}},
	{rule: ruleKernelUserWritable, bare: true, where: fakeDirect + 0x1000, do: func(m *auditMachine) {
		or(m.kern(fakeDirect+0x1000), x86.PageUser)
		for l := x86.LevelPMD; l <= x86.LevelP4D; l++ {
			or(m.slot(m.kernel, fakeDirect, l), x86.PageUser)
		}
		for _, r := range m.roots {
			or(m.slot(r, fakeDirect, x86.LevelP4D), x86.PageUser)
		}
	}},
	{rule: ruleKernelUserAccessible, bare: true, where: fakeVsyscall + 0x2000, do: func(m *auditMachine) {
		*m.kern(fakeVsyscall + 0x2000) = at(0x8000000000000125, 0x512)
	}},
	{rule: ruleDirectMapExecutable, bare: true, where: fakeDirect + 0x1207000, do: func(m *auditMachine) { clear(m.kern(fakeDirect+0x1207000), x86.PageNX) }},
	{rule: ruleKernelDataExecutable, bare: true, where: fakeEntry, do: func(m *auditMachine) {
		clear(m.kern(fakeEntry), x86.PageNX)
		clear(m.kern(fakeDirect+0x110000), x86.PageRW|x86.PageDirty) // no alias: the frame is 0x110 now
		*m.kern(fakeEntry) = at(eROX, 0x110)
	}},
	{rule: ruleKernelDataExecutable, name: "read-only data", bare: true, where: fakeText + 0x400000, do: func(m *auditMachine) {
		clear(m.slot(m.kernel, fakeText+0x400000, x86.LevelPMD), x86.PageNX)
		clear(m.slot(m.kernel, fakeDirect+0x1400000, x86.LevelPMD), x86.PageRW|x86.PageDirty)
	}},
	{rule: ruleExecutableAliasWritable, bare: true, where: fakeModules, do: func(m *auditMachine) { or(m.kern(fakeDirect+0x1210000), x86.PageRW) }},
	{rule: ruleExecutableAliasWritable, name: "vmalloc", bare: true, where: fakeModules, do: func(m *auditMachine) {
		*m.kern(fakeVMalloc + 0x2000) = at(eKernel, 0x1210)
	}},
	{rule: ruleDirectMapNotLinear, bare: true, where: fakeDirect + 0x5000, do: func(m *auditMachine) { *m.kern(fakeDirect + 0x5000) ^= 0x40000 }},
	{rule: ruleKernelFrameOutsideRAM, bare: true, where: fakeVMemmap, do: func(m *auditMachine) {
		or(m.slot(m.kernel, fakeVMemmap, x86.LevelPMD), 1<<32)
	}},
	{rule: ruleKernelFrameOutsideRAM, name: "modules", bare: true, where: fakeModules + 0x1000, do: func(m *auditMachine) { or(m.kern(fakeModules+0x1000), 1<<40) }},
	{rule: ruleKernelHoleMapped, bare: true, where: 0xffffff8000000000, do: func(m *auditMachine) {
		m.k(0xffffff8000000000, x86.LevelPTE, at(eKernel, 0x530))
		for _, r := range m.roots {
			m.mem.At(r)[511] = m.mem.At(m.kernel)[511]
		}
	}},
	{rule: ruleKernelHalfDiffers, bare: true, where: fakeVMemmap, do: func(m *auditMachine) {
		other := m.mem.Table()
		*m.mem.At(other) = *m.mem.At(x86.PFN(m.table(m.kernel, fakeVMemmap, x86.LevelPUD)))
		m.mem.At(other)[fakeVMemmap.Index(x86.LevelPUD)] = 0
		*m.slot(m.roots[1], fakeVMemmap, x86.LevelP4D) = uint64(other.Phys()) | capturetest.KernelTable
	}},
	{rule: rulePTIUserMapsKernel, pti: true, bare: true, where: fakeDirect + 0x600000, do: func(m *auditMachine) {
		m.mem.Map(m.kernel+1, 4, fakeDirect+0x600000, x86.LevelPTE, at(eRO, 0x600), capturetest.KernelTable)
	}},
	{rule: rulePTIUserMapsKernel, name: "one process", pti: true, bare: true, where: fakeVMalloc + 0x1000, do: func(m *auditMachine) {
		m.mem.Map(m.roots[1]+1, 4, fakeVMalloc+0x1000, x86.LevelPTE, at(eKernel, 0x500), capturetest.KernelTable)
	}},
	{rule: rulePTIUserMapsKernel, name: "image", pti: true, bare: true, where: fakeText + 0x400000, do: func(m *auditMachine) {
		m.mem.Map(m.kernel+1, 4, fakeText+0x400000, x86.LevelPMD, eRO|0x1400000|0x80, capturetest.KernelTable)
	}},
	{rule: rulePTINXMissing, pti: true, bare: true, where: 0, do: func(m *auditMachine) { clear(&m.mem.At(m.roots[0])[0], x86.PageNX) }},
	{rule: rulePTIRootsDiffer, pti: true, bare: true, where: 1 << 39, do: func(m *auditMachine) { m.mem.At(m.roots[1])[1] = 0 }},
	{rule: ruleCPUProtectionOff, bare: true, do: func(m *auditMachine) { m.cpus[1].CR0 &^= x86.CR0WP }},
	{rule: ruleCPUProtectionOff, name: "NXE", bare: true, do: func(m *auditMachine) { m.cpus[0].HasEFER = true }},
	{rule: ruleCPUProtectionOff, name: "SMAP", bare: true, do: func(m *auditMachine) { m.cpus[0].CR4 &^= x86.CR4SMAP }},
}

// TestAuditBreakages: a sound machine with one entry changed gives one finding, the one of the rule, at the place.
func TestAuditBreakages(t *testing.T) {
	tested := map[ruleID]bool{}
	for _, b := range append(slices.Clone(breakages), userBreakages...) {
		t.Run(strings.TrimSuffix(b.rule.String()+"/"+b.name, "/"), func(t *testing.T) {
			tested[b.rule] = true
			for _, pti := range []bool{true, false} {
				if b.pti && !pti {
					continue
				}
				for _, noArea := range []bool{false, true} {
					for _, jobs := range []int{1, 4} {
						m := newAuditMachine(pti)
						b.do(m)
						m.noArea = noArea
						checkBreakage(t, m.audit(t, jobs), &b, noArea)
					}
				}
			}
		})
	}
	for id := range ruleCount {
		if !tested[id] {
			t.Errorf("no test breaks the rule %s", id)
		}
	}
}

func checkBreakage(t *testing.T, rep *Report, b *breakage, noArea bool) {
	t.Helper()
	var got []string
	hit := false
	for _, f := range rep.Findings {
		if f.Explained == "" && (!noArea || f.Rule != ruleUserWX || f.VA != vaJIT) {
			if !slices.Contains(b.also, f.Rule) {
				got = append(got, describe(f))
			}
			hit = hit || f.Rule == b.rule && f.VA == b.where
		}
	}
	switch want := b.bare && !b.bareOnly || noArea == b.bareOnly; {
	case want && (len(got) != 1 || !hit):
		t.Errorf("no areas: %v: found %q, want %s at %v", noArea, got, b.rule, b.where)
	case !want && len(got) > 0:
		t.Errorf("no areas: found %q, want nothing", got)
	}
}
