package proc

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux"
)

func (f *fake) find(opt Options) (*Processes, error) {
	return Find(context.Background(), f, f.detect(), opt)
}

// small is the fake machine with a few processes; what process 1 maps is in heads.
type small struct {
	*fake
	mm, first, shared, daemon x86.Virt
	heads                     []string
}

func newSmall(t testing.TB) *small {
	f := newFake(t)
	s := &small{fake: f}
	rootFS := f.fs("ext4", 8<<20|1, 0xef53, nil, 0)
	bin := f.dentry(rootFS, rootFS.root, "bin", 11)
	prog := f.dentry(rootFS, bin, "prog\nram", 12)
	tmp := f.dentry(rootFS, rootFS.root, "tmp", 13)
	tmpFS := f.fs("tmpfs", 22, magicTmpfs, rootFS, tmp)
	gone := f.dentry(tmpFS, tmpFS.root, "gone", 99)
	f.set(gone, "dentry.d_hash.pprev", 0)
	outside := f.fs("ext4", 9<<20|300, 0xef53, nil, 0)
	other := f.dentry(outside, outside.root, "other", 5)
	backed := f.file(tmpFS, gone)
	f.set(backed, "file.f_mode", 1<<24)
	f.set(backed, "backing_file.user_path.dentry", uint64(prog))
	f.set(backed, "backing_file.user_path.mnt", uint64(rootFS.vfsmount))
	const rwx = 1<<33 | 1<<34 | 1
	areas := []x86.Virt{
		f.mapped(0x400000, 0x401000, f.file(rootFS, prog), 0),
		f.mapped(0x401000, 0x402000, f.file(rootFS, prog), 1),
		f.vma(0x500000, 0x600000, rwx),
		f.mapped(0x700000, 0x701000, f.file(tmpFS, gone), 0x123456),
		f.mapped(0x800000, 0x801000, f.madeUp("tmpfs", "memfd:x", 1, magicTmpfs, 7), 0),
		f.mapped(0x810000, 0x811000, f.madeUp("anon_inodefs", "[perf_event]", 14, 0x09041934, 8), 0),
		f.mapped(0x820000, 0x821000, f.madeUp("sockfs", "", 8, 0x534f434b, 77), 0),
		f.mapped(0x830000, 0x831000, f.madeUp("hugetlbfs", "anon_hugepage", 15, magicHugetlbfs, 9), 0),
		f.mapped(0x840000, 0x841000, f.file(outside, other), 0),
		f.mapped(0x850000, 0x851000, backed, 0),
		f.named(f.vma(0x900000, 0x901000, 1<<33), "my heap"),
		f.named(f.mapped(0x910000, 0x911000, f.madeUp("tmpfs", "dev/zero", 1, magicTmpfs, 6), 0), "shared"),
		f.vma(0x7fff0000, 0x7fff2000, 1<<33|1<<1|1<<63),
		f.special(0x7fff4000, 0x7fff5000, "[vdso]"),
	}
	s.heads = []string{
		`00400000-00401000 ---p 00000000 08:01 12 /bin/prog\012ram`,
		`00401000-00402000 ---p 00001000 08:01 12 /bin/prog\012ram`,
		"00500000-00600000 rwxp 00000000 00:00 0 [heap]",
		"00700000-00701000 ---p 123456000 00:16 99 /tmp/gone (deleted)",
		"00800000-00801000 ---p 00000000 00:01 7 /memfd:x (deleted)",
		"00810000-00811000 ---p 00000000 00:0e 8 anon_inode:[perf_event]",
		"00820000-00821000 ---p 00000000 00:08 77 socket:[77]",
		"00830000-00831000 ---p 00000000 00:0f 9 /anon_hugepage (deleted)",
		"00840000-00841000 ---p 00000000 09:12c 5 /other",
		`00850000-00851000 ---p 00000000 08:01 12 /bin/prog\012ram`,
		"00900000-00901000 r--p 00000000 00:00 0 [anon:my heap]",
		"00910000-00911000 ---p 00000000 00:01 6 [anon_shmem:shared]",
		"7fff0000-7fff2000 r--p 00000000 00:00 0 [stack]",
		"7fff4000-7fff5000 ---p 00000000 00:00 0 [vdso]",
	}
	s.mm = f.mm(areas...)
	f.set(s.mm, "mm_struct.start_brk", 0x500000)
	f.set(s.mm, "mm_struct.brk", 0x600000)
	f.set(s.mm, "mm_struct.start_stack", 0x7fff1000)
	f.set(areas[2], "vm_area_struct.anon_vma", uint64(s.mm))
	f.set(areas[2], "vm_area_struct.vm_page_prot", 0x8000000000000025)
	s.first = f.task(1, "first", s.mm)
	f.root(s.first, rootFS)
	s.daemon = f.task(2, "a name of 16 cha", 0)
	s.shared = f.task(40, "shares", s.mm)
	f.set(s.shared, "task_struct.real_parent", uint64(s.first))
	s.threads(f.task(30, "threaded", 0), f.mm(f.vma(0x1000, 0x2000, 1)))
	return s
}

