package lint

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBitsStayDownstairs: only arch/x86 and swapentry spell bit positions. In the packages that handle entries, a
// shift by 52 or more, or a mask of many digits, is a number that has a name downstairs.
func TestBitsStayDownstairs(t *testing.T) {
	number := regexp.MustCompile(`<<\s*(5[2-9]|6[0-3])\b|0x[0-9a-fA-F_]{13,}\b`)
	upstairs := regexp.MustCompile(`^(pgtable|thp|mm|physmem|internal/ptdump)/`)
	tests := regexp.MustCompile(`_test\.go$|^internal/ptdump/capturetest/`)
	goFiles(t, func(name string, line int, text string) {
		code, _, _ := strings.Cut(text, "//")
		if upstairs.MatchString(name) && !tests.MatchString(name) && number.MatchString(code) {
			t.Errorf("%s:%d: a page-table bit or mask outside arch/x86 and swapentry: %s", name, line, strings.TrimSpace(text))
		}
	})
}

// TestUnsafeIsNamed: unsafe is imported only by files whose name says so, *_unsafe.go and *_unsafe_test.go.
func TestUnsafeIsNamed(t *testing.T) {
	goFiles(t, func(name string, line int, text string) {
		if strings.TrimSpace(text) == `"unsafe"` && !strings.HasSuffix(strings.TrimSuffix(name, "_test.go"), "_unsafe") &&
			!strings.HasSuffix(name, "_unsafe.go") {
			t.Errorf("%s:%d imports unsafe: move it to a file named *_unsafe.go", name, line)
		}
	})
}

func goFiles(t *testing.T, f func(name string, line int, text string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		file, err := os.Open(p)
		if err != nil {
			return err
		}
		defer file.Close()
		for line, s := 1, bufio.NewScanner(file); s.Scan(); line++ {
			f(filepath.ToSlash(name), line, s.Text())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
