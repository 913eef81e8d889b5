package ptdump

import (
	"bytes"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/swapentry"
)

// TestSwapUses: a capture of a Debian kernel, read with the other setting of CONFIG_DEVICE_PRIVATE, gives itself away
// by its hwpoison entry, if it has one and the number means device memory then; with the right setting, none does.
func TestSwapUses(t *testing.T) {
	warned := 0
	eachDump(t, func(t *testing.T, f truth.Folder, s *Session) {
		right := s.ABI.Kernel().DevicePrivate
		for _, setting := range []bool{right, !right} {
			k := s.ABI.Kernel()
			k.DevicePrivate = setting
			abi := x86.MustABI(k, s.ABI.Paging())
			other := *s
			other.ABI, other.Layout = abi, swapentry.NewLayout(abi)
			uses := swapUses{layout: other.Layout, ramEnd: s.System.Layout.RAMEnd().PFN()}
			var l leaves
			if err := other.Walk(Filter{}, &l); err != nil {
				t.Fatal(err)
			}
			for i := range l.all {
				uses.add(&l.all[i], 1)
			}
			var out bytes.Buffer
			uses.doubt(&linux.System{ABI: abi, Assumptions: []linux.Finding{{What: "CONFIG_DEVICE_PRIVATE"}}}, &out)
			if setting == right && out.Len() > 0 {
				t.Errorf("the right setting is doubted: %s", out.String())
			}
			if strings.Contains(out.String(), "--device-private") {
				warned++
			}
		}
	})
	if warned == 0 {
		t.Error("no wrong setting was doubted")
	}
	t.Logf("%d wrong settings doubted", warned)
}
