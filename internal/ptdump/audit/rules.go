package audit

import (
	"slices"

	"ptemu/internal/ptdump/report"
)

// ruleID is the number of a rule: its place among [rules].
type ruleID int

// The rules, in the order of the documentation.
const (
	ruleKernelWX ruleID = iota
	ruleKernelTextWritable
	ruleKernelUserWritable
	ruleKernelUserAccessible
	ruleDirectMapExecutable
	ruleKernelDataExecutable
	ruleExecutableAliasWritable
	ruleDirectMapNotLinear
	ruleKernelFrameOutsideRAM
	ruleKernelHoleMapped
	ruleKernelHalfDiffers
	rulePTIUserMapsKernel
	rulePTINXMissing
	rulePTIRootsDiffer
	ruleCPUProtectionOff

	ruleTableLinkedTwice
	ruleTableShared
	ruleTableLoop
	ruleTableOutsideRAM
	rulePageTableMapped
	ruleBadTableEntry
	ruleReservedBits
	ruleHugeMisaligned
	ruleUnreadTable

	ruleUserWX
	ruleUserSupervisor
	ruleUserGlobal
	ruleFrameOutsideRAM
	ruleProtnoneNotInverted
	ruleShadowStackEntry
	ruleSavedDirtyWritable
	ruleUffdWPWritable
	ruleIllegalSwapEntry
	ruleExclusiveSwapShared
	ruleMigrationEntry
	ruleHWPoisonEntry
	ruleHWPoisonMapped

	ruleOutsideAreas
	ruleWritableWithoutVMWrite
	ruleExecutableWithoutVMExec
	ruleAccessibleNoneArea
	ruleSharedPrivatePage
	ruleSoftDirtyCleanWritable
	ruleSpecialPageWritable
	rulePkeyMismatch
	ruleStaleUffdWP

	ruleCount
)

// ruleGroups are the headings of the documentation, and the first rule of each.
var ruleGroups = []struct {
	title string
	first ruleID
}{
	{"The kernel's half", ruleKernelWX},
	{"Tables", ruleTableLinkedTwice},
	{"The user half: entries alone", ruleUserWX},
	{"The user half: entries and areas", ruleOutsideAreas},
}

// rules are all rules, by number.
var rules = func() (all [ruleCount]rule) {
	for _, part := range []map[ruleID]rule{kernelRules, tableRules, userRules, areaRules} {
		for id, r := range part {
			all[id] = r
		}
	}
	return all
}()

// ruleNamed returns the rule with a name.
func ruleNamed(name string) (ruleID, bool) {
	i := slices.IndexFunc(rules[:], func(r rule) bool { return r.Name == name })
	return ruleID(i), i >= 0
}

// RuleNames are the names of all rules, in order.
func RuleNames() []string {
	var names []string
	for i := range rules {
		names = append(names, rules[i].Name)
	}
	return names
}

func (r ruleID) String() string { return rules[r].Name }

// notRun finds out which rules cannot be decided, and why.
func (a *auditor) notRun() {
	in := a.in
	areas, complete, pti := 0, 0, false
	for _, s := range in.User {
		if s.areas != nil || s.complete {
			areas++
		}
		if s.complete {
			complete++
		}
		pti = pti || s.roots.PTI
	}
	noAreas := "the areas of processes are not known"
	if in.Why != "" {
		noAreas += ": " + in.Why
	}
	const noKernel = "no root table with the kernel's half is known"
	for id := range rules {
		r := &rules[id]
		why := ""
		switch {
		case r.Needs&needKernel != 0 && in.Kernel == nil:
			why = noKernel
		case r.Needs&needRAM != 0 && (in.Kernel == nil || in.System == nil || !in.System.Layout.DirectMap.Found):
			why = "no direct map was found, which says where RAM is"
		case r.Needs&needPTI != 0 && !pti:
			why = "there is no pair of root tables (PTI)"
		case r.Needs&needCPUs != 0 && len(in.CPUs) == 0:
			why = "the capture has no processor's registers"
		case r.Needs&needAreas != 0 && areas == 0:
			why = noAreas
		case r.Needs&needTracks != 0 && !in.Tracks:
			why = "no area has VM_SOFTDIRTY, as if the kernel had no CONFIG_MEM_SOFT_DIRTY"
		case r.Needs&needMany != 0 && len(in.User) < 2:
			why = "the tables of less than two processes are known"
			if in.Why != "" {
				why += ": " + in.Why
			}
		case r.Needs&needAreas != 0 && areas < len(in.User):
			why = report.Plural(len(in.User)-areas, "address space") + " of which the areas are not known"
		case ruleID(id) == ruleOutsideAreas && complete < len(in.User):
			why = report.Plural(len(in.User)-complete, "address space") + " of which not all areas could be read"
		}
		if why != "" && a.opt.Rules[id] {
			a.rep.NotRun = append(a.rep.NotRun, notRun{ruleID(id), why})
		}
	}
}
