package bench

import (
	"fmt"
	"hash/fnv"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// testBytes of tables are enough for every case, and few enough for a test.
const testBytes = 64 << 10

func testSet(t testing.TB, o Order) *Set {
	t.Helper()
	s, err := NewSet(x86.Linux6_12(), testBytes, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// content is a digest of all entries of the tables.
func (s *Set) content(t *testing.T) uint64 {
	t.Helper()
	h := fnv.New64a()
	for _, tab := range s.Tables {
		for _, e := range tab {
			var b [8]byte
			for i := range b {
				b[i] = byte(e >> (8 * i))
			}
			h.Write(b[:])
		}
	}
	return h.Sum64()
}

// TestVariantsAgree: what is compared does the same. All variants of a case but floors and the kernel leave the same
// entries and count the same, in both passes, and the second pass puts back what the first changed.
func TestVariantsAgree(t *testing.T) {
	for _, c := range Cases() {
		for _, o := range c.Orders() {
			t.Run(c.Name+"/"+string(o), func(t *testing.T) { agreeing(t, &c, testSet(t, o)) })
		}
	}
}

func agreeing(t *testing.T, c *Case, s *Set) {
	all, err := c.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	before := s.content(t)
	type outcome struct {
		there uint64
		count int64
	}
	var first *outcome
	for _, v := range all {
		if v.Pass == nil || v.Kind == Kernel || v.Kind == KernelZero {
			continue
		}
		leave := v.enter()
		count, err := v.Pass(0)
		got := outcome{s.content(t), count}
		if err == nil {
			_, err = v.Pass(1)
		}
		leave()
		if err == nil && (v.Kind == Ours || v.Kind == Locked) {
			err = s.Tree.Check()
		}
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if s.content(t) != before {
			t.Errorf("%s does not put the tables back", v.Name)
		}
		if v.Kind == Floor {
			continue
		}
		if first == nil {
			first = &got
			t.Logf("%s: content %x, before %x, count %d", v.Name, got.there, before, got.count)
		} else if *first != got {
			t.Errorf("%s: content %x, count %d, but %x, %d before it", v.Name, got.there, got.count, first.there, first.count)
		}
	}
	if err := done(all); err != nil {
		t.Fatal(err)
	}
}

// TestCopiesAgree: the child of a fork gets the same entries from all variants, and gets them.
func TestCopiesAgree(t *testing.T) {
	s := testSet(t, Contiguous)
	s.Fill(dense(rw | x86.PageDirty))
	kid := &child{parent: s}
	passes := map[string]func(int) (int64, error){"scalar": s.scalarCopying(kid).Pass}
	ours, err := atLevels(s, func() (func(int) (int64, error), error) { return s.copying(kid, false) })
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range ours {
		passes[v.Name] = func(odd int) (int64, error) {
			defer v.enter()()
			return v.Pass(odd)
		}
	}
	contents := map[uint64]bool{}
	for name, pass := range passes {
		if _, err := pass(0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		contents[kid.set.content(t)] = true
		if x86.PTE(kid.set.Tables[1][7]).PFN(s.ABI()) != frameOf(1, 7) {
			t.Errorf("%s: nothing copied", name)
		}
		if _, err := pass(1); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.Fill(dense(rw | x86.PageDirty))
	}
	if len(contents) != 1 {
		t.Errorf("%d different children", len(contents))
	}
	if err := kid.close(); err != nil {
		t.Fatal(err)
	}
}

// TestCasesDoSomething: a case that changes nothing does not measure a change.
func TestCasesDoSomething(t *testing.T) {
	still := []string{ // or change another tree
		CaseNothing, "R-RW all shared", "aging, all old", "THP split", "THP collapse", CaseRuns, CaseRuns64, CaseRuns16,
		CaseRuns4, "translate, 64 pages: warm TLB", "translate, all pages: cold TLB",
	}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			s := testSet(t, Contiguous)
			all, err := c.Prepare(s)
			if err != nil {
				t.Fatal(err)
			}
			before := s.content(t)
			i := slices.IndexFunc(all, func(v Variant) bool { return v.Kind == Ours })
			leave := all[i].enter()
			_, err = all[i].Pass(0)
			leave()
			if err != nil {
				t.Fatal(err)
			}
			if changed := s.content(t) != before; changed == slices.Contains(still, c.Name) {
				t.Errorf("changed entries: %v", changed)
			}
			if _, err := all[i].Pass(1); err != nil {
				t.Fatal(err)
			}
			if err := done(all); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNamesDiffer: rows are found by name.
func TestNamesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] {
			t.Errorf("two cases %q", c.Name)
		}
		seen[c.Name] = true
	}
	for _, name := range []string{CaseDense, CaseEvery8, CaseSwapKept, CaseSwapChanged, CaseCandidates, CaseScattered, CaseNothing,
		CaseOnePage, Case8Pages, CaseTwo, CaseFork, CaseForkNew, CaseRuns, CaseRuns64, CaseRuns16, CaseRuns4} {
		if !seen[name] {
			t.Errorf("no case %q", name)
		}
	}
}

// TestLevels: the levels are those that the kernels can run at, and Use undoes itself.
func TestLevels(t *testing.T) {
	at := ptescan.CPULevel()
	all := Levels()
	if all[0] != at || all[len(all)-1] != ptescan.Generic || ptescan.CPULevel() != at {
		t.Errorf("levels %v, level %v, then %v", all, at, ptescan.CPULevel())
	}
}

// TestShuffled: the frames of the tables are the same set in both orders, and ascending in one only.
func TestShuffled(t *testing.T) {
	for _, o := range []Order{Contiguous, Shuffled} {
		s := testSet(t, o)
		var frames []x86.PFN
		for i := range s.Tables {
			c, err := s.Tree.LockPTEs(s.tableVA(i), false)
			if err != nil {
				t.Fatal(err)
			}
			frames = append(frames, c.PFN())
			c.Unlock()
		}
		if sorted := slices.IsSorted(frames); sorted != (o == Contiguous) {
			t.Errorf("%s: %v", o, fmt.Sprint(frames))
		}
	}
}
