package x86

import (
	"strings"
	"testing"
)

// The registers as the SDM's figures draw them, from bit 0 up; "-" is a bit without a name here.
const (
	cr0Figure  = "PE MP EM TS ET NE - - - - - - - - - - WP - AM - - - - - - - - - - NW CD PG"
	cr4Figure  = "VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 VMXE SMXE - FSGSBASE PCIDE OSXSAVE KL SMEP SMAP PKE CET PKS UINTR - LASS LAM_SUP - - - FRED"
	eferFigure = "SCE - - - - - - - LME - LMA NXE SVME LMSLE FFXSR TCE - MCOMMIT INTWB - UAIE AIBRSE"
)

func TestControlBits(t *testing.T) {
	for figure, names := range map[string]map[string]uint64{
		cr0Figure: {"PE": CR0PE, "MP": CR0MP, "EM": CR0EM, "TS": CR0TS, "ET": CR0ET, "NE": CR0NE, "WP": CR0WP, "AM": CR0AM,
			"NW": CR0NW, "CD": CR0CD, "PG": CR0PG},
		cr4Figure: {"VME": CR4VME, "PVI": CR4PVI, "TSD": CR4TSD, "DE": CR4DE, "PSE": CR4PSE, "PAE": CR4PAE, "MCE": CR4MCE,
			"PGE": CR4PGE, "PCE": CR4PCE, "OSFXSR": CR4OSFXSR, "OSXMMEXCPT": CR4OSXMMEXCPT, "UMIP": CR4UMIP, "LA57": CR4LA57,
			"VMXE": CR4VMXE, "SMXE": CR4SMXE, "FSGSBASE": CR4FSGSBASE, "PCIDE": CR4PCIDE, "OSXSAVE": CR4OSXSAVE, "KL": CR4KL,
			"SMEP": CR4SMEP, "SMAP": CR4SMAP, "PKE": CR4PKE, "CET": CR4CET, "PKS": CR4PKS, "UINTR": CR4UINTR, "LASS": CR4LASS,
			"LAM_SUP": CR4LAMSup, "FRED": CR4FRED},
		eferFigure: {"SCE": EFERSCE, "LME": EFERLME, "LMA": EFERLMA, "NXE": EFERNXE, "SVME": EFERSVME, "LMSLE": EFERLMSLE,
			"FFXSR": EFERFFXSR, "TCE": EFERTCE, "MCOMMIT": EFERMCOMMIT, "INTWB": EFERINTWB, "UAIE": EFERUAIE, "AIBRSE": EFERAIBRSE},
	} {
		named := 0
		for bit, name := range strings.Fields(figure) {
			if name == "-" {
				continue
			}
			if named++; names[name] != 1<<bit {
				t.Errorf("%s is %#x, want bit %d", name, names[name], bit)
			}
		}
		if named != len(names) {
			t.Errorf("%d names, %d bits: %s", len(names), named, figure)
		}
	}
	if CR3PCIDMask != 0xfff || RFLAGSAC != 0x40000 {
		t.Error("PCID field or AC")
	}
}
