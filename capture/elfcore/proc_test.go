package elfcore

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"ptemu/capture/elfnote"
	"ptemu/capture/internal/capturetest"
	"ptemu/physmem"
)

// TestProc opens what a kernel itself offered. The memory wanted is what /proc/iomem called System RAM, in whole frames;
// of vmcore without what was set aside for the kernel that reads it, and without the lowest MiB, which that kernel runs on.
func TestProc(t *testing.T) {
	for _, c := range []struct {
		file   string
		ranges []physmem.Range
		noPhys int
		format string
		notes  []string
		first  int64 // offset of the lowest frame
	}{
		{
			file: "linux-6.12-kcore.head",
			ranges: []physmem.Range{
				{Start: 0x1000, End: 0x9f000}, {Start: 0x100000, End: 0x1ffe0000}, {Start: 0x100000000, End: 0x10c000000},
			},
			noPhys: 5, // vmalloc, modules, and vmemmap for each range
			format: "ELF core (kcore)",
			notes:  []string{"CORE", "CORE", "CORE", "VMCOREINFO"},
			first:  0xa0d40005000,
		},
		{
			file: "linux-6.12-vmcore.head",
			ranges: []physmem.Range{
				{Start: 0x100000, End: 0xe000000}, {Start: 0x1e000000, End: 0x1ffe0000}, {Start: 0x100000000, End: 0x10c000000},
			},
			format: "ELF core",
			notes:  []string{"CORE", "VMCOREINFO"},
			first:  0x2c32000,
		},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := Open(bytes.NewReader(golden(t, c.file)), -1)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.Ranges(), c.ranges) || f.NoPhys != c.noPhys || f.Format() != c.format {
				t.Errorf("%s, ranges %v, %d without address", f.Format(), f.Ranges(), f.NoPhys)
			}
			var names []string
			for _, n := range f.Notes {
				names = append(names, n.Name)
			}
			if !slices.Equal(names, c.notes) || len(elfnote.PRStatuses(f.Notes)) != 1 || f.CPUs != nil {
				t.Errorf("notes %v, CPUs %v", names, f.CPUs)
			}
			if !strings.HasPrefix(string(f.VMCoreInfo), "OSRELEASE=6.12.117+deb13-amd64\n") {
				t.Errorf("VMCOREINFO %.40q", f.VMCoreInfo)
			}
			var frame physmem.Frame
			capturetest.WantFormatError(t, f.ReadFrame(c.ranges[0].Start.PFN(), &frame), c.first)
		})
	}
}
