//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// roleArgument before a role's name makes this program play it instead of being init.
const roleArgument = "role"

// Descriptors that a role begins with, besides the console as 1 and 2.
const (
	readyFD  = 3 // a byte written here says that everything is built
	memoryFD = 4 // a memfd that init and the "shm" roles share
)

// role is a process of its own. Its children, if it makes any, are children of a process with several threads.
type role struct {
	name  string
	comm  string // of the first thread
	build func(b *builder) error
	// isolate are namespaces of its own.
	isolate uintptr
	// stop sends it SIGSTOP when it is ready.
	stop bool
}

var roles = []role{
	{name: "zoo", comm: "(zoo) of states", build: (*builder).buildAll},
	{name: "family", comm: "family", build: buildFamily},
	{name: "shm0", comm: "shm", build: func(b *builder) error { return buildSharer(b, 0) }},
	{name: "shm1", comm: "shm", build: func(b *builder) error { return buildSharer(b, 1) }},
	{name: "shm2", comm: "shm", build: func(b *builder) error { return buildSharer(b, 2) }},
	{name: "threads", comm: "threads", build: buildThreads},
	{name: "vmshare", comm: "vm share", build: buildVMShare},
	{name: "kinds", comm: "kinds [of] vma", build: buildKinds},
	{name: "files", comm: "files", build: buildFiles},
	{name: "jit", comm: "jit", build: buildJIT},
	{name: "ksm0", comm: "ksm", build: buildMergeable},
	{name: "ksm1", comm: "ksm", build: buildMergeable},
	{name: "pmd0", comm: "pmd sharing", build: buildPMDShare},
	{name: "pmd1", comm: "pmd sharing", build: buildPMDShare},
	{name: "names", comm: ") R 1 (", build: buildNames},
	{name: "headless", comm: "headless", build: buildHeadless},
	{name: "stopped", comm: "stopped", build: buildOrdinary, stop: true},
	{name: "container", comm: "container", build: buildContainer, isolate: unix.CLONE_NEWPID | unix.CLONE_NEWNS},
}

// plainRoles hold nothing that anybody would call odd.
var plainRoles = []role{
	{name: "ordinary0", comm: "ordinary", build: buildOrdinary},
	{name: "ordinary1", comm: "ordinary", build: buildOrdinary},
	{name: "threads", comm: "threads", build: buildThreads},
	{name: "family", comm: "family", build: buildFamily},
}

func findRole(name string) (role, error) {
	for _, list := range [][]role{roles, plainRoles} {
		for _, r := range list {
			if r.name == name {
				return r, nil
			}
		}
	}
	return role{}, fmt.Errorf("no role %q", name)
}

// playRole builds what the role is, says so, and sleeps.
func playRole(name string) {
	// Threads that sleep behind the runtime's back keep what it needs to run others.
	runtime.GOMAXPROCS(16)
	r, err := findRole(name)
	if err == nil {
		err = setName(r.comm)
	}
	b := &builder{notes: roleNotes{name}}
	if err == nil {
		err = r.build(b)
	}
	if err != nil {
		fmt.Fprintln(b.notes, "NOTE failed:", err)
	}
	sayReady()
	sleepRaw()
}

// roleNotes puts the role's name into its notes.
type roleNotes struct{ role string }

func (n roleNotes) Write(text []byte) (int, error) {
	line := strings.Replace(string(text), "NOTE ", "NOTE "+n.role+": ", 1)
	_, err := io.WriteString(os.Stdout, line)
	return len(text), err
}

func sayReady() { unix.Write(readyFD, []byte{1}) }

// sleepRaw sleeps for ever without telling the runtime, which would start another thread.
func sleepRaw() {
	for {
		unix.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
	}
}

// setName names the calling thread.
func setName(comm string) error {
	var raw [16]byte
	copy(raw[:15], comm)
	_, err := withPointer(&raw, 1, unix.SYS_PRCTL, unix.PR_SET_NAME)
	return err
}

// start starts the role in the given control group and waits until it is built.
func (r role) start(group int, console, memory *os.File) (pid int, err error) {
	ready, say, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	process, err := os.StartProcess("/init", []string{"/init", roleArgument, r.name}, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{nil, console, console, say, memory},
		Sys:   &syscall.SysProcAttr{Cloneflags: r.isolate, UseCgroupFD: group >= 0, CgroupFD: group},
	})
	say.Close()
	if err != nil {
		return 0, fmt.Errorf("role %s: %w", r.name, err)
	}
	if err := ready.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return 0, err
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return 0, fmt.Errorf("role %s is not ready: %w", r.name, err)
	}
	if !r.stop {
		return process.Pid, nil
	}
	return process.Pid, process.Signal(unix.SIGSTOP)
}

// controlGroup makes a control group for the processes to be frozen in. Without one it returns -1.
func controlGroup() (int, error) {
	const mount, group = "/cg", "/cg/roles"
	if err := errors.Join(os.MkdirAll(mount, 0o755), unix.Mount("cgroup2", mount, "cgroup2", 0, ""), os.Mkdir(group, 0o755)); err != nil {
		return -1, err
	}
	return unix.Open(group, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// freeze stops every task of the control group in the kernel, whatever it does, and without changing its state in /proc.
func freeze() error {
	const group = "/cg/roles/"
	if err := os.WriteFile(group+"cgroup.freeze", []byte("1"), 0); err != nil {
		return err
	}
	for range 500 {
		events, err := os.ReadFile(group + "cgroup.events")
		if err != nil {
			return err
		}
		if strings.Contains(string(events), "frozen 1") {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("not all are frozen: %w", errShort)
}
