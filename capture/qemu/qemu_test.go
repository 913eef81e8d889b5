//go:build unix

package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/qmp"
	"ptemu/physmem"
)

const ramMiB = 32

// start runs a machine without a kernel: its firmware fills some memory. It returns the socket.
func start(t *testing.T, backing string) string {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is not installed")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "qmp")
	args := []string{
		"-machine", "pc", "-accel", "tcg", "-m", fmt.Sprint(ramMiB, "M"), "-smp", "2", "-nodefaults", "-display", "none",
		"-qmp", "unix:" + socket + ",server=on,wait=off", "-device", "vmcoreinfo",
	}
	if backing != "" {
		args = append(args, "-object", fmt.Sprintf(backing, filepath.Join(dir, "ram"), ramMiB), "-machine", "memory-backend=mem0")
	}
	cmd := exec.Command(qemu, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 100 {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("QEMU does not come up")
	return ""
}

func do(t *testing.T, socket, command string, arguments map[string]any) json.RawMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := qmp.Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	answer, err := m.Do(ctx, command, arguments)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func running(t *testing.T, socket string) bool {
	t.Helper()
	var status struct{ Running bool }
	if err := json.Unmarshal(do(t, socket, "query-status", nil), &status); err != nil {
		t.Fatal(err)
	}
	return status.Running
}

// TestGuest: the memory of a paused machine is what QEMU writes into a dump of it, whichever way it is read, and the
// machine goes on afterwards as it was.
func TestGuest(t *testing.T) {
	for name, backing := range map[string]string{
		"monitor": "",
		"file":    "memory-backend-file,id=mem0,mem-path=%s,size=%dM,share=on",
		// What a private mapping's file holds is not the guest's memory.
		"private file": "memory-backend-file,id=mem0,mem-path=%s,size=%dM,share=off",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := start(t, backing)
			g, err := Open(socket)
			if err != nil {
				t.Fatal(err)
			}
			if files, _ := g.shared(); (files > 0) != (name == "file") {
				t.Errorf("%d parts are read from files", files)
			}
			if len(g.CPUs) != 2 || g.CPUs[0].CR0&x86.CR0PE == 0 && g.CPUs[0].CR0 == 0 {
				t.Errorf("processors: %+v", g.CPUs)
			}
			got := readAll(t, g)
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if !running(t, socket) {
				t.Fatal("the machine does not go on")
			}

			do(t, socket, "stop", nil)
			path := filepath.Join(t.TempDir(), "dump")
			do(t, socket, "dump-guest-memory", map[string]any{"paging": false, "protocol": "file:" + path})
			want := dumped(t, path)
			if g, err = Open(socket); err != nil {
				t.Fatal(err)
			}
			again := readAll(t, g)
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if running(t, socket) {
				t.Error("a paused machine runs after Close")
			}
			used := 0
			for pfn, f := range want {
				if again[pfn] != f {
					t.Fatalf("frame %#x differs from the dump", uint64(pfn))
				}
				if _, ok := got[pfn]; !ok {
					t.Fatalf("frame %#x was not there the first time", uint64(pfn))
				}
				if f != (physmem.Frame{}) {
					used++
				}
			}
			if len(want) < ramMiB<<20/x86.PageSize*9/10 || used < 20 {
				t.Errorf("%d frames compared, %d of them used", len(want), used)
			}
		})
	}
}

func readAll(t *testing.T, m physmem.Reader) map[x86.PFN]physmem.Frame {
	t.Helper()
	frames := map[x86.PFN]physmem.Frame{}
	var f physmem.Frame
	read := func(pfn x86.PFN) {
		if err := m.ReadFrame(pfn, &f); err != nil {
			t.Fatal(err)
		}
		if old, ok := frames[pfn]; ok && old != f {
			t.Fatalf("frame %#x reads otherwise the second time", uint64(pfn))
		}
		frames[pfn] = f
	}
	for _, r := range m.Ranges() {
		first, end := r.Frames()
		for pfn := first; pfn < end; pfn++ {
			read(pfn)
			if pfn%64 == 0 { // out of order too
				read(first + (pfn-first)/2)
			}
		}
	}
	return frames
}

func dumped(t *testing.T, path string) map[x86.PFN]physmem.Frame {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	core, err := elfcore.Open(file, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, core)
}

// TestNoGuest: what is no QEMU gives an error, at once.
func TestNoGuest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + ".absent", ""} {
		if g, err := Open(path); err == nil {
			g.Close()
			t.Errorf("%q opens", path)
		}
	}
}
