package runs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/physmem"
)

// undone is memory in which some entries are as they were earlier.
type undone struct {
	physmem.Reader
	entries map[x86.Phys]uint64
}

func (u *undone) ReadFrame(f x86.PFN, dst *physmem.Frame) error {
	if err := u.Reader.ReadFrame(f, dst); err != nil {
		return err
	}
	for at, e := range u.entries {
		if at.PFN() == f {
			for i := range 8 {
				dst[at.Offset()+uint64(i)] = byte(e >> (8 * i))
			}
		}
	}
	return nil
}

// change is something that the process did to its own memory after the kernel had printed: pages were touched for
// the first time, or copied on write. like names a page whose entry is still as those were, 0 stands for none.
type edit struct{ first, last, like x86.Virt }

// The kernel printed current_kernel, then current_user, while the process that read the files ran; then the machine
// was dumped. The process used its data and heap for that.
var (
	sinceUser   = []edit{{0xaed9000, 0xaedf000, 0}}
	sinceKernel = []edit{
		{0x4aa000, 0x4aa000, 0x4ab000}, {0x4b0000, 0x4b0000, 0x4b1000},
		{0xaec9000, 0xaecf000, 0}, {0xaed9000, 0xaedf000, 0}, {0xaee8000, 0xaee8000, 0},
	}
)

// undo returns a session in which the changes have not happened.
func undo(t *testing.T, s *tree.Tree, changes []edit) (_ *tree.Tree, entries int) {
	t.Helper()
	leaf := func(va x86.Virt) *tree.Leaf {
		var l capturetest.Leaves
		if err := s.Walk(tree.Filter{First: va, Last: va}, &l); err != nil || len(l.All) != 1 {
			t.Fatalf("%v: %v, %v", va, l.All, err)
		}
		return &l.All[0]
	}
	u := &undone{s.Mem, map[x86.Phys]uint64{}}
	for _, c := range changes {
		for va := c.first; va <= c.last; va += x86.PageSize {
			was := uint64(0)
			if c.like != 0 {
				was = leaf(c.like).Raw
			}
			u.entries[leaf(va).Place()] = was
		}
	}
	back := *s
	back.Mem = u
	return &back, len(u.entries)
}

// TestKernelStyleIsTheKernels: what the kernel printed, line for line. The process's files hold once the
// handful of entries that changed between printing and dumping are put back; how many lines differ without that
// is known too, so that nothing else hides there.
func TestKernelStyleIsTheKernels(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		if !f.Has("kernel-ptdump-kernel.txt") {
			t.Skip("the kernel of this capture has no page_tables files")
		}
		if f.Name() != "kernel-ptdump-7.2-la57" {
			// Another capture: what happened since is not known, but not in init_mm.
			checkKernelStyle(t, f, s, "kernel", s.System.InitMM.Kernel, 0)
			return
		}
		checkKernelStyle(t, f, s, "kernel", s.System.InitMM.Kernel, 0)
		checkKernelStyle(t, f, s, "current_user", s.Root, 2)
		checkKernelStyle(t, f, s, "current_kernel", s.Root, 7)
		user, n := undo(t, s, sinceUser)
		t.Logf("%d entries put back", n)
		checkKernelStyle(t, f, user, "current_user", s.Root, 0)
		kernel, n := undo(t, s, sinceKernel)
		t.Logf("%d entries put back", n)
		checkKernelStyle(t, f, kernel, "current_kernel", s.Root, 0)
	})
}

