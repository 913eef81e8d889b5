package truth

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const processLog = "WORKLOAD START\r\nK ffffffff81000000 T _text\r\n" +
	`P 2 2 0 I kernel "kworker/0:0-events"` + "\r\n" +
	`P 40 40 1 S user "a b) S 1 (\n\xff\u2713"` + "\r\n" +
	"U VmRSS:\t     16 kB\r\nT 41 \"\"\r\nT 42 \" \"\r\n" +
	"A 10000000000-10000004000 rw-s 00002000 00:1a 17                         /shm/new\\012line (deleted)\r\n" +
	"A Size:                 16 kB\r\nA Rss:                 8 kB\r\nA ProtectionKey:         3\r\nA VmFlags: rd wr sh mr mw me ms sd \r\n" +
	"A 7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0                        [stack]\r\n" +
	"A ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\r\n" +
	"R 10000000000 2 a180000000000100\r\nR 10000002000 1 400000000000a3e2\r\nR 10000003000 1 0\r\nR 7ffd00000000 1 8180000000000100\r\n" +
	`P 50 50 1 Z user "headless"` + "\r\nT 51 \"rest\"\r\nQ 51\r\nA 1000-2000 r--p 00000000 00:00 0 \r\nR 1000 1 8100000000000101\r\n" +
	"F 100 2 68\r\nF 101 2 400000868\r\n" +
	`P 1 1 0 R user "init"` + "\r\nA 2000-3000 ---p 00000000 00:00 0 \r\nA VmFlags: mr mw me \r\nR 2000 1 8100000000000102\r\nREADY\r\n"

