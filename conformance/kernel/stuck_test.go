//go:build conformance && linux && amd64

package kernel

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/conformance/vm"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// TestCallThatDoesNotReturn: such a call is an error that says so, and the next program gets another machine.
func TestCallThatDoesNotReturn(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-o", agent, "ptemu/conformance/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	kernels := litmus.Kernels()
	ctx := context.Background()
	k, err := Open(ctx, Config{Kernel: kernels[len(kernels)-1], Agent: agent})
	if errors.Is(err, vm.ErrNotPrepared) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { k.Close() }()
	fresh := func() *Target {
		target, err := k.Fresh(ctx, &litmus.Program{})
		if err != nil {
			t.Fatal(err)
		}
		return target.(*Target)
	}
	first := fresh()
	machine := k.m
	if _, err := first.processes[litmus.DefaultProcess].call(unix.SYS_PAUSE); err == nil || !strings.Contains(err.Error(), "does not return") {
		t.Errorf("pause returns: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if pid, err := fresh().processes[litmus.DefaultProcess].call(unix.SYS_GETPID); err != nil || pid == 0 || k.m == machine {
		t.Errorf("the machine after that: process %d, %v; another one: %v", pid, err, k.m != machine)
	}
}