// checkKernelStyle wants all but so many of the file's lines, in order, in the output; and nothing else if all.
func checkKernelStyle(t *testing.T, f truth.Folder, s *tree.Tree, file string, root x86.Phys, missing int) {
	t.Helper()
	at := *s
	at.Root = root
	var out bytes.Buffer
	if err := KernelStyle(&at, tree.Filter{}, linux.KernelMarkers(s.System), &out); err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := f.Lines("kernel-ptdump-"+file+".txt", func(l string) error { want = append(want, l); return nil }); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if missing == 0 {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("%s: line %d of %d and %d:\ngot  %q\nwant %q", file, i+1, len(got), len(want), got[i:min(i+1, len(got))],
					want[i:min(i+1, len(want))])
			}
		}
		t.Logf("%s: all %d lines agree", file, len(want))
		return
	}
	have := map[string]bool{}
	for _, l := range got {
		have[l] = true
	}
	lost := 0
	for _, l := range want {
		if !have[l] {
			lost++
		}
	}
	if lost != missing {
		t.Errorf("%s: %d lines are not in the output, want %d", file, lost, missing)
	}
	t.Logf("%s: %d of %d lines agree", file, len(want)-lost, len(want))
}

// TestKernelStyleReuse: reusing shared tables changes no line, on any capture.
func TestKernelStyleReuse(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		markers := linux.KernelMarkers(s.System)
		var once, always bytes.Buffer
		if err := kernelStyle(s, tree.Filter{}, markers, &once, false); err != nil {
			t.Fatal(err)
		}
		if err := kernelStyle(s, tree.Filter{}, markers, &always, true); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), always.Bytes()) {
			t.Error("output differs with reuse of tables")
		}
		if bytes.Contains(once.Bytes(), []byte("#")) {
			t.Error("a part could not be read")
		}
	})
}

