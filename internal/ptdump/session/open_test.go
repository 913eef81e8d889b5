package session

import (
	"context"
	"errors"
	"io"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/swapentry"
)

// An interrupted walk reads no further table, whether it has output or not.
func TestInterruptEndsWalk(t *testing.T) {
	m := pttree.New(1)
	root := m.Table()
	for i := range x86.Virt(100) {
		m.Map(root, 4, i<<x86.LevelPMD.Shift(), x86.LevelPTE, 0x8000000000001025, 0x67)
	}
	const enough = 10
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reads := 0
	m.OnRead = func(x86.PFN) {
		if reads++; reads == enough {
			cancel()
		}
	}
	abi := x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))
	s := &tree.Tree{Mem: &cancelReader{m, ctx}, ABI: abi, Layout: swapentry.NewLayout(abi), Root: root.Phys()}
	nothing := tree.Filter{Match: func(*tree.Leaf) bool { return false }}
	err := s.Walk(nothing, entries.NewWriter(ctx, io.Discard, entries.NewFormat("csv", abi, report.Palette{})))
	if !errors.Is(err, context.Canceled) || reads != enough {
		t.Errorf("%v after %d tables", err, reads)
	}
}
