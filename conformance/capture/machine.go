package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"ptemu/internal/qmp"
)

// machine is a running QEMU.
type machine struct {
	v       variant
	scratch string
	qemu    *exec.Cmd
	exited  chan error
	stderr  bytes.Buffer
	*qmp.Monitor
}

// startMachine boots the kernel in the given folder. The context's end ends QEMU.
func startMachine(ctx context.Context, v variant, kernel string) (*machine, error) {
	scratch, err := os.MkdirTemp("", "ptemu-capture")
	if err != nil {
		return nil, err
	}
	m := &machine{v: v, scratch: scratch, exited: make(chan error, 1)}
	if err := m.start(ctx, kernel); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) start(ctx context.Context, kernel string) error {
	for _, name := range []string{"vmlinuz", "initrd.gz"} {
		if _, err := os.Stat(filepath.Join(kernel, name)); err != nil {
			return fmt.Errorf("kernel %s is not prepared (capture.sh prepare): %w", m.v.kernel, err)
		}
	}
	args := append(m.v.qemuArgs(),
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", filepath.Join(kernel, "initrd.gz"), "-append", m.v.kernelArgs(),
		"-serial", "file:"+m.serial(), "-qmp", "unix:"+m.socket()+",server=on,wait=off")
	if m.v.raw {
		args = append(args, "-machine", "memory-backend=ram",
			"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,mem-path=%s,share=on", m.v.memory(), m.memory()))
	}
	m.qemu = exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	m.qemu.Stderr = &m.stderr
	if err := m.qemu.Start(); err != nil {
		m.qemu = nil
		return err
	}
	go func() { m.exited <- m.qemu.Wait() }()
	dialCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var err error
	if m.Monitor, err = qmp.Dial(dialCtx, m.socket()); err != nil {
		return fmt.Errorf("%w: %s", err, m.stderr.Bytes())
	}
	return nil
}

func (m *machine) serial() string { return filepath.Join(m.scratch, "serial") }
func (m *machine) socket() string { return filepath.Join(m.scratch, "qmp") }
func (m *machine) memory() string { return filepath.Join(m.scratch, "memory") }

func (m *machine) close() {
	if m.qemu != nil {
		m.qemu.Process.Kill()
		<-m.exited
	}
	os.RemoveAll(m.scratch)
}

// waitReady watches the serial console until the guest has printed everything.
func (m *machine) waitReady(ctx context.Context) error {
	for {
		log, ready, err := m.readLog()
		if ready || err != nil {
			return err
		}
		select {
		case exited := <-m.exited:
			m.exited <- exited
			if log, _, err = m.readLog(); err != nil {
				return err
			}
			return fmt.Errorf("QEMU ended (%v) before the guest was ready: %s\n%s", exited, m.stderr.Bytes(), tail(log))
		case <-ctx.Done():
			return fmt.Errorf("guest not ready: %w\n%s", ctx.Err(), tail(log))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// readLog reads the console. It is an error that the guest says that it failed.
func (m *machine) readLog() (log []byte, ready bool, err error) {
	log, err = os.ReadFile(m.serial())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return log, false, err
	}
	if at := bytes.Index(log, []byte("\nFAILED ")); at >= 0 {
		line, _, _ := bytes.Cut(log[at+1:], []byte("\r\n"))
		return log, false, fmt.Errorf("guest: %s\n%s", line, tail(log[:at]))
	}
	return log, bytes.Contains(log, []byte("\nREADY\r\n")), nil
}

// tail is the end of the console, for error messages.
func tail(log []byte) []byte {
	const keep = 2000
	return log[max(0, len(log)-keep):]
}

// stopInUserMode stops the machine at an instant when processor 0 runs user code and
// every other processor has the same address space loaded. It returns the registers.
func (m *machine) stopInUserMode(ctx context.Context) (registers string, err error) {
	const tries = 100
	for range tries {
		if _, err := m.Do(ctx, "stop", nil); err != nil {
			return "", err
		}
		registers, err = m.Human(ctx, "info registers -a", 0)
		if err != nil {
			return "", err
		}
		if inUserMode(registers, m.v.cpus) {
			return registers, nil
		}
		if _, err := m.Do(ctx, "cont", nil); err != nil {
			return "", err
		}
		time.Sleep(30 * time.Millisecond)
	}
	return "", fmt.Errorf("no instant in user mode in %d tries; the last registers:\n%s", tries, registers)
}

var (
	levelPattern = regexp.MustCompile(`CPL=(\d)`)
	rootPattern  = regexp.MustCompile(`CR3=([0-9a-f]+)`)
	modePattern  = regexp.MustCompile(`CR4=([0-9a-f]+)`)
)

// fiveLevels reports CR4.LA57 of the first processor.
func fiveLevels(registers string) bool {
	const la57 = 1 << 12
	match := modePattern.FindStringSubmatch(registers)
	if match == nil {
		return false
	}
	mode, err := strconv.ParseUint(match[1], 16, 64)
	return err == nil && mode&la57 != 0
}

// inUserMode looks at the privilege level of the first processor and compares roots
// without the low bits, which tell the two roots of an isolated process apart.
func inUserMode(registers string, cpus int) bool {
	levels := levelPattern.FindAllStringSubmatch(registers, -1)
	roots := rootPattern.FindAllStringSubmatch(registers, -1)
	if len(levels) != cpus || len(roots) != cpus || levels[0][1] != "3" {
		return false
	}
	const pairMask = 0x1fff
	first, err := strconv.ParseUint(roots[0][1], 16, 64)
	if err != nil {
		return false
	}
	for _, root := range roots[1:] {
		other, err := strconv.ParseUint(root[1], 16, 64)
		if err != nil || other&^pairMask != first&^pairMask {
			return false
		}
	}
	return true
}