// TestKernelStyleLines: the kernel's peculiarities that the truth files do not show, worked out by hand from what its
// code does with such entries.
func TestKernelStyleLines(t *testing.T) {
	const (
		pte, pmd = x86.LevelPTE, x86.LevelPMD
		blank    = "                              "
	)
	type entry struct {
		va    x86.Virt
		level x86.Level
		raw   uint64
	}
	line := func(from, to uint64, size, flags, level string) string {
		return fmt.Sprintf("0x%016x-0x%016x   %10s %-30s%s", from, to, size, flags, level)
	}
	title := func(s string) string { return "---[ " + s + " ]---" }
	user := linux.Marker{Name: "User Space"}
	const top = 0xffff880000000000 // where the kernel's second range starts
	for _, c := range []struct {
		name    string
		entries []entry
		above   map[int]uint64 // bits to change in these slots of the first PMD table
		markers []linux.Marker
		filter  tree.Filter
		want    []string
	}{{
		name: "a jump over several markers prints one at each note",
		markers: []linux.Marker{
			user, {Addr: 1 << 63, Name: "Kernel Space"}, {Addr: top, Name: "LDT remap"},
			{Addr: 0xffff888000000000, Name: "Low Kernel Mapping"}, {Addr: 0xffffc90000000000, Name: "vmalloc() Area"},
		},
		want: []string{
			title("User Space"), line(0, top, "16777096T", blank, "pgd"),
			title("Kernel Space"), line(top, 0xffff888000000000, "512G", blank, "pgd"),
			title("LDT remap"), line(0xffff888000000000, 0xffff890000000000, "512G", blank, "pgd"),
			title("Low Kernel Mapping"), line(0xffff890000000000, 0xffffc90000000000, "64T", blank, "pgd"),
			title("vmalloc() Area"), line(0xffffc90000000000, 0, "55T", blank, "pgd"),
		},
	}, {
		name: "A and D divide lines that look alike, and the bits of entries without P divide blank ones",
		entries: []entry{
			{0x0000, pte, 0x8000000000001007}, {0x1000, pte, 0x8000000000002007}, {0x2000, pte, 0x8000000000003067},
			{0x3000, pte, 0x07fffffffffffc00}, {0x4000, pte, 0x07fffffffffffa00}, {0x5000, pte, 0x000ffffffedcb120},
			{0x6000, pte, 0x000ffffffedca120},
		},
		markers: []linux.Marker{user},
		filter:  tree.Filter{Last: 0x7fff},
		want: []string{
			title("User Space"), line(0, 0x2000, "8K", "USR RW                     NX ", "pte"),
			line(0x2000, 0x3000, "4K", "USR RW                     NX ", "pte"),
			line(0x3000, 0x4000, "4K", blank, "pte"), line(0x4000, 0x5000, "4K", blank, "pte"),
			line(0x5000, 0x7000, "8K", blank, "pte"), line(0x7000, 0x8000, "4K", blank, "pte"),
		},
	}, {
		name:    "an entry without flags is not an empty one: NX above it is its own",
		entries: []entry{{0x1fe000, pte, 0x1000}, {0x200000, pte, 0x1000}, {0x201000, pte, 0x1067}},
		above:   map[int]uint64{0: x86.PageNX},
		markers: []linux.Marker{user},
		filter:  tree.Filter{First: 0x1fd000, Last: 0x201fff},
		want: []string{
			title("User Space"), line(0x1fd000, 0x1fe000, "4K", blank, "pte"), line(0x1fe000, 0x1ff000, "4K", blank, "pte"),
			line(0x1ff000, 0x201000, "8K", blank, "pte"), line(0x201000, 0x202000, "4K", "USR RW                     x  ", "pte"),
		},
	}, {
		name: "effective rights divide lines that look alike",
		entries: []entry{
			{0x1ff000, pte, 0x1067}, {0x200000, pte, 0x2067},
		},
		above:   map[int]uint64{1: x86.PageRW},
		markers: []linux.Marker{user},
		filter:  tree.Filter{First: 0x1ff000, Last: 0x200fff},
		want: []string{
			title("User Space"), line(0x1ff000, 0x200000, "4K", "USR RW                     x  ", "pte"),
			line(0x200000, 0x201000, "4K", "USR RW                     x  ", "pte"),
		},
	}, {
		name: "a PMD that is migrating is passed over, PAT of a large page is not shown, PSE without P is a blank line",
		entries: []entry{
			{0x000000, pmd, 0x80000000400008e7}, {0x200000, pmd, 0x80000000404018e7}, {0x400000, pmd, 0xcfffe7fff7fffe00},
			{0x600000, pmd, 0x800fffffbfe008e6},
		},
		markers: []linux.Marker{user},
		filter:  tree.Filter{Last: 0x9fffff},
		want: []string{
			title("User Space"), line(0, 0x600000, "6M", "USR RW         PSE         NX ", "pmd"),
			line(0x600000, 0x800000, "2M", blank, "pmd"), line(0x800000, 0xa00000, "2M", blank, "pmd"),
		},
	}, {
		name: "all columns of a base page",
		entries: []entry{
			{0x0000, pte, 0x11ff}, {0x1000, pte, 0x2001},
		},
		markers: []linux.Marker{user},
		filter:  tree.Filter{Last: 0x1fff},
		want: []string{
			title("User Space"), line(0, 0x1000, "4K", "USR RW PWT PCD     PAT GLB x  ", "pte"),
			line(0x1000, 0x2000, "4K", "    ro                     x  ", "pte"),
		},
	}, {
		name: "a region with a limit",
		entries: []entry{
			{0x1000, pte, 0x1067}, {0x3000, pte, 0x1067}, {0x5000, pte, 0x1067}, {0x200000, pte, 0x1067},
		},
		markers: []linux.Marker{user, {Addr: 0x1000, Name: "limited", MaxLines: 2}, {Addr: 0x200000, Name: "next"}},
		filter:  tree.Filter{Last: 0x200fff},
		want: []string{
			title("User Space"), line(0, 0x1000, "4K", blank, "pte"),
			title("limited"), line(0x1000, 0x2000, "4K", "USR RW                     x  ", "pte"),
			line(0x2000, 0x3000, "4K", blank, "pte"), "... 4 entries skipped ... ",
			title("next"), line(0x200000, 0x201000, "4K", "USR RW                     x  ", "pte"),
		},
	}, {
		name:    "one line too many",
		entries: []entry{{0x1000, pte, 0x1067}, {0x200000, pte, 0x1067}},
		markers: []linux.Marker{user, {Addr: 0x1000, Name: "limited", MaxLines: 1}, {Addr: 0x200000, Name: "next"}},
		filter:  tree.Filter{Last: 0x200fff},
		want: []string{
			title("User Space"), line(0, 0x1000, "4K", blank, "pte"),
			title("limited"), line(0x1000, 0x2000, "4K", "USR RW                     x  ", "pte"), "... 1 entry skipped ... ",
			title("next"), line(0x200000, 0x201000, "4K", "USR RW                     x  ", "pte"),
		},
	}, {
		name:    "the user half ends where canonical addresses do",
		entries: []entry{{0x7ffec0000000, pmd, 0x80000000400000e7}},
		markers: []linux.Marker{user},
		filter:  tree.Filter{First: 0x7ffec0000000, Last: 1<<63 - 1},
		want: []string{
			title("User Space"), line(0x7ffec0000000, 0x7ffec0200000, "2M", "USR RW         PSE         NX ", "pmd"),
			line(0x7ffec0200000, 0x7fff00000000, "1022M", blank, "pmd"),
			line(0x7fff00000000, 0x800000000000, "4G", blank, "pud"),
		},
	}, {
		name:    "what cannot be read",
		entries: []entry{{0, pmd, 0x400000e7}, {0x200000, pmd, 0xdead067}, {0x400000, pmd, 0x400000e7}},
		markers: []linux.Marker{user},
		filter:  tree.Filter{Last: 0x5fffff},
		want: []string{
			title("User Space"), line(0, 0x200000, "2M", "USR RW         PSE         x  ", "pmd"),
			"# ! 0x0000000000200000 pmd 2M",
			line(0x400000, 0x600000, "2M", "USR RW         PSE         x  ", "pmd"),
		},
	}} {
		t.Run(c.name, func(t *testing.T) {
			m := pttree.New(0x100)
			root := m.Table()
			for _, e := range c.entries {
				m.Map(root, 4, e.va, e.level, e.raw, x86.PageTable)
			}
			for slot, change := range c.above {
				m.At(firstPMD(m, root))[slot] ^= change
			}
			var out bytes.Buffer
			s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
			if err := KernelStyle(s, c.filter, c.markers, &out); err != nil {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			for i, l := range got {
				if strings.HasPrefix(l, "#") {
					got[i] = strings.Join(strings.Fields(l)[:5], " ")
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// firstPMD returns the PMD table that translates address 0 in four levels.
func firstPMD(m *pttree.Mem, root x86.PFN) x86.PFN {
	return x86.Phys(m.At(x86.Phys(m.At(root)[0]).PFN())[0]).PFN()
}

// TestKernelStyleReuseOfSharedTables: markers in the middle of tables that were met before, one of which cannot be
// read, and tables that are reached with different rights.
func TestKernelStyleReuseOfSharedTables(t *testing.T) {
	s := sharedTables()
	const gib = 1 << 30
	markers := []linux.Marker{
		{Name: "a"}, {Addr: 3*gib + 0x20e000, Name: "b"}, {Addr: 3*gib + 0x20f000, Name: "c"}, {Addr: 5 * gib, Name: "d", MaxLines: 3},
		{Addr: 6*gib + 0x300000, Name: "e"},
	}
	filter := tree.Filter{Last: 1<<36 - 1}
	var once, always bytes.Buffer
	if err := kernelStyle(s, filter, markers, &once, false); err != nil {
		t.Fatal(err)
	}
	if err := kernelStyle(s, filter, markers, &always, true); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), always.Bytes()) {
		t.Errorf("with reuse\n%.3000s\nwithout\n%.3000s", once.Bytes(), always.Bytes())
	}
	for _, want := range []string{"]---\n", "---[ e ]", "skipped", "\n# "} {
		if !bytes.Contains(once.Bytes(), []byte(want)) {
			t.Errorf("no %q in the output", want)
		}
	}
}
