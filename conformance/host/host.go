//go:build linux && amd64

package host

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"ptemu/arch/x86"
	"ptemu/conformance/kernel"
	"ptemu/conformance/vm"
	"ptemu/litmus"
	"ptemu/mm"

	"golang.org/x/sys/unix"
)

// ErrNotHere: this machine cannot run such tests. The message says why.
var ErrNotHere = errors.New("not on this machine")

// Host is the running kernel. One program runs on it at a time. Close it.
type Host struct {
	Release string
	// Kernels are the emulator's releases that it is held against: its own, or those around it, newest first.
	Kernels []string

	has     features
	agent   string
	process *vm.Process
	kernel  *kernel.Kernel
}

// Open starts the agent, a binary of package agent. The error wraps [ErrNotHere] if this machine cannot run the tests.
func Open(agent string) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: only root sees frames and other processes' pagemap", ErrNotHere)
	}
	h := &Host{agent: agent}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	h.Release = unix.ByteSliceToString(name.Release[:])
	var err error
	if h.Kernels, err = nearest(h.Release); err != nil {
		return nil, fmt.Errorf("%w: release %s: %w", ErrNotHere, h.Release, err)
	}
	if h.has, err = probe(h.Release); err != nil {
		return nil, err
	}
	h.has.between = len(h.Kernels) > 1
	return h, h.start()
}

func (h *Host) start() error {
	features, err := x86.KernelNamed(h.Kernels[0])
	if err != nil {
		return err
	}
	abi, err := x86.NewABI(features, x86.DefaultPaging(4))
	if err != nil {
		return err
	}
	if h.process, err = vm.Start(h.agent); err != nil {
		return err
	}
	h.kernel = kernel.OnThis(h.process.Machine, abi)
	return nil
}

// restart replaces an agent that does not answer any more.
func (h *Host) restart() error {
	_ = h.process.Close() // what is wrong with it is known
	return h.start()
}

// Close ends the agent and its processes.
func (h *Host) Close() error { return h.process.Close() }

// String says what is compared on this kernel.
func (h *Host) String() string {
	var s []string
	for _, f := range []struct {
		has  bool
		name string
	}{
		{h.has.scan != 0, "PAGEMAP_SCAN"}, {h.has.softDirty, "soft-dirty"}, {h.has.guards, "guards"}, {h.has.uffd != 0, "userfaultfd"},
		{h.has.pkeys, "protection keys"},
	} {
		if f.has {
			s = append(s, f.name)
		} else {
			s = append(s, "no "+f.name)
		}
	}
	return fmt.Sprintf("Linux %s, held against %s (%s; huge pages: %s, of shared memory: %s)",
		h.Release, strings.Join(h.Kernels, " and "), strings.Join(s, ", "), h.has.huge, h.has.hugeShmem)
}

// unwanted are verbs and advices that would change the machine or need what other processes use too, and why.
var unwanted = map[string]string{
	"swap-out": "no swapping", "reclaim": "no swapping", "swapoff": "no swapping", "swapon": "no swapping", "swap-fail": "no swapping",
	"advise pageout": "no swapping", "migrate": "no migration", "ksm": "no merging", "advise mergeable": "no merging",
	"advise unmergeable": "no merging", "poison": "no poisoning of real memory", "advise hwpoison": "no poisoning of real memory",
}

// files are the verbs that we carry out ourselves.
var files = map[string]func(t *target, c *litmus.Call) error{
	"file": (*target).newFile, "truncate": (*target).truncate, "punch": (*target).punch, "writeback": (*target).sync,
	"file-write": (*target).writeFile, "file-read": (*target).readFile,
}

// NotHere returns why an operation is not carried out here, "" if it is.
func (h *Host) NotHere(op *litmus.Op) string {
	verb := op.Verb
	if verb == "advise" {
		verb += " " + op.Options[0].Name
	}
	if why, ok := unwanted[verb]; ok {
		return why
	}
	if why := h.lacks(op, verb); why != "" {
		return why
	}
	if files[op.Verb] != nil {
		return ""
	}
	return h.kernel.NotHere(op)
}

// lacks returns what of the kernel, the processor or their settings an operation would need, "" for nothing.
func (h *Host) lacks(op *litmus.Op, verb string) string {
	const poison, move, wpShmem = 1 << 14, 1 << 16, 1 << 12
	_, shared := op.Option("shared")
	_, of := op.Option("of")
	switch {
	case (op.Has("pkey") || verb == "pkru") && !h.has.pkeys:
		return "the processor has no protection keys"
	case strings.HasPrefix(verb, "advise guard") && !h.has.guards:
		return "no guard pages"
	case strings.HasPrefix(verb, "uffd") && h.has.uffd&wpShmem == 0:
		return "no userfaultfd with write protection"
	case verb == "uffd-poison" && h.has.uffd&poison == 0:
		return "no UFFDIO_POISON"
	case verb == "uffd-move" && h.has.uffd&move == 0:
		return "no UFFDIO_MOVE"
	case verb == "scan-protect" && h.has.scan == 0:
		return "no PAGEMAP_SCAN"
	case (verb == "advise hugepage" || verb == "collapse" || verb == "advise collapse") && h.has.huge != "madvise" && h.has.huge != "always":
		return "transparent huge pages are switched off"
	case verb == "map" && (shared || of) && h.has.hugeShmem != "never" && h.has.hugeShmem != "":
		return "shared memory may get huge pages"
	case verb == "file" && (op.Has("disk") || op.Has("ramfs") || op.Has("mkwrite") || op.Has("order")):
		return "only files of shared memory"
	}
	return ""
}

// programNotHere returns why a program as a whole cannot run here.
func (h *Host) programNotHere(p *litmus.Program) string {
	for _, s := range p.Steps {
		if s.Start || s.Until != "" {
			return "a running kernel cannot be stopped at a point"
		}
	}
	if h.has.small != "" {
		return "large folios are switched on: " + h.has.small
	}
	always := h.has.huge == "always"
	for _, o := range p.Machine {
		switch o.Name {
		case "huge-pages":
			always = false
		case "no-huge-zero":
			if h.has.hugeZero {
				return "the machine has a huge zero page"
			}
		case "frames", "slots", "orders", "shmem-order", "levels":
			return "another machine: " + o.Name
		}
	}
	if always {
		return "huge pages come without advice"
	}
	return ""
}

// categories returns what PAGEMAP_SCAN tells on both, the running kernel and the profile.
func (h *Host) categories(p *mm.Policy) mm.Category {
	all := h.has.scan
	if !p.UffdWPAsync {
		return 0
	}
	if !p.GuardMarkers {
		all &^= mm.PageGuard
	}
	return all
}
