package ptdump

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/physmem"
)

var update = flag.Bool("update", false, "write the golden files anew")

// run runs the command line in this process.
func run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestGolden compares whole outputs. Run it with -update after a change, and read the difference.
func TestGolden(t *testing.T) {
	good, broken := capturetest.Small(t, false), capturetest.Small(t, true)
	tests := []struct {
		name string
		args string // @ is the good capture, # the damaged one
	}{
		{"dump", "@"},
		{"dump-user-jsonl", "dump --user --format jsonl @"},
		{"dump-csv", "dump --format csv @"},
		{"dump-json-range", "dump --format json --range 7f0040000000+4M --range 0-601000 @"},
		{"dump-two-ranges", "dump --range 400000+1000 --range 600000-601000 --range 601000-602000 @"},
		{"dump-where", "dump --where w&&x @"},
		{"dump-kind", "dump --kind swap,marker --color always @"},
		{"dump-kernel-style", "dump --style kernel --kernel-half @"},
		{"dump-damaged", "dump #"},
		{"dump-damaged-jsonl", "dump --format jsonl --user #"},
		{"dump-damaged-csv", "dump --format csv --user --phys-bits 46 #"},
		{"dump-damaged-kernel-style", "dump --style kernel --range 7f00c0000000+1G #"},
		{"entries", "entries @"},
		{"entries-jsonl", "entries --format jsonl @"},
		{"entries-json-range", "entries --format json --range 600000-602000 @"},
		{"entries-damaged", "entries --user --phys-bits 46 #"},
		{"entries-damaged-jsonl", "entries --range 7f00c0000000- --format jsonl --phys-bits 46 #"},
		{"entries-kernel-6.1", "entries --kernel 6.1 --user --format csv @"},
		{"entries-device-private", "entries --device-private on --range 7f0000001000+8000 @"},
		{"translate", "translate @ 401abc 603000 604000 606000 7f0000003000 7f0040212345 7f0000009000 ffffffff81000000"},
		{"translate-odd", "translate --phys-bits 46 # 800000000000 7f00c0000000 7f0100000000"},
		{"translate-pkru", "translate --pkru 400 --ac --format json @ 604000"},
		{"usage-none", ""},
		{"usage-where", "entries --where u&&(drity @"},
		{"usage-kind", "dump --kind swop @"},
		{"usage-range", "dump --range 5-4 @"},
		{"usage-cpu", "dump --cpu 3 @"},
		{"translate-jsonl", "translate --format jsonl # 401abc 604000 7f0000009000 7f00c0000000 800000000000"},
		{"translate-csv", "translate --format csv # 401abc 604000 7f0000009000 7f00c0000000 800000000000"},
		{"info-csv", "info --format csv --l1tf 44 @"},
		{"usage-format", "info --format xml @"},
		{"usage-style", "dump --style kernel --format json @"},
		{"usage-typo", "entires @"},
		{"usage-typo-alone", "entires"},
		{"no-root-pti", "dump --root pti-user @"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			for _, a := range strings.Fields(tt.args) {
				args = append(args, strings.NewReplacer("@", good, "#", broken).Replace(a))
			}
			code, stdout, stderr := run(t, args...)
			text := fmt.Sprintf("$ ptdump %s\nexit code %d\n-- stdout --\n%s-- stderr --\n%s", tt.args, code, stdout, stderr)
			text = strings.NewReplacer(good, "CAPTURE", broken, "DAMAGED").Replace(text)
			golden(t, filepath.Join("testdata", "cmd", tt.name+".golden"), text)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// jsonLines parses JSON lines.
func jsonLines(t *testing.T, s string) (objects []map[string]any) {
	t.Helper()
	for line := range strings.Lines(s) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		objects = append(objects, o)
	}
	return objects
}

// What was put into the tables comes out, and nothing else.
func TestEntriesAreThoseWritten(t *testing.T) {
	code, stdout, stderr := run(t, "entries", "--format", "jsonl", "--device-private", "off", capturetest.Small(t, false))
	if code != exitOK || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	kinds := map[string]int{}
	for _, o := range jsonLines(t, stdout) {
		kinds[o["kind"].(string)]++
	}
	want := map[string]int{"present": 37, "protnone": 1, "swap": 3, "migration": 2, "marker": 3, "hwpoison": 1}
	if fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

// Every format holds the same entries.
func TestFormatsAgree(t *testing.T) {
	path := capturetest.Small(t, true)
	for _, command := range []string{"entries", "dump"} {
		_, lines, _ := run(t, command, "--format", "jsonl", path)
		objects := jsonLines(t, lines)
		_, array, _ := run(t, command, "--format", "json", path)
		var elements []map[string]any
		if err := json.Unmarshal([]byte(array), &elements); err != nil {
			t.Fatal(err)
		}
		_, text, _ := run(t, command, path)
		textLines := 0
		for line := range strings.Lines(text) {
			var folded int
			if n, _ := fmt.Sscanf(line, "  ... and %d more", &folded); n == 1 {
				textLines += folded
			} else if strings.HasPrefix(line, "0x") || strings.HasPrefix(line, "!") {
				textLines++
			}
		}
		_, table, _ := run(t, command, "--format", "csv", path)
		rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		n := len(objects)
		if n == 0 || len(elements) != n || textLines != n || len(rows) != n+1 {
			t.Errorf("%s: jsonl %d, json %d, text %d, csv %d", command, n, len(elements), textLines, len(rows)-1)
		}
		for i, o := range objects {
			if fmt.Sprint(o) != fmt.Sprint(elements[i]) {
				t.Errorf("%s: element %d differs: %v, %v", command, i, o, elements[i])
			}
			if rows[i+1][0] != o["va"] {
				t.Errorf("%s: record %d is of %s, want %s", command, i, rows[i+1][0], o["va"])
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	good, broken := capturetest.Small(t, false), capturetest.Small(t, true)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o666); err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	empty, text := write("empty", nil), write("text", []byte("hello\n"))
	headerOnly := write("header", whole[:100])
	cut := write("cut", whole[:len(whole)*2/3])
	tests := []struct {
		want int
		args []string
	}{
		{exitOK, []string{good}},
		{exitOK, []string{"info", broken}},
		{exitOK, []string{"--help"}},
		{exitOK, []string{"help", "where"}},
		{exitOK, []string{"--version"}},
		{exitOK, []string{"completion", "bash"}},
		{exitOK, []string{"completion", "zsh"}},
		{exitOK, []string{"completion", "fish"}},
		{exitOK, []string{"completion", "powershell"}},
		{exitOK, []string{"translate", good, "401000"}},
		{exitFinding, []string{broken}},
		{exitFinding, []string{"entries", broken}},
		{exitOK, []string{"entries", "--range", "400000+2000", broken}},
		{exitFinding, []string{"dump", "--style", "kernel", broken}},
		{exitFinding, []string{"entries", "--range", "7f0100000000+1000", "--phys-bits", "46", broken}},
		{exitFinding, []string{"dump", "--range", "7f0100000000+1000", "--phys-bits", "46", broken}},
		{exitOK, []string{"dump", "--range", "7f0100000000+1000", "--phys-bits", "52", broken}},
		{exitFinding, []string{"translate", good, "401000", "999000"}},
		{exitFinding, []string{cut}},
		{exitUsage, nil},
		{exitUsage, []string{good, "extra"}},
		{exitUsage, []string{"--nonsense", good}},
		{exitUsage, []string{"dump", "--levels", "3", good}},
		{exitUsage, []string{"dump", "--kernel", "six", good}},
		{exitUsage, []string{"dump", "--kernel", "6", good}},
		{exitUsage, []string{"dump", "--enc-mask", "4", good}},
		{exitUsage, []string{"dump", "--region", "modulus", good}},
		{exitUsage, []string{"dump", "--range", "no_such_symbol", good}},
		{exitUsage, []string{"dump", "--pid", "", good}},
		{exitUsage, []string{"dump", "--pid", "0xyz", good}},
		{exitUsage, []string{"diff", "--pid", "init", good, good}},
		{exitUsage, []string{"help", "foo"}},
		{exitUsage, []string{"completion", "tcsh"}},
		{exitUsage, []string{"-"}},
		{exitUsage, []string{"info", "-"}},
		{exitUsage, []string{"who", good, "ffff888000001000"}},
		{exitOK, []string{"help", "translate"}},
		{exitOK, []string{"help", "completion", "bash"}},
		{exitUnreadable, []string{"version"}},
		{exitUnreadable, []string{"man"}},
		{exitOK, []string{"dump", "--range", "401fff", good}},
		{exitOK, []string{"dump", "--kernel", "6.12.107+deb13-amd64", good}},
		{exitOK, []string{"dump", "--kernel", "6.14", good}},
		{exitUsage, []string{"dump", "--phys-bits", "60", good}},
		{exitUsage, []string{"dump", "--l1tf", "20", good}},
		{exitUsage, []string{"dump", "--l1tf", "53", good}},
		{exitUsage, []string{"dump", "--l1tf", "300", good}},
		{exitUsage, []string{"entries", "--device-private=maybe", good}},
		{exitUsage, []string{"entries", "--device-private=", good}},
		{exitUsage, []string{"entries", "--where", "va >= 4096", good}},
		{exitUsage, []string{"dump", "--enc-mask", "3", good}},
		{exitUsage, []string{"dump", "--enc-mask", "1", good}},
		{exitUsage, []string{"dump", "--cr3", "zz", good}},
		{exitUsage, []string{"dump", "--cpu", "-1", good}},
		{exitUsage, []string{"dump", "--cpu", "1", good}},
		{exitUsage, []string{"dump", "--user", "--kernel-half", good}},
		{exitUsage, []string{"dump", "--user", "--range", "ffff000000000000+1G", good}},
		{exitUsage, []string{"dump", "--range", "12 34", good}},
		{exitUsage, []string{"dump", "--range", "12+0", good}},
		{exitUsage, []string{"dump", "--range", "ffffffffffffffff+2", good}},
		{exitUsage, []string{"dump", "--raw-base", "1000", good}},
		{exitUsage, []string{"translate", good}},
		{exitUsage, []string{"translate", good, "xyz"}},
		{exitUsage, []string{"translate", "--pkru", "100000000", good, "0"}},
		{exitUsage, []string{"entries", "--where", "w &&", good}},
		{exitUnreadable, []string{filepath.Join(dir, "missing")}},
		{exitUnreadable, []string{dir}},
		{exitUnreadable, []string{empty}},
		{exitUnreadable, []string{text}},
		{exitUnreadable, []string{headerOnly}},
		{exitUnreadable, []string{"--cr3", "fff000", good}},
		{exitUnreadable, []string{"--root", "swapper", good}},
		{exitUnreadable, []string{"--input", "raw", text}},
		{exitOutput, []string{"-o", filepath.Join(dir, "no", "such"), good}},
	}
	for _, tt := range tests {
		code, stdout, stderr := run(t, tt.args...)
		if code != tt.want {
			t.Errorf("ptdump %q: exit %d, want %d\nstderr: %s", tt.args, code, tt.want, stderr)
		}
		if code > exitFinding && (stdout != "" || !strings.HasPrefix(stderr, "ptdump: ")) {
			t.Errorf("ptdump %q: stdout %q, stderr %q", tt.args, stdout, stderr)
		}
		if strings.Contains(stderr, "%!") || strings.Contains(stderr, "goroutine") {
			t.Errorf("ptdump %q: stderr %q", tt.args, stderr)
		}
	}
}

// The result of a filter is the part of the whole for which it holds.
func TestFiltersSelect(t *testing.T) {
	path := capturetest.Small(t, false)
	_, all, _ := run(t, "entries", "--format", "jsonl", path)
	has := func(o map[string]any, bit string) bool {
		for _, b := range o["bits"].([]any) {
			if b == bit {
				return true
			}
		}
		return false
	}
	right := func(o map[string]any, r string) bool { return o["rights"].(map[string]any)[r].(bool) }
	tests := []struct {
		args []string
		keep func(o map[string]any) bool
	}{
		{[]string{"--kind", "swap,marker"}, func(o map[string]any) bool { return o["kind"] == "swap" || o["kind"] == "marker" }},
		{[]string{"--kind", "swap", "--kind", "hwpoison"}, func(o map[string]any) bool { return o["kind"] == "swap" || o["kind"] == "hwpoison" }},
		{[]string{"--user"}, func(o map[string]any) bool { return o["va"].(string) < "0x8" }},
		{[]string{"--kernel-half"}, func(o map[string]any) bool { return o["va"].(string) >= "0x8" }},
		{[]string{"--range", "402000-602000"}, func(o map[string]any) bool {
			return o["va"].(string) >= "0x0000000000402000" && o["va"].(string) < "0x0000000000602000"
		}},
		{[]string{"--range", "0x7f0040200000+1"}, func(o map[string]any) bool { return o["va"] == "0x00007f0040200000" }},
		{[]string{"--range", "601000+1000", "--range", "0-401000", "--range", "600000-601000"}, func(o map[string]any) bool {
			va := o["va"].(string)
			return va <= "0x0000000000400fff" || va >= "0x0000000000600000" && va <= "0x0000000000601fff"
		}},
		{[]string{"--where", "w and u"}, func(o map[string]any) bool { return right(o, "w") && right(o, "u") }},
		{[]string{"--where", "dirty"}, func(o map[string]any) bool { return has(o, "DIRTY") || has(o, "SAVED_DIRTY") }},
		{[]string{"--where", "hw-dirty"}, func(o map[string]any) bool { return has(o, "DIRTY") }},
		{[]string{"--where", "!present && !(type==31)"}, func(o map[string]any) bool {
			s, swap := o["swap"].(map[string]any)
			return o["kind"] != "present" && !(swap && s["type"] == 31.0)
		}},
		{[]string{"--where", "pkey==5"}, func(o map[string]any) bool { return o["pkey"] == 5.0 }},
		{[]string{"--where", "size>=2M", "--user"}, func(o map[string]any) bool {
			return o["size"].(float64) > 4096 && o["va"].(string) < "0x8"
		}},
		{[]string{"--where", "soft-dirty", "--kind", "swap"}, func(o map[string]any) bool {
			return o["kind"] == "swap" && has(o, "SWP_SOFT_DIRTY")
		}},
	}
	for _, tt := range tests {
		want := ""
		n := 0
		for line := range strings.Lines(all) {
			if tt.keep(jsonLines(t, line)[0]) {
				want += line
				n++
			}
		}
		if n == 0 {
			t.Errorf("%q: the test selects nothing", tt.args)
		}
		_, got, stderr := run(t, append(append([]string{"entries", "--format", "jsonl"}, tt.args...), path)...)
		if got != want {
			t.Errorf("%q: got\n%swant\n%s%s", tt.args, got, want, stderr)
		}
	}
}

func TestInfo(t *testing.T) {
	path := capturetest.Small(t, false)
	code, text, stderr := run(t, "info", path)
	if code != exitOK || stderr != "" {
		t.Errorf("exit %d, %s", code, stderr)
	}
	for _, want := range []string{
		"ELF core", "6.12.0-test", "entries read as those of Linux 6.12", "CONFIG_DEVICE_PRIVATE off", "4 levels",
		"CR0   0x80050033 (PE MP ET NE WP AM PG)", "CR3   0x1000000",
		"CR4   0x750ef0 (PSE PAE MCE PGE OSFXSR OSXMMEXCPT UMIP FSGSBASE OSXSAVE SMEP SMAP PKE)",
		"root          0x1000000", "KASLR offset  0x0", "in user mode", "\nassumed\n", "L1TF",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("info lacks %q:\n%s", want, text)
		}
	}
	_, out, _ := run(t, "info", "--format", "json", "--kernel", "7.2", "--device-private", "on", path)
	var i info
	if err := json.Unmarshal([]byte(out), &i); err != nil {
		t.Fatal(err)
	}
	if i.Profile != "7.2" || !i.DevicePrivate || i.Levels != 4 || len(i.CPUs) != 1 || i.Root.Addr != "0x1000000" ||
		i.CPUs[0].CR3 != "0x1000000" || strings.Join(i.CPUs[0].CR0Bits, " ") != "PE MP ET NE WP AM PG" || i.Memory == 0 {
		t.Errorf("info --format json:\n%s", out)
	}
}

// Without a root the capture still has something to tell.
func TestInfoWithoutRoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := run(t, "info", "--input", "raw", "--raw-base", "100000", path)
	if code != exitOK || !strings.Contains(out, "0x100000-0x200000 1M") || !strings.Contains(out, "--cr3") {
		t.Errorf("exit %d, %s\n%s", code, stderr, out)
	}
	if code, _, stderr := run(t, "--input", "raw", path); code != exitUnreadable || !strings.Contains(stderr, "--cr3") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// Raw memory with the root given is read like any other capture.
func TestRaw(t *testing.T) {
	elf := capturetest.Small(t, false)
	s := capturetest.Open(t, elf, "cr3")
	r := s.Mem.Ranges()
	var flat bytes.Buffer
	for at := r[0].Start; at < r[len(r)-1].End; at += x86.PageSize {
		var f physmem.Frame
		if err := s.Mem.ReadFrame(at.PFN(), &f); err != nil {
			t.Fatal(err)
		}
		flat.Write(f[:])
	}
	raw := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(raw, flat.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	_, want, _ := run(t, "entries", elf)
	code, got, stderr := run(t, "entries", "--input", "raw", "--raw-base", fmt.Sprintf("%x", uint64(r[0].Start)),
		"--cr3", "1000000", "--levels", "4", "--kernel", "6.12", raw)
	if code != exitOK || got != want {
		t.Errorf("exit %d, %s\n%s", code, stderr, got)
	}
}

func TestCompletion(t *testing.T) {
	tests := map[string]string{
		"--kernel":           "auto 6.1 6.12 7.2",
		"entries --format":   "text json jsonl csv",
		"translate --format": "text json jsonl csv",
		"info --format":      "text json jsonl csv",
		"dump --style":       "ranges kernel",
		"entries --kind":     "present protnone swap migration device-private device-exclusive hwpoison marker swapin-error unknown",
		"dump --color":       "auto always never",
		"info --input":       "auto elf kdump lime raw",
		"info --root":        "cr3 swapper pti-kernel pti-user",
	}
	// A capture is a file, also without a command; addresses are nothing that a shell knows.
	for args, files := range map[string]bool{"": true, "dump": true, "translate": true, "translate x": false} {
		_, out, _ := run(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if strings.HasSuffix(out, ":0\n") != files {
			t.Errorf("%s: file names %v, want %v: %s", args, !files, files, out)
		}
	}
	// A flag that may stand alone has its value after "=".
	_, out, _ := run(t, "__complete", "info", "--device-private=")
	if !strings.HasPrefix(out, "auto\non\noff\n:") {
		t.Errorf("info --device-private=: %q", out)
	}
	for args, want := range tests {
		_, out, _ := run(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		lines := strings.Split(out, "\n")
		if got := strings.Join(lines[:max(0, len(lines)-2)], " "); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

// Each command's help has an example, the exit codes, and no line that a terminal has to break badly.
func TestHelp(t *testing.T) {
	for _, command := range []string{"", "dump", "entries", "translate", "info"} {
		code, out, _ := run(t, append(strings.Fields(command), "--help")...)
		if code != exitOK {
			t.Errorf("%s: exit %d", command, code)
		}
		for _, want := range []string{"Examples:\n  ptdump ", "Exit codes:\n  0 ", "Usage:\n  ptdump ", "--cr3 ADDR"} {
			if !strings.Contains(out, want) {
				t.Errorf("help of %q lacks %q", command, want)
			}
		}
		for line := range strings.Lines(out) {
			if len(line) > 125 {
				t.Errorf("help of %q: long line: %s", command, line)
			}
		}
	}
}

// With the mask given, an encrypting machine's tables read like any other's, but for the flag ENC.
func TestEncMask(t *testing.T) {
	const mask = 1 << 47
	_, want, _ := run(t, "entries", "--format", "jsonl", capturetest.Small(t, false))
	code, got, stderr := run(t, "entries", "--format", "jsonl", "--enc-mask", fmt.Sprintf("%x", mask), capturetest.Encrypted(t, false, mask))
	if code != exitOK {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	plain, encrypted := jsonLines(t, want), jsonLines(t, got)
	if len(plain) != len(encrypted) {
		t.Fatalf("%d entries, want %d\n%s", len(encrypted), len(plain), stderr)
	}
	for i, p := range plain {
		e := encrypted[i]
		var bits []any
		enc := false
		for _, b := range e["bits"].([]any) {
			if b == "ENC" {
				enc = true
			} else {
				bits = append(bits, b)
			}
		}
		if fmt.Sprint(e["va"], e["pfn"], e["rights"], e["kind"], e["swap"]) != fmt.Sprint(p["va"], p["pfn"], p["rights"], p["kind"], p["swap"]) ||
			fmt.Sprint(bits) != fmt.Sprint(p["bits"]) || enc != (p["swap"] == nil) {
			t.Errorf("%v, without encryption %v", e, p)
		}
	}
}
