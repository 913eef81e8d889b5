package ptdump

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"ptemu/capture"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/kept"
)

// noteText is the content of an extract's note, as any JSON.
type noteText = map[string]any

// investigated is a committed extract, and what its note says.
func investigated(t *testing.T, name string) (*capture.Capture, []byte) {
	t.Helper()
	c, err := capture.Open(filepath.Join(capturetest.Repository(), "testdata", "investigate", name), capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, n := range c.Notes {
		if n.Name == kept.NoteName {
			r, err := zstd.NewReader(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			text, err := r.DecodeAll(n.Desc, nil)
			if err != nil {
				t.Fatal(err)
			}
			return c, text
		}
	}
	t.Fatalf("%s: no note", name)
	return nil, nil
}

// withNote writes the capture with another note.
func withNote(t *testing.T, path string, c *capture.Capture, packed []byte) {
	t.Helper()
	var notes []elfnote.Note
	for _, n := range c.Notes {
		if n.Name == kept.NoteName {
			n.Desc = packed
		}
		notes = append(notes, n)
	}
	var b bytes.Buffer
	if err := elfcore.Write(&b, c.Mem, c.Mem.Ranges(), notes); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.Bytes())
}

// zstdOf compresses a text as a note is.
func zstdOf(t *testing.T, text []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(text, nil)
}

func processesOf(n noteText) []any { return n["processes"].(noteText)["Processes"].([]any) }
func spaceOf(n noteText) noteText  { return n["processes"].(noteText)["Spaces"].([]any)[0].(noteText) }
func areasOf(n noteText) []any     { return spaceOf(n)["Areas"].([]any) }
func noteArea(first, end uint64) noteText {
	return noteText{"Start": first, "End": end, "Flags": ^uint64(0)}
}

// userProcess returns the first process with an address space.
func userProcess(n noteText) noteText {
	for _, p := range processesOf(n) {
		if p.(noteText)["MM"] != nil {
			return p.(noteText)
		}
	}
	return nil
}

const vicious = "\x1b[2J\x1b]0;x\a</script><script>alert(1)</script>\n\r\t\x00\x7f\u202e\"'|,"

// hostileNotes alter what an extract says. Those with an error must be refused with it.
var hostileNotes = []struct {
	name  string
	err   string
	alter func(noteText)
}{
	{"nothing", "", func(noteText) {}},
	{"version", "version 2", func(n noteText) { n["version"] = 2 }},
	{"negative PID", "PID -7", func(n noteText) { userProcess(n)["PID"] = -7 }},
	{"huge PID", "PID 4611686018427387904", func(n noteText) { userProcess(n)["PID"] = 1 << 62 }},
	{"PID twice", "already that of another", func(n noteText) { userProcess(n)["PID"] = 2 }},
	{"no such space", "no address space", func(n noteText) { userProcess(n)["MM"] = 1000 }},
	{"own parent", "", func(n noteText) { userProcess(n)["PPID"] = userProcess(n)["PID"] }},
	{"kernel thread with a space", "", func(n noteText) { userProcess(n)["Kernel"] = true }},
	{"root outside memory", "", func(n noteText) { spaceOf(n)["Roots"] = noteText{"Kernel": 1 << 45, "User": 1 << 45} }},
	{"root beyond addresses", "", func(n noteText) { spaceOf(n)["Roots"] = noteText{"Kernel": 1<<63 - 4096, "User": 4096, "PTI": true} }},
	{"root without", "", func(n noteText) { spaceOf(n)["Roots"] = nil }},
	{"crooked root", "not the address of a table", func(n noteText) { spaceOf(n)["Roots"] = noteText{"Kernel": 1<<20 + 8} }},
	{"empty area", "no range of pages", func(n noteText) { areasOf(n)[1] = noteArea(1<<20, 1<<20) }},
	{"inverted area", "no range of pages", func(n noteText) { areasOf(n)[1] = noteArea(1<<21, 1<<20) }},
	{"area in the kernel", "no range of pages", func(n noteText) { areasOf(n)[0] = noteArea(0, 1<<63) }},
	{"crooked area", "no range of pages", func(n noteText) { areasOf(n)[0] = noteArea(1, 4096) }},
	{"overlapping areas", "before the end", func(n noteText) { areasOf(n)[1] = areasOf(n)[0] }},
	{"one area", "", func(n noteText) { spaceOf(n)["Areas"] = []any{noteArea(0, 1<<47)} }},
	{"area without file", "no file", func(n noteText) { areasOf(n)[0].(noteText)["File"] = 1 << 30 }},
	{"no files", "no file", func(n noteText) { n["processes"].(noteText)["Files"] = nil }},
	{"many areas", "", func(n noteText) {
		var all []any
		for i := range uint64(100_000) {
			all = append(all, noteArea(i<<21, i<<21+4096))
		}
		spaceOf(n)["Areas"] = all
	}},
	{"vicious names", "", func(n noteText) {
		userProcess(n)["Comm"] = vicious
		for _, a := range areasOf(n) {
			a.(noteText)["Name"] = vicious
		}
		for _, f := range n["processes"].(noteText)["Files"].([]any) {
			f.(noteText)["Path"] = vicious
		}
		n["processes"].(noteText)["Warnings"] = []string{vicious}
		spaceOf(n)["AreasErr"] = vicious
		n["from"] = vicious
	}},
	{"flags of many words", "name of a flag", func(n noteText) {
		n["processes"].(noteText)["Flags"] = []any{noteText{"Mask": 0, "Code": "wr"}, noteText{"Mask": ^uint64(0), "Code": vicious}}
	}},
	{"flags without meaning", "", func(n noteText) {
		n["processes"].(noteText)["Flags"] = []any{noteText{"Mask": 0, "Code": "wr"}, noteText{"Mask": ^uint64(0), "Code": "ht"}}
	}},
	{"no flags", "", func(n noteText) { n["processes"].(noteText)["Flags"] = nil }},
	{"no processes", "", func(n noteText) { n["processes"] = nil }},
	{"no kernel", "", func(n noteText) { n["kernel"] = nil }},
	{"unknown kernel", "", func(n noteText) { n["kernel"].(noteText)["kernel"] = "99.9" }},
	{"levels", "levels", func(n noteText) { n["kernel"].(noteText)["paging"].(noteText)["Levels"] = 99 }},
	{"another level", "", func(n noteText) { n["kernel"].(noteText)["paging"].(noteText)["Levels"] = 5 }},
	{"init_mm nowhere", "", func(n noteText) { n["kernel"].(noteText)["init_mm"] = 1 << 50 }},
	{"init_mm is a process's", "", func(n noteText) {
		n["kernel"].(noteText)["init_mm"] = spaceOf(n)["Roots"].(noteText)["Kernel"]
	}},
	{"KASLR", "", func(n noteText) { n["kernel"].(noteText)["kaslr_offset"] = ^uint64(0) }},
}

// TestHostileNotes: what an extract says of processes may be anything. Each command refuses it with the place, or ends with what can be
// said.
func TestHostileNotes(t *testing.T) {
	dir := t.TempDir()
	c, text := investigated(t, "before.elf.zst")
	sound := filepath.Join(dir, "sound.elf")
	withNote(t, sound, c, zstdOf(t, text))
	for i, h := range hostileNotes {
		t.Run(h.name, func(t *testing.T) {
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			var n noteText
			if err := d.Decode(&n); err != nil {
				t.Fatal(err)
			}
			h.alter(n)
			altered, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, fmt.Sprint(i, ".elf"))
			withNote(t, path, c, zstdOf(t, altered))
			if h.err != "" {
				code, _, stderr := run(t, "ps", path)
				if code != exitUnreadable || !strings.Contains(stderr, h.err) || !strings.Contains(stderr, path) {
					t.Errorf("exit %d, %q, want %q", code, stderr, h.err)
				}
				return
			}
			for j, args := range notesCommands(dir, sound, path) {
				if strings.HasPrefix(h.name, "vicious") || (i+j)%5 == 0 {
					soon(t, args...)
				}
			}
		})
	}
}

