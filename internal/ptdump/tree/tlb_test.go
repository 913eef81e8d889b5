package tree_test

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/truth"
)

// tlbLine says of a leaf what QEMU's info tlb says: the flags of the last entry alone, in QEMU's order. Its X means
// that NX is set, and of a base page it hides bit 7.
func tlbLine(abi *x86.ABI, l *tree.Leaf) truth.TLBLeaf {
	shown := l.Raw
	if l.Level == x86.LevelPTE {
		shown &^= x86.PagePAT
	}
	flags := []byte("---------")
	for i, f := range [...]struct {
		mask uint64
		name byte
	}{
		{x86.PageNX, 'X'}, {x86.PageGlobal, 'G'}, {x86.PagePSE, 'P'}, {x86.PageDirty, 'D'}, {x86.PageAccessed, 'A'},
		{x86.PagePCD, 'C'}, {x86.PagePWT, 'T'}, {x86.PageUser, 'U'}, {x86.PageRW, 'W'},
	} {
		if shown&f.mask != 0 {
			flags[i] = f.name
		}
	}
	return truth.TLBLeaf{VA: uint64(l.VA), PA: uint64(l.PFN.Phys()), Flags: string(flags)}
}

// TestInfoTLB: the leaves that the processor can use are those that QEMU found, no more and no fewer, with the same
// frames and flags, in the same order.
func TestInfoTLB(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		var got capturetest.Leaves
		if err := s.Walk(tree.Filter{}, &got); err != nil {
			t.Fatal(err)
		}
		if got.Problems != nil {
			t.Fatalf("problems: %v", got.Problems)
		}
		i, wrong := 0, 0
		next := func() *tree.Leaf {
			for ; i < len(got.All); i++ {
				if l := &got.All[i]; l.Raw&x86.PagePresent != 0 {
					i++
					return l
				}
			}
			return nil
		}
		n := 0
		err := f.TLB(func(want truth.TLBLeaf) error {
			n++
			l := next()
			if l == nil {
				t.Fatalf("QEMU has a leaf more: %+v", want)
			}
			if have := tlbLine(s.ABI, l); have != want {
				if wrong++; wrong > 10 {
					t.Fatal("and more")
				}
				t.Errorf("got %x, QEMU says %x", have, want)
			}
			if l.Rights.R != true {
				t.Errorf("%v: in QEMU's list, but not readable", l.VA)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if l := next(); l != nil {
			t.Errorf("%v %#x is not in QEMU's list", l.VA, l.Raw)
		}
		if n < 1000 {
			t.Errorf("only %d leaves compared", n)
		}
		t.Logf("%d leaves agree", n)
	})
}
