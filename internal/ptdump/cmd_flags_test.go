package ptdump

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
)

// The forms of --device-private mean what they say, and none of them takes the capture for its value.
func TestDevicePrivateForms(t *testing.T) {
	good := capturetest.Small(t, false)
	state := func(args ...string) string {
		t.Helper()
		code, out, stderr := run(t, append([]string{"info", "--format", "json"}, args...)...)
		var i info
		if err := json.Unmarshal([]byte(out), &i); code != exitOK || err != nil {
			t.Errorf("%q: exit %d, %v, %s", args, code, err, stderr)
			return ""
		}
		asked := slices.ContainsFunc(i.Found, func(f infoFinding) bool {
			return f.What == "CONFIG_DEVICE_PRIVATE" && f.Why == "as asked"
		})
		return fmt.Sprint(onOff(i.DevicePrivate), " ", asked)
	}
	const flag = "--device-private"
	auto := state(good)
	if strings.HasSuffix(auto, "true") {
		t.Errorf("without the flag: %s", auto)
	}
	if got := state(flag, good); got != "on true" {
		t.Errorf("bare, before the capture: %s", got)
	}
	if got := state(good, flag); got != "on true" {
		t.Errorf("bare, after the capture: %s", got)
	}
	for word, want := range map[string]string{
		"on": "on true", "y": "on true", "true": "on true", "Yes": "on true",
		"off": "off true", "n": "off true", "false": "off true", "auto": auto,
	} {
		for _, args := range [][]string{{flag + "=" + word, good}, {flag, word, good}, {good, flag, word}} {
			if got := state(args...); got != want {
				t.Errorf("%q: %s, want %s", args, got, want)
			}
		}
	}
	if code, _, stderr := run(t, flag, good); code > exitFinding {
		t.Errorf("bare, without a command: exit %d, %s", code, stderr)
	}
	// Behind "--" nothing is a flag, and a file may be called what it likes.
	if got := joinDevicePrivate([]string{flag, "--", flag, "on"}); !slices.Equal(got, []string{flag, "--", flag, "on"}) {
		t.Errorf("behind --: %q", got)
	}
}

// --l1tf reaches the paging that entries are read with.
func TestL1TF(t *testing.T) {
	good := capturetest.Small(t, false)
	read := func(args ...string) (i info) {
		_, out, stderr := run(t, append(append([]string{"info", "--format", "json"}, args...), good)...)
		if err := json.Unmarshal([]byte(out), &i); err != nil {
			t.Errorf("%q: %v, %s", args, err, stderr)
		}
		return i
	}
	names := func(fs []infoFinding) bool {
		return slices.ContainsFunc(fs, func(f infoFinding) bool { return f.What == "L1TF" })
	}
	i := read("--l1tf", "44")
	if !slices.Contains(i.Found, infoFinding{"L1TF", "affected, 44 cache bits", "as asked"}) || names(i.Assumed) {
		t.Errorf("--l1tf 44: found %v, assumed %v", i.Found, i.Assumed)
	}
	for _, args := range [][]string{nil, {"--l1tf", "0"}} {
		if i := read(args...); names(i.Found) || !names(i.Assumed) {
			t.Errorf("%q: found %v, assumed %v", args, i.Found, i.Assumed)
		}
	}
	// With so few cache bits migration entries have no room for A and D.
	_, plain, _ := run(t, "entries", "--kind", "migration", "--format", "jsonl", good)
	_, limited, _ := run(t, "entries", "--kind", "migration", "--format", "jsonl", "--l1tf", "36", good)
	if !strings.Contains(plain, `"young":true`) || limited == "" || strings.Contains(limited, `"young":true`) {
		t.Errorf("migration entries\n%swith --l1tf 36\n%s", plain, limited)
	}
}

