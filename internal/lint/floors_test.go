// Package lint holds the house rules that a program can check.
package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "ptemu"

// floors says which packages of this module each package may import directly. doc/architecture.md draws it. A
// package that is not named here fails the test. A name that ends in /... stands for all below it.
var floors = map[string][]string{
	"arch/x86":       {},
	"physmem":        {"arch/x86"},
	"swapentry":      {"arch/x86"},
	"arch/x86/mmu":   {"physmem", "arch/x86"},
	"linux":          {"physmem", "arch/x86"},
	"linux/kallsyms": {"arch/x86"},
	"linux/ktype":    {"arch/x86"},
	"linux/proc":     {"linux", "linux/kallsyms", "linux/ktype", "physmem", "arch/x86"},
	"pgtable":        {"physmem", "arch/x86", "arch/x86/mmu", "internal/ptescan"},
	"mm":             {"thp", "pgtable", "swapentry", "arch/x86/mmu", "arch/x86", "physmem"},
	"thp":            {"pgtable", "swapentry", "arch/x86", "physmem"},

	"internal/ptescan":         {"arch/x86"},
	"internal/ptescan/floor":   {},
	"internal/ptescan/hostmem": {},

	"capture/internal/...": {"physmem", "arch/x86", "capture/ferr"},
	"capture/ferr":         {},
	"capture/elfnote":      {"arch/x86", "capture/ferr"},
	"capture/elfcore":      {"physmem", "arch/x86", "capture/ferr", "capture/elfnote", "capture/internal/..."},
	"capture/kdump":        {"physmem", "arch/x86", "capture/ferr", "capture/elfnote", "capture/internal/..."},
	"capture/lime":         {"physmem", "arch/x86", "capture/ferr", "capture/internal/..."},
	"capture/avml":         {"physmem", "arch/x86", "capture/ferr", "capture/internal/..."},
	"capture/raw":          {"physmem", "arch/x86", "capture/ferr", "capture/internal/..."},
	"capture": {"physmem", "arch/x86", "capture/ferr", "capture/elfnote", "capture/elfcore", "capture/kdump",
		"capture/lime", "capture/avml", "capture/raw", "capture/qemu", "capture/internal/..."},
	"capture/qemu": {"physmem", "arch/x86", "capture/elfcore", "capture/elfnote", "internal/qmp"},

	"internal/ptdump/usage":   {},
	"internal/ptdump/report":  {},
	"internal/ptdump/tree":    {"arch/x86", "capture", "linux", "pgtable", "physmem", "swapentry", "internal/ptescan"},
	"internal/ptdump/where":   {"internal/ptdump/tree", "internal/ptdump/usage", "arch/x86", "swapentry"},
	"internal/ptdump/entries": {"internal/ptdump/tree", "internal/ptdump/report", "arch/x86", "linux", "pgtable", "swapentry"},
	"internal/ptdump/runs": {"internal/ptdump/entries", "internal/ptdump/tree", "internal/ptdump/report", "arch/x86", "linux", "pgtable",
		"internal/ptescan"},
	"internal/ptdump/space": {"internal/ptdump/tree", "internal/ptdump/report", "arch/x86", "linux/proc", "pgtable"},
	"internal/ptdump/kept":  {"internal/ptdump/tree", "arch/x86", "capture", "capture/elfnote", "linux", "linux/proc", "pgtable", "physmem"},
	"internal/ptdump/session": {"internal/ptdump/kept", "internal/ptdump/space", "internal/ptdump/tree", "internal/ptdump/report",
		"internal/ptdump/usage", "arch/x86", "arch/x86/mmu", "capture", "linux", "linux/proc", "physmem", "swapentry"},
	"internal/ptdump/ps": {"internal/ptdump/space", "internal/ptdump/entries", "internal/ptdump/tree", "internal/ptdump/report", "arch/x86",
		"linux/proc", "pgtable", "swapentry"},
	"internal/ptdump/who": {"internal/ptdump/space", "internal/ptdump/entries", "internal/ptdump/tree", "internal/ptdump/report",
		"internal/ptdump/usage", "arch/x86", "linux", "linux/proc", "pgtable", "physmem", "internal/ptescan"},
	"internal/ptdump/audit": {"internal/ptdump/space", "internal/ptdump/tree", "internal/ptdump/report", "internal/ptdump/usage", "arch/x86",
		"linux", "linux/proc", "pgtable", "physmem", "swapentry"},
	"internal/ptdump/diff": {"internal/ptdump/space", "internal/ptdump/entries", "internal/ptdump/where", "internal/ptdump/tree",
		"internal/ptdump/report", "internal/ptdump/usage", "arch/x86", "linux/proc", "pgtable", "physmem"},
	"internal/ptdump/picture": {"internal/ptdump/space", "internal/ptdump/runs", "internal/ptdump/entries", "internal/ptdump/where",
		"internal/ptdump/tree", "internal/ptdump/report", "internal/ptdump/usage", "arch/x86", "linux", "linux/proc", "pgtable", "swapentry"},
	"internal/ptdump": {"internal/ptdump/usage", "internal/ptdump/report", "internal/ptdump/tree", "internal/ptdump/where",
		"internal/ptdump/entries", "internal/ptdump/runs", "internal/ptdump/space", "internal/ptdump/kept", "internal/ptdump/session",
		"internal/ptdump/ps", "internal/ptdump/who", "internal/ptdump/audit", "internal/ptdump/diff", "internal/ptdump/picture",
		"arch/x86", "arch/x86/mmu", "capture", "capture/elfnote", "capture/elfcore", "linux", "linux/kallsyms", "linux/proc", "pgtable",
		"physmem"},
	"cmd/ptdump": {"internal/ptdump"},

	"litmus":            {"mm", "thp", "pgtable", "swapentry", "arch/x86/mmu", "physmem", "arch/x86", "capture/elfcore", "capture/elfnote"},
	"internal/ptlitmus": {"litmus", "conformance/kernel", "conformance/compare"},
	"cmd/ptlitmus":      {"internal/ptlitmus"},

	// Measurements. They may use anything.
	"bench":        {"arch/x86", "arch/x86/mmu", "internal/ptescan", "internal/ptescan/floor", "pgtable", "physmem", "swapentry", "thp"},
	"bench/report": {"bench", "arch/x86", "internal/ptescan"},

	// Only for tests and for making captures.
	"internal/vectors": {"arch/x86", "swapentry", "linux", "physmem"},
	"internal/pttree":  {"physmem", "arch/x86"},
	"internal/ptdump/capturetest": {"internal/ptdump/session", "internal/ptdump/space", "internal/ptdump/tree", "internal/pttree",
		"internal/truth", "arch/x86", "capture/elfcore", "capture/elfnote", "linux", "linux/proc", "pgtable", "physmem", "swapentry"},
	"internal/truth":    {},
	"internal/lint":     {},
	"conformance/guest": {},
	"conformance/capture": {"arch/x86", "capture", "capture/elfcore", "capture/elfnote", "linux", "pgtable", "physmem", "internal/truth",
		"internal/qmp"},

	// Litmus tests on running kernels.
	"litmus/gen":          {"litmus"},
	"internal/qmp":        {},
	"conformance/wire":    {},
	"conformance/agent":   {"conformance/wire"},
	"conformance/vm":      {"internal/qmp", "conformance/wire", "physmem", "arch/x86", "arch/x86/mmu", "pgtable"},
	"conformance/kernel":  {"conformance/vm", "conformance/wire", "litmus", "swapentry", "physmem", "arch/x86", "arch/x86/mmu", "pgtable"},
	"conformance/compare": {"litmus", "swapentry", "arch/x86", "pgtable", "mm"},
	"conformance/host":    {"conformance/agent", "conformance/vm", "conformance/wire", "conformance/kernel", "conformance/compare", "litmus", "litmus/gen", "mm", "swapentry", "arch/x86", "physmem", "pgtable"},
}

// onFloor finds the entry of floors for a package.
func onFloor(short string) ([]string, bool) {
	for name, allowed := range floors {
		if covers(name, short) {
			return allowed, true
		}
	}
	return nil, false
}

func covers(name, short string) bool {
	prefix, all := strings.CutSuffix(name, "...")
	return name == short || all && strings.HasPrefix(short, prefix)
}

type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestFloors: dependencies point down only.
func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		short := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, known := onFloor(short)
		if !known {
			t.Errorf("%s stands on no floor: add it to the list, and to doc/architecture.md", short)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.ContainsFunc(allowed, func(name string) bool { return covers(name, to) }) {
				t.Errorf("%s imports %s, which is not below it", short, to)
			}
		}
	}
}

// TestEveryPackageHasADoc: a package comment says what it is for.
func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && p.Name != "" && !strings.HasSuffix(p.ImportPath, "internal/lint") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