func readLog(t *testing.T, log string) *Processes {
	t.Helper()
	all, err := ReadProcesses(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestProcesses(t *testing.T) {
	all := readLog(t, processLog)
	if len(all.List) != 4 {
		t.Fatalf("%d processes", len(all.List))
	}
	k, p, headless := all.ByPID(2), all.ByPID(40), all.ByPID(50)
	if !k.Kernel || k.State != 'I' || k.HasMM() || !k.Named("kworker/0:0") || k.Named("kthreadd") || k.Named("") {
		t.Errorf("kernel thread: %+v", k)
	}
	if p.Comm != "a b) S 1 (\n\xff✓" || p.PPID != 1 || p.Kernel || p.Named("a b") || !p.Named(p.Comm) || p.Status["VmRSS"] != "16" {
		t.Errorf("process: %+v", p)
	}
	if want := []Thread{{41, ""}, {42, " "}}; !slices.Equal(p.Threads, want) {
		t.Errorf("threads: %v", p.Threads)
	}
	if headless.FilesOf != 51 || p.FilesOf != 40 || all.ByPID(7) != nil {
		t.Errorf("files of %d, %d", headless.FilesOf, p.FilesOf)
	}
	if want := (FrameUse{2, 0x400000868}); all.Frames[0x101] != want || len(all.Frames) != 2 {
		t.Errorf("frames: %v", all.Frames)
	}
}

func TestAreas(t *testing.T) {
	p := readLog(t, processLog).ByPID(40)
	if len(p.Areas) != 3 {
		t.Fatalf("%d areas", len(p.Areas))
	}
	a := p.Areas[0]
	if a.Perms != "rw-s" || a.Offset != 0x2000 || a.Major != 0 || a.Minor != 0x1a || a.Inode != 17 || a.Path != `/shm/new\012line (deleted)` {
		t.Errorf("area: %+v", a)
	}
	if a.KB["Rss"] != 8 || a.KB["ProtectionKey"] != 3 || !a.Has("ms") || a.Has("wf") {
		t.Errorf("area: %+v", a)
	}
	if p.Area(0x10000003fff) != &p.Areas[0] || p.Area(0x10000004000) != nil || p.Area(0xfff) != nil || p.Area(0xffffffffff600000).Path != "[vsyscall]" {
		t.Error("areas are found wrongly")
	}
}

func TestWords(t *testing.T) {
	all := readLog(t, processLog)
	p := all.ByPID(40)
	for va, want := range map[uint64]uint64{0x10000000000: 0xa180000000000100, 0x10000001fff: 0xa180000000000101, 0x10000002000: 0x400000000000a3e2, 0x10000003000: 0} {
		if word, ok := p.Word(va); !ok || word != want {
			t.Errorf("%#x: %#x, %v", va, word, ok)
		}
	}
	if _, ok := p.Word(0x10000004000); ok {
		t.Error("a word outside all areas")
	}
	if c := p.Counts(); c != (PageCounts{Present: 3, Swapped: 1, File: 2, SoftDirty: 3}) {
		t.Errorf("counts: %+v", c)
	}
	who := all.WhoMaps()
	if want := []Mapping{{40, 0x10000000000}, {40, 0x7ffd00000000}}; !slices.Equal(who[0x100], want) {
		t.Errorf("frame 0x100: %v", who[0x100])
	}
	if want := []Mapping{{40, 0x10000001000}, {50, 0x1000}}; !slices.Equal(who[0x101], want) {
		t.Errorf("frame 0x101: %v", who[0x101])
	}
	if want := []Mapping{{40, 0x10000002000}}; !slices.Equal(all.WhoSwapped()[SwapSlot{2, 0x51f}], want) {
		t.Errorf("swapped: %v", all.WhoSwapped())
	}
}

// TestGuestOfProcesses: readers of one process get process 1.
func TestGuestOfProcesses(t *testing.T) {
	g, err := ReadGuest(strings.NewReader(processLog))
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Regions) != 1 || g.Regions[0].Start != 0x2000 || g.Pagemap[0x2000] != 0x8100000000000102 || len(g.Pagemap) != 1 {
		t.Errorf("regions %v, words %v", g.Regions, g.Pagemap)
	}
	if v := g.VMA(0x2fff); v == nil || v.Perms != "---p" || !v.Has("mr") || g.Symbols["_text"] != 0xffffffff81000000 {
		t.Errorf("area %+v, symbols %v", v, g.Symbols)
	}
}

func TestProcessesOfFolder(t *testing.T) {
	for log, want := range map[string]bool{processLog: true, "REGION a 0 0\r\n": false, "": false} {
		f := Folder{Dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(f.Dir, "guest.log"), []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.Processes()
		if f.HasProcesses() != want || (err == nil) != want {
			t.Errorf("%.20q: has processes: %v, error %v", log, f.HasProcesses(), err)
		}
	}
}

// TestBadLines: a log that was cut or garbled is an error at its line.
func TestBadLines(t *testing.T) {
	const p = "P 1 1 0 S user \"a\"\n"
	for _, log := range []string{"T 1 \"a\"", "R 0 1 0", "P 1 1 0 S user", "P 1 1 0 S what \"a\"", "P 1 1 0 SS user \"a\"", "P x 1 0 S user \"a\"",
		p + "A Rss: 1 kB", p + "A 1000 rw-p 0 0:0 0", p + "A 1000-2000 rw 0 0:0 0", p + "A 1000-2000 rw-p 0 0:0 x", p + "A 0-1000 rw-p 0 0:0 0\nA Rss:",
		p + "R 1000 2 0\nR 2000 1 0", p + "R 1000 x 0", p + "Q x", p + "T 1 a", p + "U VmRSS", "F 1 2"} {
		if _, err := ReadProcesses(strings.NewReader(log)); err == nil {
			t.Errorf("accepted: %q", log)
		}
	}
}

// TestFolders: a folder that is being written is not there yet, and every dump of a folder is.
func TestFolders(t *testing.T) {
	root, more := t.TempDir(), t.TempDir()
	for _, name := range []string{root + "/testdata/captures/a/qemu-registers.txt", more + "/b/qemu-registers.txt", more + "/c.new/qemu-registers.txt",
		more + "/d/other", more + "/b/tables.elf.zst", more + "/b/full.kdump", more + "/b/filtered.kdump", more + "/b/filtered.kdump.vmcore"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PTEMU_CAPTURES", more)
	folders, err := Folders(root)
	if err != nil || len(folders) != 2 || folders[0].Name() != "a" || folders[1].Name() != "b" {
		t.Fatalf("%v, %v", folders, err)
	}
	var names []string
	for _, dump := range folders[1].Dumps() {
		names = append(names, filepath.Base(dump))
	}
	if want := []string{"tables.elf.zst", "full.kdump", "filtered.kdump"}; !slices.Equal(names, want) {
		t.Errorf("dumps: %v", names)
	}
	if len(folders[0].Dumps()) != 0 {
		t.Error("a folder without dumps has some")
	}
}
