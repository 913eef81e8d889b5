package audit

import (
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
)

var userBreakages = []breakage{
	{rule: ruleTableLinkedTwice, bare: true, where: 0x3000000, do: func(m *auditMachine) {
		*m.slot(m.userRoot(0), 0x3000000, x86.LevelPMD) = *m.slot(m.userRoot(0), vaData, x86.LevelPMD)
		for i, a := range m.areas[0][1:3] { // what the table maps, at the other address
			a.Start, a.End = a.Start-vaData+0x3000000, a.End-vaData+0x3000000
			m.areas[0] = slices.Insert(m.areas[0], 9+i, a)
		}
	}},
	{rule: ruleTableShared, bare: true, where: vaData, do: func(m *auditMachine) {
		*m.slot(m.userRoot(1), vaData, x86.LevelPMD) = *m.slot(m.userRoot(0), vaData, x86.LevelPMD)
	}},
	{rule: ruleTableShared, name: "root", bare: true, where: 0, do: func(m *auditMachine) {
		m.roots[1], m.areas[1] = m.roots[0], m.areas[0]
	}},
	{rule: ruleTableLoop, bare: true, where: 3 << 30, do: func(m *auditMachine) {
		*m.slot(m.userRoot(0), 3<<30, x86.LevelPUD) = uint64(m.userRoot(0).Phys()) | capturetest.UserTable
	}},
	{rule: ruleTableOutsideRAM, bare: true, where: 3 << 30, do: func(m *auditMachine) {
		*m.slot(m.userRoot(0), 3<<30, x86.LevelPUD) = 0x100000000000 | capturetest.UserTable
	}},
	{rule: rulePageTableMapped, bare: true, where: vaShared + 0x1000, do: func(m *auditMachine) {
		*m.user(0, vaShared+0x1000) = at(eData, m.table(m.userRoot(1), vaHuge, x86.LevelPMD))
	}},
	{rule: rulePageTableMapped, name: "readable", bare: true, where: vaShared + 0x1000, do: func(m *auditMachine) {
		*m.user(0, vaShared+0x1000) = at(eClean, m.table(m.userRoot(0), vaShared, x86.LevelPTE))
	}},
	{rule: rulePageTableMapped, name: "kernel", bare: true, where: fakeVMalloc + 0x2000, do: func(m *auditMachine) {
		*m.kern(fakeVMalloc + 0x2000) = at(eKernel, uint64(m.kernel))
	}},
	{rule: ruleBadTableEntry, bare: true, where: 0x600000, do: func(m *auditMachine) { or(m.slot(m.userRoot(0), vaData, x86.LevelPMD), x86.PageGlobal) }},
	{rule: ruleBadTableEntry, name: "not present", bare: true, where: 0x40000000000, do: func(m *auditMachine) {
		m.setRoot(0, 8, 0x9000066)
	}},
	{rule: ruleReservedBits, bare: true, where: vaData, do: func(m *auditMachine) {
		p := x86.DefaultPaging(4)
		p.PhysBits = 46
		m.abi = x86.MustABI(m.abi.Kernel(), p)
		or(m.user(0, vaData), 1<<50)
	}},
	{rule: ruleHugeMisaligned, bare: true, where: vaHuge, do: func(m *auditMachine) { or(m.slot(m.userRoot(0), vaHuge, x86.LevelPMD), 0x4000) }},
	{rule: ruleUnreadTable, bare: true, where: 3 << 30, do: func(m *auditMachine) {
		*m.slot(m.userRoot(0), 3<<30, x86.LevelPUD) = 0x3fff000 | capturetest.UserTable
	}},

	{rule: ruleUserWX, bareOnly: true, where: vaShared, do: func(m *auditMachine) {
		clear(m.user(0, vaShared), x86.PageNX)
		m.areas[0][2].Exec = true // with the area, it is explained
	}},
	{rule: ruleUserSupervisor, bare: true, where: vaData, do: func(m *auditMachine) { clear(m.user(0, vaData), x86.PageUser) }},
	{rule: ruleUserGlobal, bare: true, where: vaText, do: func(m *auditMachine) { or(m.user(1, vaText), x86.PageGlobal) }},
	{rule: ruleFrameOutsideRAM, bare: true, where: vaShared, do: func(m *auditMachine) { or(m.user(0, vaShared), 1<<38) }},
	{rule: ruleFrameOutsideRAM, name: "failed", bare: true, where: vaData + 0x8000, also: []ruleID{ruleHWPoisonEntry}, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 0xdffffffffdb97400 // failed, frame 0x12345
	}},
	{rule: ruleProtnoneNotInverted, bare: true, where: vaNone, do: func(m *auditMachine) { *m.user(0, vaNone) ^= m.abi.FrameMask(x86.LevelPTE) }},
	{rule: ruleShadowStackEntry, bare: true, where: vaData + 0x7000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x7000) ^= x86.PageDirty | m.abi.SavedDirtyMask()
	}},
	{rule: ruleShadowStackEntry, name: "kernel", bare: true, where: fakeEntry, do: func(m *auditMachine) { or(m.kern(fakeEntry), x86.PageDirty) }},
	{rule: ruleSavedDirtyWritable, bare: true, where: vaData, do: func(m *auditMachine) { or(m.user(0, vaData), m.abi.SavedDirtyMask()) }},
	{rule: ruleUffdWPWritable, bare: true, where: vaUffd, do: func(m *auditMachine) {
		*m.user(0, vaUffd) = uint64(x86.PTE(*m.user(0, vaUffd)).MkWrite(m.abi)) | x86.PageSoftDirty
	}},
	{rule: ruleIllegalSwapEntry, bare: true, where: vaData + 0x8000, do: func(m *auditMachine) { *m.user(0, vaData+0x8000) = 0x07fffffffffffe00 }}, // slot 0
	{rule: ruleIllegalSwapEntry, name: "marker", bare: true, where: vaData + 0x8000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 0xfffffffffffff600 // a guard, before there are any
	}},
	{rule: ruleIllegalSwapEntry, name: "bit 1 of an empty entry", bare: true, where: vaData + 0x8000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 1 << 1
	}},
	{rule: ruleIllegalSwapEntry, name: "bit 8 of an empty entry", bare: true, where: vaData + 0x8000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 1 << 8
	}},
	{rule: ruleExclusiveSwapShared, bare: true, where: vaData + 0x5000, do: func(m *auditMachine) {
		*m.user(1, vaData+0x5000) = *m.user(0, vaData+0x5000) &^ x86.PageSwpExclusive
	}},
	{rule: ruleMigrationEntry, bare: true, where: vaData + 0x8000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 0xf7ffe7fffdb97400 ^ 0x12045<<9 // frame 0x300
	}},
	{rule: ruleHWPoisonEntry, bare: true, where: vaData + 0x8000, do: func(m *auditMachine) {
		*m.user(0, vaData+0x8000) = 0xfffffffffffffa00 // a poisoned marker
	}},
	{rule: ruleHWPoisonMapped, bare: true, where: vaData, also: []ruleID{ruleHWPoisonEntry}, do: func(m *auditMachine) {
		*m.user(1, vaData+0x8000) = 0xdfffffffffeffe00 // failed, frame 0x800
	}},

	{rule: ruleOutsideAreas, where: vaHole, do: func(m *auditMachine) {
		m.mem.Map(m.userRoot(0), 4, vaHole, x86.LevelPTE, at(eData, 0x860), capturetest.UserTable)
	}},
	{rule: ruleOutsideAreas, name: "swap", where: vaHole, do: func(m *auditMachine) {
		m.mem.Map(m.userRoot(0), 4, vaHole, x86.LevelPTE, 0x07ffffffffdb9600, capturetest.UserTable)
	}},
	{rule: ruleWritableWithoutVMWrite, where: vaText + 0x1000, do: func(m *auditMachine) {
		*m.user(0, vaText+0x1000) = at(0x8000000000000867, 0x861)
	}},
	{rule: ruleExecutableWithoutVMExec, where: vaData + 0x4000, do: func(m *auditMachine) { clear(m.user(0, vaData+0x4000), x86.PageNX) }},
	{rule: ruleAccessibleNoneArea, where: vaNone + 0x1000, do: func(m *auditMachine) { *m.user(0, vaNone+0x1000) = at(eClean, 0x863) }},
	{rule: ruleSharedPrivatePage, where: vaData, do: func(m *auditMachine) { *m.user(1, vaData+0x8000) = at(eClean, 0x800) }},
	{rule: ruleSharedPrivatePage, name: "huge", where: vaHuge + 0x5000, do: func(m *auditMachine) { *m.user(1, vaData+0x8000) = at(eClean, 0x2005) }},
	{rule: ruleSharedPrivatePage, name: "PROT_NONE", where: vaData, do: func(m *auditMachine) { *m.user(1, vaNone+0x8000) = at(eNone, 0x800) }},
	{rule: ruleSoftDirtyCleanWritable, where: vaTrack, do: func(m *auditMachine) {
		*m.user(0, vaTrack) = uint64(x86.PTE(*m.user(0, vaTrack)).MkWrite(m.abi))
	}},
	{rule: ruleSpecialPageWritable, where: vaData + 0x4000, do: func(m *auditMachine) { or(m.user(0, vaData+0x4000), x86.PageRW) }},
	{rule: rulePkeyMismatch, where: vaKey, do: func(m *auditMachine) { *m.user(0, vaKey) ^= 1 << x86.PageBitPkey0 }},
	{rule: ruleStaleUffdWP, where: vaData + 0x7000, do: func(m *auditMachine) { or(m.user(0, vaData+0x7000), x86.PageUffdWP) }},
	{rule: ruleStaleUffdWP, name: "swap", where: vaData + 0x5000, do: func(m *auditMachine) { or(m.user(0, vaData+0x5000), x86.PageSwpUffdWP) }},
	{rule: ruleStaleUffdWP, name: "marker", where: vaData + 0x8000, do: func(m *auditMachine) { *m.user(0, vaData+0x8000) = 0xfffffffffffffc00 }},
}
