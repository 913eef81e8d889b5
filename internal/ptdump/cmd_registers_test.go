package ptdump

import (
	"strings"
	"testing"
)

// TestBitNames holds the names against the bit positions of the manuals.
func TestBitNames(t *testing.T) {
	for _, tt := range []struct {
		what  string
		names []bitName
		v     uint64
		want  string
	}{
		{"CR0", cr0Names, 0xe005003f, "PE MP EM TS ET NE WP AM NW CD PG"},
		{"CR0", cr0Names, 0xffffffff &^ 0xe005003f, "BIT6 BIT7 BIT8 BIT9 BIT10 BIT11 BIT12 BIT13 BIT14 BIT15 BIT17 " +
			"BIT19 BIT20 BIT21 BIT22 BIT23 BIT24 BIT25 BIT26 BIT27 BIT28"},
		{"CR4", cr4Names, 0x1_1bff7fff, "VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP LA57 VMXE SMXE " +
			"FSGSBASE PCIDE OSXSAVE KL SMEP SMAP PKE CET PKS UINTR LASS LAM_SUP FRED"},
		{"CR4", cr4Names, 0x2_e4008000, "BIT15 BIT26 BIT29 BIT30 BIT31 BIT33"},
		{"EFER", eferNames, 0x36fd01, "SCE LME LMA NXE SVME LMSLE FFXSR TCE MCOMMIT INTWB UAIE AIBRSE"},
		{"EFER", eferNames, 0xd01, "SCE LME LMA NXE"}, // what Linux runs with
		{"EFER", eferNames, 0x90200, "BIT9 BIT16 BIT19"},
	} {
		if got := strings.Join(bitNames(tt.v, tt.names), " "); got != tt.want {
			t.Errorf("%s %#x: %s, want %s", tt.what, tt.v, got, tt.want)
		}
	}
}
