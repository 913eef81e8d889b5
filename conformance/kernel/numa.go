//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// Memory policies. Linux: include/uapi/linux/mempolicy.h
const (
	policyDefault, policyBind = 0, 2
	policyBalancing           = 1 << 13
	allNodes                  = 3
)

// opNuma lets the scheduler's scanner set NUMA hints on the pages of c, and on no others: they alone have a policy that
// asks for hints. The process runs until the scanner has gone round a few times, as it leaves areas alone at first that
// it has not seen used.
//
// Linux: kernel/sched/fair.c:task_numa_work(), mm/mempolicy.c:vma_policy_mof()
func opNuma(t *Target, c *litmus.Call, p *process) error {
	if err := t.company(c, p); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(p.slot.Data(), allNodes)
	bits := uint64(x86.PageShift)
	if _, err := p.call(unix.SYS_SET_MEMPOLICY, policyBind, p.at(0), bits); err != nil {
		return fmt.Errorf("set_mempolicy: %v", err)
	}
	if _, err := p.call(unix.SYS_MBIND, uint64(c.At.VA), c.At.Bytes(), policyBind|policyBalancing, p.at(0), bits, 0); err != nil {
		return err
	}
	err := errors.Join(t.k.write(numaSwitch, "1"), t.k.scanned(p), t.k.write(numaSwitch, "0"))
	_, area := p.call(unix.SYS_MBIND, uint64(c.At.VA), c.At.Bytes(), policyDefault, 0, 0, 0)
	_, task := p.call(unix.SYS_SET_MEMPOLICY, policyDefault, 0, 0)
	return errors.Join(err, area, task)
}

const numaSwitch = "/proc/sys/kernel/numa_balancing"

// company gives the process a second thread where the program has it run on several processors: the pages of one that
// has only one thread get no hints on its own node.
func (t *Target) company(c *litmus.Call, p *process) error {
	others := false
	for cpu, who := range t.running {
		others = others || who == p && cpu != max(c.CPU, 0)
	}
	switch {
	case others && !p.company:
		p.company = true
		if err := p.ring(wire.OpThread); err != nil {
			return err
		}
		return errnoError(p.slot.Word(wire.Result))
	case !others && p.company:
		return NotHereError("a thread does not end before its process")
	}
	return nil
}

var scanPattern = regexp.MustCompile(`mm->numa_scan_seq\s*:\s*(\d+)`)

// scans returns how often the scanner has gone round the process.
func (k *Kernel) scans(p *process) (int, error) {
	text, err := k.read(fmt.Sprintf("/proc/%d/sched", p.pid))
	if err != nil {
		return 0, err
	}
	match := scanPattern.FindSubmatch(text)
	if match == nil {
		return 0, errors.New("the scheduler does not say how often it has scanned")
	}
	return strconv.Atoi(string(match[1]))
}

// scanned keeps the process busy until the scanner has gone round a few times.
func (k *Kernel) scanned(p *process) error {
	const rounds, blockPages = 4, 256
	before, err := k.scans(p)
	if err != nil {
		return err
	}
	return k.until("the scanner's round", func() (bool, error) {
		if err := p.ring(wire.OpAccess, wire.Load, wire.Base, wire.Anything, x86.PageSize, blockPages); err != nil {
			return false, err
		}
		now, err := k.scans(p)
		return now >= before+rounds, err
	})
}
