package ptdump

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ptemu/internal/ptdump/capturetest"
)

func TestOutputFile(t *testing.T) {
	path := capturetest.Small(t, false)
	_, want, _ := run(t, "entries", path)
	dir := t.TempDir()
	file := filepath.Join(dir, "out")
	listing := func() string {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
		return fmt.Sprint(names, hidden)
	}
	if code, stdout, stderr := run(t, "entries", "-o", file, path); code != exitOK || stdout != "" {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("file: %v\n%s", err, got)
	}
	if got, want := listing(), fmt.Sprint([]string{file}, []string{}); got != want {
		t.Errorf("files %s, want %s", got, want)
	}

	// What stands in the way of an output that fails stays as it was, whenever it fails.
	for n := 1; ; n++ {
		code := Main(&lateContext{context.Background(), n}, []string{"dump", "-o", file, "--format", "csv", path}, io.Discard, io.Discard)
		if code == exitOK {
			if n < 10 {
				t.Errorf("asked only %d times whether it was interrupted", n)
			}
			run(t, "entries", "-o", file, path)
			break
		}
		if code != exitInterrupted {
			t.Errorf("interrupted at the question %d: exit %d", n, code)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Fatalf("interrupted at the question %d: %v\n%s", n, err, got)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("after a failure: %v\n%s", err, got)
	}
	if got, want := listing(), fmt.Sprint([]string{file}, []string{}); got != want {
		t.Errorf("files after a failure %s, want %s", got, want)
	}

	// A link is followed; findings do not make an output less whole; the mode stays.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, "dump", "-o", link, capturetest.Small(t, true)); code != exitFinding {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if s, err := os.Lstat(link); err != nil || s.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", s, err)
	}
	if s, err := os.Stat(file); err != nil || s.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v", s.Mode(), err)
	}
	if b, _ := os.ReadFile(file); !bytes.Contains(b, []byte("table not in capture")) {
		t.Errorf("file after a finding:\n%s", b)
	}

	if code, _, stderr := run(t, "dump", "-o", path, path); code != exitUsage || !strings.Contains(stderr, "capture itself") {
		t.Errorf("over the capture: exit %d, %s", code, stderr)
	}
	if code, stdout, _ := run(t, "entries", "-o", "-", path); code != exitOK || stdout != want {
		t.Errorf("-o -: exit %d\n%s", code, stdout)
	}
}

// A reader that goes away ends the command quietly; a full disk does not.
func TestStdoutFails(t *testing.T) {
	path := capturetest.Small(t, true)
	for _, args := range [][]string{{"entries"}, {"dump"}, {"dump", "--style", "kernel"}, {"info"}, {"translate"}} {
		args = append(args, path)
		if args[0] == "translate" {
			args = append(args, "0")
		}
		fail := func(err error) writerFunc { return func([]byte) (int, error) { return 0, err } }
		var stderr bytes.Buffer
		if code := Main(context.Background(), args, fail(syscall.EPIPE), &stderr); code != exitOK || stderr.Len() != 0 {
			t.Errorf("%q into a closed pipe: exit %d, %s", args, code, stderr.String())
		}
		stderr.Reset()
		code := Main(context.Background(), args, fail(syscall.ENOSPC), &stderr)
		if code != exitOutput || !strings.Contains(stderr.String(), "cannot write the output") {
			t.Errorf("%q onto a full disk: exit %d, %s", args, code, stderr.String())
		}
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{{"entries"}, {"dump"}, {"dump", "--style", "kernel"}, {"translate"}} {
		args = append(args, capturetest.Small(t, false))
		if args[0] == "translate" {
			args = append(args, "0")
		}
		var stderr bytes.Buffer
		if code := Main(ctx, args, io.Discard, &stderr); code != exitInterrupted {
			t.Errorf("%q: exit %d, %s", args, code, stderr.String())
		}
	}
}

// lateContext is cancelled as soon as it has been asked n times.
type lateContext struct {
	context.Context
	n int
}

func (c *lateContext) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
