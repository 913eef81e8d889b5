package vectors

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vectorFiles is the number of files that make a complete set: three kernels, five configurations each.
const vectorFiles = 15

// moduleRoot is where the module's go.mod is, as seen from this package's folder.
const moduleRoot = "../.."

// TestVectorsCommitted runs the selection in testdata, which TestUpdateSelection makes.
func TestVectorsCommitted(t *testing.T) {
	if files := listFolder(t, "testdata"); len(files) != vectorFiles {
		t.Fatalf("%d vector files, want %d", len(files), vectorFiles)
	}
	runFolder(t, "testdata")
}

// TestVectorsFull runs every vector of the folder that PTEMU_VECTORS names, or else of ../shared/vectors beside
// the module.
func TestVectorsFull(t *testing.T) {
	runFolder(t, fullFolder(t))
}

// fullFolder returns the folder of the full set. It skips the test only if nobody named one and it is not there.
func fullFolder(t *testing.T) string {
	if dir := os.Getenv("PTEMU_VECTORS"); dir != "" {
		return dir
	}
	dir := filepath.Join(moduleRoot, "..", "shared", "vectors")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the full vectors are not here (%v); set PTEMU_VECTORS to their folder", err)
	}
	return dir
}

func listFolder(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.tsv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("%s: no vector files (*.tsv.gz)", dir)
	}
	return files
}

func runFolder(t *testing.T, dir string) {
	checks := 0
	missing := map[string]int{}
	files := listFolder(t, dir)
	for _, file := range files {
		res := runFile(t, file)
		t.Logf("%-44s %7d checks, %3d functions, %d constants without counterpart",
			filepath.Base(file), res.Checks, res.Functions, len(res.Unmapped))
		checks += res.Checks
		for name, n := range res.Unmapped {
			missing[name] += n
		}
	}
	t.Logf("%d checks in all", checks)
	var list []string
	lines := 0
	for name, n := range missing {
		list = append(list, fmt.Sprintf("%s (%s)", name, unmapped[name]))
		lines += n
	}
	slices.Sort(list)
	t.Logf("%d lines give constants without counterpart: %s", lines, strings.Join(list, "; "))
	for name := range unmapped {
		if missing[name] == 0 && len(files) == vectorFiles {
			t.Errorf("constant %s is listed as without counterpart, but no file has it", name)
		}
	}
}

func runFile(t *testing.T, file string) *Result {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	res, err := Run(r)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, d := range res.Differences {
		t.Errorf("%s: %s", filepath.Base(file), d)
	}
	for name, n := range res.Wrong {
		if n > maxReports {
			t.Errorf("%s: %s: %d wrong in all", filepath.Base(file), name, n)
		}
	}
	return res
}
