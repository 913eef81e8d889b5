package litmus_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutate", false, "break the rules about the write bit one by one, and see the corpus fail")

// mutations are rules about who may gain the write bit, each broken by replacing text that occurs once in a file of mm.
var mutations = []struct{ name, file, from, to string }{
	{"an area that may not be written", "gate.go", "	return v.flags&x86.VMWrite != 0\n}\n\n// mayUpgrade reports",
		"	return true\n}\n\n// mayUpgrade reports"},
	{"swap-in of a page under uffd-wp", "gate.go", "SwapInFlagsFirst && (v.uffdWPs(e) || v.", "SwapInFlagsFirst && (v."},
	{"swap-in of a clean page that is tracked", "gate.go", "(v.uffdWPs(e) || v.softDirtyTracked() && !e.SoftDirty())", "v.uffdWPs(e)"},
	{"change_protection of shared areas", "gate.go", "f |= x86.ChangeShared\n", "f |= 0\n"},
	{"change_protection under uffd-wp", "gate.go", "f |= x86.ChangeAreaUffdWP\n", "f |= 0\n"},
	{"change_protection of tracked areas", "gate.go", "f |= x86.ChangeSoftDirtyTracked\n", "f |= 0\n"},
	{"upgrade of a page that is not exclusive", "gate.go", "return ok && m.anonPage(pfn) && m.exclusive(pfn)",
		"return ok && m.anonPage(pfn)"},
	{"upgrade under uffd-wp", "gate.go", "v.softDirtyTracked() && !e.SoftDirty(), v.uffdWPs(e):",
		"v.softDirtyTracked() && !e.SoftDirty():"},
	{"upgrade of a tracked page", "gate.go", "e.Protnone(), v.softDirtyTracked() && !e.SoftDirty(), v.uffdWPs(e):",
		"e.Protnone(), v.uffdWPs(e):"},
	{"upgrade of a clean shared page", "gate.go", "		return e.Dirty(m.abi)\n	}\n	pfn", "		return true\n	}\n	pfn"},
	{"manual upgrade in all shared areas", "gate.go", "return v.wantsWritenotify(v.prot)", "return true"},
	{"a write fault on a page of others", "fault_wp.go", "	if f.m.exclusive(pfn) {\n		return true\n	}",
		"	if true {\n		return true\n	}"},
	{"no write-notify under uffd-wp", "vma.go", "case v.flags&VMUffdWP != 0 && v.space.m.Policy.UffdWritenotify:", "case false:"},
	{"no write-notify in tracked areas", "vma.go", "	case v.softDirtyTracked():\n		return true\n", ""},
}

// TestMutations: the corpus notices each.
func TestMutations(t *testing.T) {
	if !*mutate {
		t.Skip("takes minutes, since mm is built anew for each: run with -mutate")
	}
	before := map[string]bool{}
	for _, name := range failures(t, nil) {
		t.Errorf("%s fails already", name)
		before[name] = true
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			file, err := filepath.Abs(filepath.Join("..", "mm", m.file))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.from); n != 1 {
				t.Fatalf("the text to break occurs %d times in %s", n, m.file)
			}
			broken := filepath.Join(t.TempDir(), m.file)
			if err := os.WriteFile(broken, []byte(strings.Replace(string(text), m.from, m.to, 1)), 0o666); err != nil {
				t.Fatal(err)
			}
			names := slices.DeleteFunc(failures(t, map[string]string{file: broken}), func(n string) bool { return before[n] })
			if len(names) == 0 {
				t.Fatal("no test fails")
			}
			t.Logf("%d tests fail: %s", len(names), strings.Join(names, " "))
		})
	}
}

// failures builds the tests anew, with files replaced by others, and returns those of the corpus that fail.
func failures(t *testing.T, replace map[string]string) (names []string) {
	t.Helper()
	j, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlay, j, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-timeout=2m", "-overlay", overlay, "-run", "TestCorpus", ".")
	out, err := cmd.CombinedOutput()
	for _, f := range regexp.MustCompile(`--- FAIL: TestCorpus/(\S+)`).FindAllStringSubmatch(string(out), -1) {
		names = append(names, f[1])
	}
	if err != nil && len(names) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	return names
}
