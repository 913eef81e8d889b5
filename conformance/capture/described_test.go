package main

import (
	"strings"
	"testing"
)

// TestDescribedVariant: a name says everything of a capture that is not in the list.
func TestDescribedVariant(t *testing.T) {
	for name, want := range map[string]variant{
		"procs-5.10-4level":              {kernel: "5.10", cpu: fourLevels, cpus: 1, mode: "processes", memoryMiB: 512},
		"procs-6.12-rt-la57-pti-2cpu":    {kernel: "6.12-rt", cpu: maxProcessor, cpus: 2, mode: "processes", memoryMiB: 512, options: "pti=on "},
		"linux-7.3-cloud-amd64-meltdown": {kernel: "7.3-cloud-amd64", cpu: withMeltdown, cpus: 1},
		"plain-6.17.13-nokaslr":          {kernel: "6.17.13", cpu: fourLevels, cpus: 1, mode: "plain", options: "nokaslr "},
	} {
		v, err := findVariant(name)
		if err != nil || v.name != name || v.kernel != want.kernel || v.cpu != want.cpu || v.cpus != want.cpus || v.mode != want.mode ||
			v.memoryMiB != want.memoryMiB || v.options != want.options || len(v.dumps) == 0 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	for _, listed := range variants {
		if v, err := findVariant(listed.name); err != nil || v.what != listed.what {
			t.Errorf("%s: %+v, %v", listed.name, v, err)
		}
	}
	for _, name := range []string{"", "procs", "procs-4level", "procs-5.10", "odd-5.10-4level", "procs-5.10-4level-odd"} {
		if v, err := findVariant(name); err == nil || !strings.Contains(err.Error(), "la57") {
			t.Errorf("%q: %+v, %v", name, v, err)
		}
	}
}
