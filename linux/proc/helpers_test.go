package proc

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/truth"
	"ptemu/linux"
)

// sharedCapture returns the path of a file of the captures outside the repository, or skips the test.
func sharedCapture(t testing.TB, dir, name string) string {
	t.Helper()
	return truth.Whole(t, "../..", dir, name)
}

// machine is an open capture.
type machine struct {
	*capture.Capture
	sys  *linux.System
	cpus []linux.CPU
}

func openMachine(t testing.TB, path string) *machine {
	t.Helper()
	c, err := capture.Open(path, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m := &machine{Capture: c}
	for _, n := range c.CPUs {
		m.cpus = append(m.cpus, linux.CPU{
			CR0: n.CR0, CR3: n.CR3, CR4: n.CR4, EFER: n.EFER, HasEFER: n.HasEFER,
			GSBase: x86.Virt(n.GSBase), KernelGSBase: x86.Virt(n.KernelGSBase),
		})
	}
	if m.sys, err = linux.Detect(c.Mem, c.VMCoreInfo, m.cpus, linux.Options{}); err != nil {
		t.Fatal(err)
	}
	return m
}

// find finds the processes, without warnings.
func (m *machine) find(t testing.TB, opt Options) *Processes {
	t.Helper()
	p, err := Find(context.Background(), m.Mem, m.sys, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range p.Warnings {
		t.Errorf("warning: %s", w)
	}
	return p
}

// eachLine calls f for every line of a compressed file.
func eachLine(t testing.TB, path string, f func(string)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader
	if r, err = gzip.NewReader(file); err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(r)
	for s.Scan() {
		f(s.Text())
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
}

// headLine prints an area as /proc/pid/maps does, with one blank between words.
func headLine(p *Processes, v *VMA) string {
	rights := []byte("---p")
	for i, code := range []string{"rd", "wr", "ex", "ms"} {
		if v.Flags&p.Flag(code) != 0 {
			rights[i] = "rwxs"[i]
		}
	}
	var dev, inode uint64
	name := v.Name
	if v.File != nil {
		dev, inode = v.File.Dev, v.File.Inode
		if name == "" {
			name = v.File.Path
		}
	}
	line := fmt.Sprintf("%08x-%08x %s %08x %02x:%02x %d %s", uint64(v.Start), uint64(v.End), rights, v.Offset, dev>>20, dev&(1<<20-1), inode, name)
	return strings.TrimSpace(line)
}

// isHead says whether a line of smaps begins an area.
func isHead(line string) bool {
	first, _, _ := strings.Cut(line, " ")
	from, to, ok := strings.Cut(first, "-")
	if !ok {
		return false
	}
	_, errFrom := strconv.ParseUint(from, 16, 64)
	_, errTo := strconv.ParseUint(to, 16, 64)
	return errFrom == nil && errTo == nil
}

func withPID(t testing.TB, p *Processes, pid int) *Process {
	t.Helper()
	for _, q := range p.List {
		if q.PID == pid {
			return q
		}
	}
	t.Fatalf("no process %d", pid)
	return nil
}