// notesCommands are the commands that use what the note says.
func notesCommands(dir, sound, path string) [][]string {
	out := filepath.Join(dir, "out")
	return [][]string{
		{"ps", "--threads", path}, {"ps", "--format", "jsonl", path}, {"maps", path, "102"}, {"maps", "--smaps", path, "1"},
		{"maps", "--format", "csv", path, "102"}, {"who", path, "2000000+1M"}, {"who", "--all", path}, {"who", "--swap", "0:0-100", path},
		{"audit", path}, {"audit", "--sarif", path}, {"diff", sound, path}, {"diff", path, sound}, {"map", path, "102", "-o", out + ".html"},
		{"map", path, "-o", out + ".svg"}, {"extract", path, "-o", out + ".elf"}, {"dump", "--pid", "102", path}, {"info", path},
	}
}

// soon runs a command, which must end within some seconds, with an exit code that is documented, and send nothing to the
// terminal that it obeys.
func soon(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	exit := Main(ctx, args, &stdout, &stderr)
	switch {
	case ctx.Err() != nil:
		t.Errorf("ptdump %v does not end", args)
	case exit != exitOK && exit != exitFinding && exit != exitUnreadable:
		t.Errorf("ptdump %v: exit %d: %s", args, exit, stderr.String())
	case exit != exitOK && stderr.Len() == 0 && stdout.Len() == 0:
		t.Errorf("ptdump %v: exit %d without a word", args, exit)
	}
	for _, text := range []string{stdout.String(), stderr.String()} {
		if i := strings.IndexAny(text, "\x1b\r\a\x00"); i >= 0 {
			t.Errorf("ptdump %v prints %.60q", args, text[max(i-20, 0):])
		}
	}
	if html, err := os.ReadFile(args[len(args)-1]); err == nil && bytes.Contains(html, []byte("<script>alert")) {
		t.Errorf("ptdump %v: a name became a script", args)
	}
}

