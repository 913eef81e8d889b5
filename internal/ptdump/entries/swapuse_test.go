package entries

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/swapentry"
)

// TestSwapUses: a capture of a Debian kernel, read with the other setting of CONFIG_DEVICE_PRIVATE, gives itself away
// by its hwpoison entry, if it has one and the number means device memory then; with the right setting, none does.
func TestSwapUses(t *testing.T) {
	warned := 0
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		right := s.ABI.Kernel().DevicePrivate
		for _, setting := range []bool{right, !right} {
			k := s.ABI.Kernel()
			k.DevicePrivate = setting
			abi := x86.MustABI(k, s.ABI.Paging())
			other := *s
			other.ABI, other.Layout = abi, swapentry.NewLayout(abi)
			uses := swapUses{layout: other.Layout, ramEnd: s.System.Layout.RAMEnd().PFN()}
			var l capturetest.Leaves
			if err := other.Walk(tree.Filter{}, &l); err != nil {
				t.Fatal(err)
			}
			for i := range l.All {
				uses.add(&l.All[i], 1)
			}
			why := uses.doubt(&linux.System{ABI: abi, Assumptions: []linux.Finding{{What: "CONFIG_DEVICE_PRIVATE"}}})
			if setting == right && why != "" {
				t.Errorf("the right setting is doubted: %s", why)
			}
			if why != "" {
				warned++
			}
		}
	})
	if warned == 0 {
		t.Error("no wrong setting was doubted")
	}
	t.Logf("%d wrong settings doubted", warned)
}
