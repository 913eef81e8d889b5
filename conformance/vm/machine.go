//go:build linux && amd64

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/internal/qmp"
)

// Config says what to boot.
type Config struct {
	Kernels string // the folder that capture.sh prepare fills: VERSION/vmlinuz, VERSION/modules
	Version string // "6.12"
	Agent   string // the agent's binary
	Levels  int    // of page tables: 5, or four
	PTI     bool   // page-table isolation
}

// Machine is a running guest. Close it.
type Machine struct {
	Release string

	scratch string
	qemu    *exec.Cmd
	exited  chan error
	stderr  bytes.Buffer
	monitor *qmp.Monitor
	bell    net.Conn
	ram     memory
	block   []x86.PFN // frames of the agent's block
}

// Boot starts the machine and waits for its agent. The context's end ends QEMU.
func Boot(ctx context.Context, c Config) (*Machine, error) {
	m := &Machine{exited: make(chan error, 1)}
	if err := m.boot(ctx, c); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Machine) boot(ctx context.Context, c Config) (err error) {
	dir := filepath.Join(c.Kernels, c.Version)
	release, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return fmt.Errorf("kernel %s: %w (conformance/capture.sh prepare %s)", c.Version, ErrNotPrepared, c.Version)
	}
	m.Release = strings.TrimSpace(string(release))
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return fmt.Errorf("qemu-system-x86_64: %w (package qemu-system-x86)", ErrNotPrepared)
	}
	if m.scratch, err = os.MkdirTemp("", "ptemu-vm"); err != nil {
		return err
	}
	if err := writeInitrd(m.file("initrd"), c.Agent, filepath.Join(dir, "modules")); err != nil {
		return err
	}
	m.qemu = exec.CommandContext(ctx, qemu, m.arguments(c, dir)...)
	m.qemu.Stderr = &m.stderr
	if err := m.startQEMU(); err != nil {
		m.qemu = nil
		return err
	}
	return m.meet(ctx)
}

// startQEMU starts it so that it ends when we do, however that is: with the thread that has started it.
func (m *Machine) startQEMU() error {
	qemu, started := m.qemu, make(chan error)
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := qemu.Start()
		if started <- err; err == nil {
			m.exited <- qemu.Wait()
		}
	}()
	return <-started
}

func (m *Machine) file(name string) string { return filepath.Join(m.scratch, name) }

// nodeMiB is the memory of each of the two nodes.
const nodeMiB = 256

// Live is a second socket of QEMU's machine protocol, for whoever wants to look at the guest while it runs.
func (m *Machine) Live() string { return m.file("live") }

// MemoryBytes is the size of the guest's memory, which begins at address 0.
const MemoryBytes = 2 * nodeMiB << 20

func (m *Machine) arguments(c Config, dir string) []string {
	const five = 5
	onOff := map[bool]string{false: "off", true: "on"}
	args := []string{
		"-machine", "pc", "-accel", "tcg", "-cpu", "max,la57=" + onOff[c.Levels == five], "-smp", "1", "-m", strconv.Itoa(2*nodeMiB) + "M",
		"-nodefaults", "-vga", "none", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", m.file("initrd"),
		"-append", "console=ttyS0 quiet panic=-1 nokaslr norandmaps numa_balancing=disable damon_stat.enabled=0 " +
			"proc_mem.force_override=always no_timer_check GODEBUG=asyncpreemptoff=1 pti=" + onOff[c.PTI],
		"-serial", "file:" + m.file("console"),
		"-chardev", "socket,id=bell,path=" + m.file("bell") + ",server=on,wait=off", "-serial", "chardev:bell",
		"-qmp", "unix:" + m.file("qmp") + ",server=on,wait=off", "-qmp", "unix:" + m.Live() + ",server=on,wait=off",
	}
	for n := range 2 {
		args = append(args, "-object", fmt.Sprintf("memory-backend-file,id=ram%d,size=%dM,mem-path=%s,share=on", n, nodeMiB, m.nodeFile(n)))
	}
	return append(args, "-numa", "node,nodeid=0,memdev=ram0,cpus=0", "-numa", "node,nodeid=1,memdev=ram1")
}

func (m *Machine) nodeFile(n int) string { return m.file("ram" + strconv.Itoa(n)) }

// meet waits for QEMU's sockets, and for the agent.
func (m *Machine) meet(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 120*time.Second)
	defer cancel()
	if m.monitor, err = qmp.Dial(ctx, m.file("qmp")); err != nil {
		return m.failed(err)
	}
	if m.bell, err = (&net.Dialer{}).DialContext(ctx, "unix", m.file("bell")); err != nil {
		return m.failed(err)
	}
	if err := m.ram.open(m.nodeFile(0), m.nodeFile(1)); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if b, err := m.hear(deadline); err != nil || b != wire.Booted {
		return m.failed(fmt.Errorf("the agent does not come up: %q %w", b, err))
	}
	return m.findBlock()
}

// failed adds what QEMU and the console say last.
func (m *Machine) failed(err error) error {
	return fmt.Errorf("%w\n%s%s", err, m.stderr.Bytes(), tail(m.Console()))
}

// Console returns what the guest has printed.
func (m *Machine) Console() []byte {
	log, _ := os.ReadFile(m.file("console"))
	return log
}

func tail(log []byte) []byte {
	const keep = 2000
	return log[max(0, len(log)-keep):]
}

var blockPattern = regexp.MustCompile(`BLOCK((?: [0-9a-f]+)+)`)

// findBlock learns from the console where the agent's block lies.
func (m *Machine) findBlock() error {
	var match [][]byte
	for range 50 {
		if match = blockPattern.FindSubmatch(m.Console()); match != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if match == nil {
		return m.failed(errors.New("the agent does not say where its memory is"))
	}
	for word := range strings.FieldsSeq(string(match[1])) {
		pfn, err := strconv.ParseUint(word, 16, 64)
		if err != nil {
			return err
		}
		m.block = append(m.block, x86.PFN(pfn))
	}
	if len(m.block) != wire.Pages {
		return fmt.Errorf("the agent's block has %d pages, not %d", len(m.block), wire.Pages)
	}
	return nil
}

// Close ends QEMU.
func (m *Machine) Close() error {
	if m.qemu != nil {
		_ = m.qemu.Process.Kill()
		<-m.exited
		m.qemu = nil
	}
	if m.bell != nil {
		m.bell.Close()
	}
	if m.monitor != nil {
		m.monitor.Close()
	}
	err := m.ram.close()
	if m.scratch != "" {
		err = errors.Join(err, os.RemoveAll(m.scratch))
	}
	return err
}
