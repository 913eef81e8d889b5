package ptdump

import (
	"fmt"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// bitName is what a bit of a register is called.
type bitName struct {
	mask uint64
	name string
}

// Names of the bits of control registers; those that are left out are reserved.
var (
	cr0Names = []bitName{
		{x86.CR0PE, "PE"}, {x86.CR0MP, "MP"}, {x86.CR0EM, "EM"}, {x86.CR0TS, "TS"}, {x86.CR0ET, "ET"}, {x86.CR0NE, "NE"},
		{x86.CR0WP, "WP"}, {x86.CR0AM, "AM"}, {x86.CR0NW, "NW"}, {x86.CR0CD, "CD"}, {x86.CR0PG, "PG"},
	}
	cr4Names = []bitName{
		{x86.CR4VME, "VME"}, {x86.CR4PVI, "PVI"}, {x86.CR4TSD, "TSD"}, {x86.CR4DE, "DE"}, {x86.CR4PSE, "PSE"},
		{x86.CR4PAE, "PAE"}, {x86.CR4MCE, "MCE"}, {x86.CR4PGE, "PGE"}, {x86.CR4PCE, "PCE"}, {x86.CR4OSFXSR, "OSFXSR"},
		{x86.CR4OSXMMEXCPT, "OSXMMEXCPT"}, {x86.CR4UMIP, "UMIP"}, {x86.CR4LA57, "LA57"}, {x86.CR4VMXE, "VMXE"},
		{x86.CR4SMXE, "SMXE"}, {x86.CR4FSGSBASE, "FSGSBASE"}, {x86.CR4PCIDE, "PCIDE"}, {x86.CR4OSXSAVE, "OSXSAVE"},
		{x86.CR4KL, "KL"}, {x86.CR4SMEP, "SMEP"}, {x86.CR4SMAP, "SMAP"}, {x86.CR4PKE, "PKE"}, {x86.CR4CET, "CET"},
		{x86.CR4PKS, "PKS"}, {x86.CR4UINTR, "UINTR"}, {x86.CR4LASS, "LASS"}, {x86.CR4LAMSup, "LAM_SUP"},
		{x86.CR4FRED, "FRED"},
	}
	eferNames = []bitName{
		{x86.EFERSCE, "SCE"}, {x86.EFERLME, "LME"}, {x86.EFERLMA, "LMA"}, {x86.EFERNXE, "NXE"}, {x86.EFERSVME, "SVME"},
		{x86.EFERLMSLE, "LMSLE"}, {x86.EFERFFXSR, "FFXSR"}, {x86.EFERTCE, "TCE"}, {x86.EFERMCOMMIT, "MCOMMIT"},
		{x86.EFERINTWB, "INTWB"}, {x86.EFERUAIE, "UAIE"}, {x86.EFERAIBRSE, "AIBRSE"},
	}
)

// bitNames returns the names of the bits that are set, lowest first; BITn for one without a name.
func bitNames(v uint64, names []bitName) []string {
	set := []string{}
	for i := range 64 {
		bit := uint64(1) << i
		if v&bit == 0 {
			continue
		}
		name := fmt.Sprint("BIT", i)
		if at := slices.IndexFunc(names, func(n bitName) bool { return n.mask == bit }); at >= 0 {
			name = names[at].name
		}
		set = append(set, name)
	}
	return set
}

// registerText is a control register as "0x80050033 (PE MP ET NE WP AM PG)".
func registerText(v uint64, names []bitName) string {
	return fmt.Sprintf("%#x (%s)", v, strings.Join(bitNames(v, names), " "))
}

// codeNames returns the names of the bits of a page fault's error code.
func codeNames(c mmu.ErrorCode) []string {
	if c == 0 {
		return []string{}
	}
	return strings.Split(c.String(), "|")
}