// TestWarningsReachTheUser: what was odd about the processes is told by every command that depends on them.
func TestWarningsReachTheUser(t *testing.T) {
	dir := t.TempDir()
	c, text := investigated(t, "before.elf.zst")
	const said = "the list of processes runs in a circle"
	var n noteText
	if err := json.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	n["processes"].(noteText)["Warnings"] = []string{said}
	altered, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	path, out := filepath.Join(dir, "warned.elf"), filepath.Join(dir, "out")
	withNote(t, path, c, zstdOf(t, altered))
	for _, args := range [][]string{
		{"ps", path}, {"maps", path, "102"}, {"who", path, "1000"}, {"audit", path}, {"diff", path, path}, {"map", path, "102", "-o", out + ".html"},
		{"dump", "--pid", "102", path}, {"entries", "--pid", "102", path}, {"translate", "--pid", "102", path, "0"},
		{"extract", path, "-o", out + ".elf"}, {"dump", "--pid", "4000", path}, {"maps", path, "4000"},
	} {
		if _, _, stderr := run(t, args...); !strings.Contains(stderr, said) {
			t.Errorf("ptdump %v: %q", args, stderr)
		}
	}
}

// TestNoteBombs: a small note that stands for much is refused, in little memory.
func TestNoteBombs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bomb.elf")
	c, _ := investigated(t, "before.elf.zst")
	many := func(before, one, after string, n int) []byte {
		return zstdOf(t, []byte(before+strings.Repeat(one+",", n)+one+after))
	}
	for _, b := range []struct {
		what, err string
		packed    []byte
	}{
		{"spaces", "may unpack", zstdOf(t, bytes.Repeat([]byte{' '}, 300<<20))},
		{"processes", "objects", many(`{"version":1,"processes":{"Processes":[`, `{}`, `]}}`, 2<<20)},
		{"areas", "objects", many(`{"version":1,"processes":{"Spaces":[{"Areas":[`, `{"End":4096}`, `]}]}}`, 500_000)},
		{"nulls", "elements", many(`{"version":1,"processes":{"Spaces":[{"Areas":[`, `0`, `]}]}}`, 4<<20)},
		{"cut off", "note PTEMU", zstdOf(t, bytes.Repeat([]byte(`{"version":1}`), 100))[:20]},
		{"not packed", "note PTEMU", []byte(`{"version":1}`)},
		{"nothing", "note PTEMU", nil},
		{"deep", "note PTEMU", zstdOf(t, []byte(strings.Repeat(`[`, 1<<20)))},
	} {
		withNote(t, path, c, b.packed)
		exit, stderr := survive(t, b.what, "ps", path)
		if exit != exitUnreadable || !strings.Contains(stderr, b.err) {
			t.Errorf("%s: exit %d, %s, want %q", b.what, exit, stderr, b.err)
		}
	}
}
