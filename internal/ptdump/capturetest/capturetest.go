package capturetest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// EachCapture runs test for every dump of every capture folder.
func EachCapture(t *testing.T, test func(t *testing.T, f truth.Folder, dump string)) {
	folders, err := truth.Folders(Repository())
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) == 0 {
		t.Fatal("no capture folder, not even a committed one")
	}
	for _, f := range folders {
		for _, dump := range f.Dumps() {
			t.Run(f.Name()+"/"+filepath.Base(dump), func(t *testing.T) { test(t, f, dump) })
		}
	}
}

// TreeOf is a tree of hand-made tables.
func TreeOf(m *pttree.Mem, root x86.PFN, k x86.Kernel, p x86.Paging) *tree.Tree {
	abi := x86.MustABI(k, p)
	return &tree.Tree{Mem: m, ABI: abi, Layout: swapentry.NewLayout(abi), Root: root.Phys()}
}

// Open opens a capture as the commands do.
func Open(t testing.TB, path, root string) *session.Session {
	t.Helper()
	o, err := session.Open(t.Context(), path, &session.Options{CPU: -1, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// EachDump opens every dump of every capture folder, once for each processor that there is a truth of, with the root
// that its CR3 points to.
func EachDump(t *testing.T, test func(t *testing.T, f truth.Folder, s *tree.Tree)) {
	folders, err := truth.Folders(Repository())
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) < 3 {
		t.Fatalf("%d capture folders, want the committed ones", len(folders))
	}
	for _, folder := range folders {
		for _, dump := range folder.Dumps() {
			for _, f := range folder.PerCPU() {
				t.Run(fmt.Sprintf("%s/%s/cpu%d", f.Name(), filepath.Base(dump), f.CPU), func(t *testing.T) {
					s, err := session.Open(t.Context(), dump, &session.Options{CPU: f.CPU, Root: session.RootNames[0]})
					if errors.Is(err, physmem.ErrAbsent) && strings.Contains(dump, "paging") {
						t.Skipf("QEMU dumped what the processor's tables map, and they do not map themselves: %v", err)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					test(t, f, s.Tree)
				})
			}
		}
	}
}

// Leaves is a sink that keeps all.
type Leaves struct {
	All      []tree.Leaf
	Problems []pgtable.Problem
}

func (l *Leaves) Leaf(p *tree.Leaf) error          { l.All = append(l.All, *p); return nil }
func (l *Leaves) Problem(p *pgtable.Problem) error { l.Problems = append(l.Problems, *p); return nil }

// At returns the leaf that covers va.
func (l *Leaves) At(va x86.Virt) *tree.Leaf {
	i, found := slices.BinarySearchFunc(l.All, va, func(e tree.Leaf, va x86.Virt) int {
		switch {
		case e.VA+x86.Virt(e.Level.Size()-1) < va:
			return -1
		case e.VA > va:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &l.All[i]
}