// threads gives a process that has lost its leader's mm two more threads.
func (s *small) threads(leader, mm x86.Virt) {
	s.set(leader, "task_struct.flags", 0)
	nodes := []x86.Virt{s.at(leader, "task_struct.thread_node")}
	for _, pid := range []int{33, 31} {
		task := s.alloc(512)
		s.fill(task, pid, "thread", s.init)
		s.set(task, "task_struct.tgid", 30)
		s.set(task, "task_struct.mm", uint64(mm))
		nodes = append(nodes, s.at(task, "task_struct.thread_node"))
	}
	// The leader's signal_struct was made last but two, just before the thread's; it is found through the ring.
	head := s.headOf(nodes[0])
	s.link(append([]x86.Virt{head}, nodes...)...)
}

// headOf returns what the list_head at node points at.
func (s *fake) headOf(node x86.Virt) x86.Virt {
	var v x86.Virt
	for i := range x86.Virt(8) {
		pa := s.phys(node + i)
		v |= x86.Virt(s.frame(pa.PFN())[pa.Offset()]) << (8 * i)
	}
	return v
}

// describe is a process in a line.
func describe(p *Process) string {
	areas := -1
	if p.MM != nil {
		areas = len(p.MM.Areas)
	}
	out := fmt.Sprintf("%d %d %d %q %v %d", p.PID, p.TGID, p.PPID, p.Comm, p.Kernel, areas)
	for _, t := range p.Threads {
		out += fmt.Sprintf(" %d/%s", t.PID, t.Comm)
	}
	return out
}

