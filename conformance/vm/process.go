//go:build linux && amd64

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// Process is the agent as an ordinary process of this machine. All memory of the Machine is the agent's block: its frames
// count from 0, and there are no tables to be read. Close it.
type Process struct {
	*Machine
	cmd    *exec.Cmd
	exited chan error
	stderr bytes.Buffer
}

// Start runs the agent on this machine, on one processor. When the calling program ends, so does the agent.
func Start(agent string) (*Process, error) {
	p := &Process{Machine: &Machine{}, exited: make(chan error, 1)}
	if err := p.start(agent); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Process) start(agent string) error {
	block, err := newBlock()
	if err != nil {
		return err
	}
	defer block.Close()
	if err := p.ram.open("/proc/self/fd/" + strconv.Itoa(int(block.Fd()))); err != nil {
		return err
	}
	for i := range x86.PFN(wire.Pages) {
		p.block = append(p.block, i)
	}
	theirs, err := p.newBell()
	if err != nil {
		return err
	}
	defer theirs.Close()
	p.cmd = exec.Command(agent, wire.AsProcess)
	p.cmd.ExtraFiles = []*os.File{block, theirs} // wire.BlockFile, wire.BellFile
	p.cmd.Stderr = &p.stderr
	p.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := onOneCPU(p.cmd.Start); err != nil {
		p.cmd = nil
		return err
	}
	go func() { p.exited <- p.cmd.Wait() }()
	if b, err := p.hear(time.Now().Add(patience)); err != nil || b != wire.Booted {
		return fmt.Errorf("the agent does not come up: %q %w\n%s", b, err, p.stderr.Bytes())
	}
	return nil
}

// onOneCPU calls f on one of the processors that we may run on, which is then where all that f starts runs.
func onOneCPU(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for n := 0; one.Count() == 0; n++ {
		if all.IsSet(n) {
			one.Set(n)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &all))
}

// newBlock makes the memory of the block.
func newBlock() (*os.File, error) {
	fd, err := unix.MemfdCreate("ptemu-block", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "block")
	return f, f.Truncate(wire.Pages * wire.PageSize)
}

// newBell makes the socket of the bell, and returns the agent's end.
func (p *Process) newBell() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours := os.NewFile(uintptr(fds[0]), "bell")
	defer ours.Close()
	p.bell, err = net.FileConn(ours)
	return os.NewFile(uintptr(fds[1]), "bell"), err
}

// PID returns the agent's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close ends the agent and its processes.
func (p *Process) Close() error {
	err := p.Machine.Close()
	if p.cmd == nil {
		return err
	}
	const toEnd = 10 * time.Second
	select {
	case <-p.exited:
	case <-time.After(toEnd):
		err = errors.Join(err, errors.New("the agent does not end by itself"))
	}
	// Its group is ours; what of it is left is nobody else's.
	if kill := unix.Kill(-p.PID(), unix.SIGKILL); kill != nil && !errors.Is(kill, unix.ESRCH) {
		err = errors.Join(err, kill)
	}
	p.cmd = nil
	return err
}
