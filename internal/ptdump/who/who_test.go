package who

import (
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/swapentry"
)

// TestWhoInWindows: a capture that has more mappings than are held at a time gives the same.
func TestWhoInWindows(t *testing.T) {
	m := capturetest.Workers(80, 8, 1)
	path := m.Write(t, 0)
	in, spaces := m.Open(t, path)
	run := func(most int64) string {
		var out strings.Builder
		s := &Search{Tree: in.Tree, Spaces: spaces, UserOnly: true, Workers: space.Workers{Jobs: 1}, Tally: &entries.Tally{}, most: most}
		if err := s.EveryFrame(t.Context(), Output{W: &out, Format: "text", Min: 1}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	all := run(0)
	if n := strings.Count(all, "\n"); n < 2*extentChunk {
		t.Errorf("%d lines: too few to need windows", n)
	}
	if some := run(extentChunk); some != all {
		t.Errorf("in windows: %d bytes, else %d, or they differ", len(some), len(all))
	}
}

// TestTakenOutOfDirectMap: who finds an entry of the direct map from which the kernel took a page out, in one answer and in
// that of every frame, and not as a slot of swap; frames of page tables alone are not said to be no memory.
func TestTakenOutOfDirectMap(t *testing.T) {
	const user, secret = 0x7f0000000000, x86.PFN(0x6721)
	m := pttree.New(0x1000)
	root := m.Table()
	abi := x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4))
	base := x86.Virt(0xffff888000000000)
	m.Map(root, 4, user, x86.LevelPTE, uint64(secret.Phys())|0x8000000000000067, capturetest.UserTable)
	m.Map(root, 4, base+x86.Virt(secret.Phys()), x86.LevelPTE, 0x800ffffff98de020, capturetest.KernelTable)
	m.Map(root, 4, base+x86.Virt((secret+1).Phys()), x86.LevelPTE, uint64((secret+1).Phys())|0x8000000000000163, capturetest.KernelTable)
	m.Map(root, 4, user+x86.PageSize, x86.LevelPTE, 0xfffffffffdb97400, capturetest.UserTable) // 6.1: swap-in error of 0x12345
	for _, kernel := range []x86.Kernel{x86.Linux7_2(), x86.Linux6_1()} {
		abi = x86.MustABI(kernel, x86.DefaultPaging(4))
		layout := &linux.Layout{DirectMap: linux.Base{Addr: base, Found: true}, DirectMapEnd: base + 1<<30}
		s := &tree.Tree{Mem: m, ABI: abi, Layout: swapentry.NewLayout(abi), Root: root.Phys(), System: &linux.System{ABI: abi, Layout: layout}}
		mm := &proc.MM{Roots: linux.Roots{Kernel: root.Phys()}}
		p := &proc.Process{PID: 152, Comm: "secret", MM: mm}
		spaces := &space.Machine{
			Procs: &proc.Processes{List: []*proc.Process{p}}, Kernel: &space.Space{Tree: s},
			User: []*space.Space{{Tree: s, MM: mm, Procs: []*proc.Process{p}}},
		}
		search := &Search{Tree: s, Spaces: spaces, Workers: space.Workers{Jobs: 1}, Tally: &entries.Tally{}}
		var targets []Target
		for _, arg := range []string{"pfn:0x6721", "pfn:0x6722", "pfn:0x9999", "pfn:0x12345"} {
			target, err := ParseFrames(arg)
			if err != nil {
				t.Fatal(err)
			}
			targets = append(targets, target)
		}
		slot, err := ParseSlot("16:0x3f8000003390f") // what the entry would say as one of swap
		if err != nil {
			t.Fatal(err)
		}
		answers, err := search.Find(t.Context(), append(targets, slot))
		if err != nil {
			t.Fatal(err)
		}
		failed := uint64(0)
		if kernel.SwapinErrorType {
			failed = 1
		}
		for i, want := range []struct {
			mappings, notPresent, inRAM uint64
			text                        string
		}{
			{1, 1, 1, "memory, not in the capture; 1 mapping, 1 entry that is not present, in 1 process"},
			{1, 0, 1, "memory, not in the capture; 1 mapping"},
			{0, 0, 0, "not memory; no mappings"},
			{0, failed, 0, "not memory; no mappings"},
			{0, 0, 0, "no entries"},
		} {
			a := &answers[i].about
			if a.Mappings != want.mappings || a.NotPresent != want.notPresent || a.InRAM != want.inRAM || !strings.Contains(a.text(), want.text) {
				t.Errorf("%s: %+v, %s", kernel.Release, *a, a.text())
			}
		}
		text := string(textOf(answers, report.Palette{}))
		if !strings.Contains(text, "taken out of ") || !strings.Contains(text, "not present ACCESSED NX") || strings.Contains(text, "!") {
			t.Errorf("text:\n%s", text)
		}
		var all strings.Builder
		if err := search.EveryFrame(t.Context(), Output{W: &all, Format: "csv", Min: 1}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(all.String(), "\n0x6721000,26401,1,1,1,0,1,0,") || strings.Contains(all.String(), "0x6722000,") {
			t.Errorf("every frame:\n%s", &all)
		}
	}
}