// Every format of info and translate holds the same.
func TestFormatsOfOneAgree(t *testing.T) {
	path := capturetest.Small(t, true)
	records := func(args ...string) [][]string {
		t.Helper()
		_, out, stderr := run(t, args...)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) == 0 {
			t.Fatalf("%q: %v, %s", args, err, stderr)
		}
		return rows
	}

	_, indented, _ := run(t, "info", "--format", "json", path)
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(indented)); err != nil {
		t.Fatal(err)
	}
	if code, line, stderr := run(t, "info", "--format", "jsonl", path); code != exitOK || line != compact.String()+"\n" {
		t.Errorf("info --format jsonl: exit %d, %s\n%s", code, stderr, line)
	}
	var i info
	if err := json.Unmarshal(compact.Bytes(), &i); err != nil {
		t.Fatal(err)
	}
	rows := records("info", "--format", "csv", path)
	for _, want := range [][]string{
		{"section", "key", "value"}, {"capture", "path", path}, {"memory", i.Ranges[0].Start, i.Ranges[0].End},
		{"cpu 0", "cr3", i.CPUs[0].CR3}, {"cpu 0", "cr0_bits", strings.Join(i.CPUs[0].CR0Bits, "|")},
		{"root", "addr", i.Root.Addr}, {"region", i.Regions[1].Addr, i.Regions[1].Name},
		{"assumed", i.Assumed[0].What, i.Assumed[0].Value}, {"assumed", i.Assumed[0].What + " why", i.Assumed[0].Why},
	} {
		if !slices.ContainsFunc(rows, func(row []string) bool { return slices.Equal(row, want) }) {
			t.Errorf("info --format csv lacks %q", want)
		}
	}

	addresses := []string{"401abc", "604000", "7f0000009000", "7f00c0000000", "800000000000"}
	translate := func(format string) []string {
		return append([]string{"translate", "--format", format, path}, addresses...)
	}
	_, whole, _ := run(t, translate("json")...)
	var all struct{ Translations []map[string]any }
	if err := json.Unmarshal([]byte(whole), &all); err != nil {
		t.Fatal(err)
	}
	code, lines, stderr := run(t, translate("jsonl")...)
	objects := jsonLines(t, lines)
	if code != exitFinding || fmt.Sprint(objects) != fmt.Sprint(all.Translations) || len(objects) != len(addresses) {
		t.Errorf("translate --format jsonl: exit %d, %s\n%s", code, stderr, lines)
	}
	if !strings.Contains(stderr, "note: assumed: EFER.NXE") {
		t.Errorf("nothing says what was assumed: %s", stderr)
	}
	rows = records(translate("csv")...)
	if len(rows) != len(addresses)+1 {
		t.Fatalf("%d records", len(rows))
	}
	column := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	for n, o := range objects {
		for _, name := range []string{"va", "region", "outcome", "pa"} {
			if want, _ := o[name].(string); column(n+1, name) != want {
				t.Errorf("record %d: %s %q, want %q", n+1, name, column(n+1, name), want)
			}
		}
		if steps := o["steps"].([]any); len(steps) > 0 {
			last := steps[len(steps)-1].(map[string]any)
			if column(n+1, "raw") != last["raw"] || strings.Count(column(n+1, "path"), "|") != len(steps)-1 {
				t.Errorf("record %d: %q, last step %v", n+1, rows[n+1], last)
			}
		}
		for _, a := range o["access"].([]any) {
			a := a.(map[string]any)
			if got := column(n+1, a["mode"].(string)+"_"+a["access"].(string)); (got == "ok") != a["ok"].(bool) || got == "" {
				t.Errorf("record %d: %q, want %v", n+1, got, a)
			}
		}
	}
}

// What cobra writes is output too.
func TestHelpOntoFullDisk(t *testing.T) {
	for _, args := range [][]string{
		{"--help"}, {"info", "--help"}, {"help", "where"}, {"--version"}, {"completion", "bash"}, {"completion", "zsh"},
		{"completion", "fish"}, {"completion", "powershell"},
	} {
		fail := func(err error) writerFunc { return func([]byte) (int, error) { return 0, err } }
		var stderr bytes.Buffer
		code := Main(context.Background(), args, fail(syscall.ENOSPC), &stderr)
		if code != exitOutput || stderr.String() != "ptdump: cannot write the output: no space left on device\n" {
			t.Errorf("%q onto a full disk: exit %d, %s", args, code, stderr.String())
		}
		stderr.Reset()
		if code := Main(context.Background(), args, fail(syscall.EPIPE), &stderr); code != exitOK || stderr.Len() != 0 {
			t.Errorf("%q into a closed pipe: exit %d, %s", args, code, stderr.String())
		}
	}
}

// Captures that cannot be unpacked say what to do.
func TestUnpackHints(t *testing.T) {
	dir := t.TempDir()
	// A zstd frame: no content size, a window of 1<<(10+0xa0>>3) bytes, one raw block of four bytes.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 4<<3 | 1, 0, 0, 'a', 'b', 'c', 'd'}
	var mib bytes.Buffer
	z := gzip.NewWriter(&mib)
	if _, err := z.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	if z, err := gzip.NewWriterLevel(&bomb, gzip.BestCompression); err != nil {
		t.Fatal(err)
	} else if _, err = z.Write(bytes.Repeat(mib.Bytes(), 300)); errors.Join(err, z.Close()) != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		b    []byte
		args []string
		want string
	}{
		{"window.zst", window, nil, "unpack it first"},
		{"bomb.gz", bomb.Bytes(), []string{"--input", "raw", "--cr3", "0"}, "--max-unpack-ratio"},
	} {
		path := filepath.Join(dir, tt.name)
		if err := os.WriteFile(path, tt.b, 0o666); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := run(t, append(tt.args, path)...)
		if code != exitUnreadable || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit %d, want %q in %s", tt.name, code, tt.want, stderr)
		}
	}
	if _, out, _ := run(t, "--help"); !strings.Contains(out, "TMPDIR") {
		t.Error("the help does not say where captures are unpacked")
	}
}

// TestSharedFlags: commands share the variables of their flags, so no command may have another default than the rest.
func TestSharedFlags(t *testing.T) {
	o := &options{stdout: io.Discard, stderr: io.Discard}
	newRootCommand(o, io.Discard)
	if o.style != styleNames[0] || o.color != "auto" || o.kernel != "auto" || o.input != "auto" || o.root != session.RootNames[0] {
		t.Errorf("a command changes the others' defaults: %+v", o)
	}
}
