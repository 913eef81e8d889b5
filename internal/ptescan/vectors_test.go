package ptescan

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/vectors"
	"ptemu/swapentry"
)

// vectorFiles returns the kernels' own results: all of them, if the environment or the neighbourhood has them, or else
// the selection that package vectors keeps.
func vectorFiles(t *testing.T) []string {
	dirs := []string{filepath.Join("..", "..", "..", "shared", "vectors"), filepath.Join("..", "vectors", "testdata")}
	if dir := os.Getenv("PTEMU_VECTORS"); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		if files, err := filepath.Glob(filepath.Join(dir, "*.tsv.gz")); err == nil && len(files) > 0 {
			return files
		}
	}
	t.Fatalf("no vectors in %q", dirs)
	return nil
}

// modified is a call of pte_modify() on a page, and what the kernel returned.
type modified struct{ old, new uint64 }

// TestChangeVectors changes tables of all pages that the kernels' pte_modify() was called with.
func TestChangeVectors(t *testing.T) {
	total := 0
	for _, file := range vectorFiles(t) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := vectors.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		calls := map[x86.Prot][]modified{}
		for {
			v, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			if v.Function == "pte_modify" && x86.PTE(v.In[0]).Present() {
				prot := x86.Prot(v.In[1])
				calls[prot] = append(calls[prot], modified{v.In[0], v.Out})
			}
		}
		if len(calls) == 0 { // the files of other machines repeat only what can differ there
			continue
		}
		n := 0
		forEachImpl(t, func(t *testing.T) {
			for prot, list := range calls {
				n += changeAll(t, r.Config().Layout, prot, list)
			}
		})
		t.Logf("%s: %d pages", filepath.Base(file), n)
		total += n
	}
	if total == 0 {
		t.Fatal("the vectors have no call of pte_modify")
	}
}

func changeAll(t *testing.T, l *swapentry.Layout, prot x86.Prot, list []modified) int {
	t.Helper()
	var r Changed
	c := NewChange(l.ABI().Change(prot, 0), nil, Exclusive{})
	for at := 0; at < len(list); at += 512 {
		var tab Table
		part := list[at:min(len(list), at+512)]
		for i, m := range part {
			tab[i] = m.old
		}
		c.Apply(&tab, 0, 511, nil, nil, &r)
		for i, m := range part {
			if tab[i] != m.new {
				t.Fatalf("prot %#x: pte_modify(%#x) is %#x, the kernel's is %#x", uint64(prot), m.old, tab[i], m.new)
			}
		}
	}
	return len(list)
}