func TestFake(t *testing.T) {
	s := newSmall(t)
	p, err := s.find(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.HasPrefix(p.Warnings[0], "no symbols") {
		t.Errorf("warnings %q", p.Warnings)
	}
	want := []string{
		`1 1 0 "first" false 14`, `2 2 0 "a name of 16 cha" true -1`, `30 30 0 "threaded" false 1 31/thread 33/thread`, `40 40 1 "shares" false 14`,
	}
	if len(p.List) != len(want) {
		t.Fatalf("%d processes", len(p.List))
	}
	for i, q := range p.List {
		if got := describe(q); got != want[i] {
			t.Errorf("got %s, want %s", got, want[i])
		}
	}
	first := p.List[0]
	if p.List[3].MM != first.MM || first.MM.Addr != s.mm || first.Task != s.first || first.MM.Roots.Kernel != 0x300000 {
		t.Errorf("%+v, %+v", first, first.MM)
	}
	for i := range first.MM.Areas {
		if got := headLine(p, &first.MM.Areas[i]); got != s.heads[i] {
			t.Errorf("got  %s\nwant %s", got, s.heads[i])
		}
	}
	a := first.MM.Areas
	if !a[2].Anon || a[2].Prot != 0x8000000000000025 || a[0].Anon || a[0].File != a[1].File || !a[7].File.Huge || !a[4].File.Shmem || a[0].File.Shmem {
		t.Errorf("%+v", a)
	}
	if got := strings.Join(p.FlagNames(a[12].Flags|1<<2|1<<40), " "); got != "sl rd ??" || p.Flag("rd") != 1<<33 || p.Flag("um") != 0 || p.Flag("??") != 0 {
		t.Errorf("flags %q", got)
	}
}

// TestFakeByCPU hides init_task's name; what a processor runs leads to it.
func TestFakeByCPU(t *testing.T) {
	s := newSmall(t)
	s.word(s.cpu.KernelGSBase+40, uint64(s.shared))
	s.write(s.at(s.init, "task_struct.comm"), []byte("swapper\x00\x00"))
	p, err := s.find(Options{CPUs: nil})
	if err != nil || len(p.List) != 2 || p.List[0].PID != -1 {
		t.Errorf("without a way: %v, %v", p, err)
	}
	p, err = s.find(Options{CPUs: []linux.CPU{s.cpu}})
	if err != nil || len(p.List) != 4 || !strings.Contains(p.Facts[len(p.Facts)-1].Why, "CPU 0") {
		t.Errorf("by what a CPU runs: %v, %v", p, err)
	}
}

// TestFakeOld reads the lists of a kernel before 6.1, and one of them in a circle.
func TestFakeOld(t *testing.T) {
	f := makeFake(t, true)
	first, last := f.vma(0x1000, 0x2000, 1<<33), f.vma(0x5000, 0x6000, 0)
	one := f.task(1, "first", f.mm(first, f.vma(0x2000, 0x4000, 0), last))
	thread := f.alloc(512)
	f.fill(thread, 5, "thread", f.init)
	f.set(thread, "task_struct.tgid", 1)
	f.link(f.at(one, "task_struct.thread_group"), f.at(thread, "task_struct.thread_group"))
	p, err := f.find(Options{})
	if err != nil || len(p.List) != 1 || describe(p.List[0]) != `1 1 0 "first" false 3 5/thread` || p.List[0].MM.AreasErr != "" {
		t.Fatalf("%v, %v", p, err)
	}
	f.set(last, "vm_area_struct.vm_next", uint64(first))
	p, err = f.find(Options{})
	if err != nil || len(p.List) != 1 || describe(p.List[0]) != `1 1 0 "first" false 3 5/thread` || !strings.Contains(p.List[0].MM.AreasErr, "begins at") {
		t.Fatalf("%v, %v", p, err)
	}
}

// TestFakeEdges: an area that only touches the heap, which the kernel called [heap] before 6.11, and a root directory that is
// not the root of its file system.
func TestFakeEdges(t *testing.T) {
	f := newFake(t)
	fs := f.fs("ext4", 8<<20|1, 0xef53, nil, 0)
	jail := f.dentry(fs, fs.root, "jail", 11)
	mm := f.mm(f.mapped(0x1000, 0x2000, f.file(fs, f.dentry(fs, jail, "prog", 12)), 0), f.vma(0x4000, 0x5000, 0), f.vma(0x5000, 0x6000, 0))
	f.set(mm, "mm_struct.start_brk", 0x5000)
	f.set(mm, "mm_struct.brk", 0x6000)
	first := f.task(1, "first", mm)
	f.root(first, fs)
	f.set(f.headOf(f.at(first, "task_struct.fs")), "fs_struct.root.dentry", uint64(jail))
	for release, want := range map[string]string{"7.2.0": "/prog,,[heap]", "6.10.0": "/prog,[heap],[heap]"} {
		sys := f.detect()
		sys.Release = release
		p, err := Find(context.Background(), f, sys, Options{})
		if err != nil || len(p.List) != 1 || len(p.List[0].MM.Areas) != 3 {
			t.Fatalf("%v, %v", p, err)
		}
		a := p.List[0].MM.Areas
		if got := strings.Join([]string{a[0].File.Path, a[1].Name, a[2].Name}, ","); got != want {
			t.Errorf("%s: %s, want %s", release, got, want)
		}
	}
}
