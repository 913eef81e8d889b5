//go:build linux && amd64

package kernel

import (
	"slices"

	"ptemu/litmus"
)

// unavailable are verbs that no system call offers, and why.
var unavailable = map[string]string{
	"numa":             "nothing but the scheduler asks for NUMA hints",
	"khugepaged":       "khugepaged is not asked for one table",
	"device-exclusive": "no device that takes pages for itself",
	"swap-fail":        "no swap device that fails",
}

// notYet are verbs that the agent could be taught.
var notYet = []string{
	"get", "pin", "release", "device-read", "device-write", "ksm", "split", "truncate", "punch", "writeback", "file-write", "file-read",
	"swapoff", "swapon",
}

// NotHere implements [litmus.Target].
func (t *Target) NotHere(op *litmus.Op) string { return t.k.NotHere(op) }

// NotHere returns why the kernel does not offer an operation, "" if it does.
func (k *Kernel) NotHere(op *litmus.Op) string {
	if why, ok := unavailable[op.Verb]; ok {
		return why
	}
	if slices.Contains(notYet, op.Verb) || !runs(op.Verb) {
		return "running kernels are not asked to " + op.Verb + " yet"
	}
	lacks := func(has bool, what string) string {
		if has {
			return ""
		}
		return what
	}
	late := k.cfg.Kernel != "6.1"
	switch op.Verb {
	case "file":
		return lacks(!op.Has("disk") && !op.Has("ramfs") && !op.Has("mkwrite") && !op.Has("order"), "only files of shared memory yet")
	case "uffd":
		if op.Has("event-fork") || op.Has("event-remap") {
			return "nobody reads userfaultfd's events yet"
		}
		return lacks(late || !op.Has("wp-unpopulated") && !op.Has("wp-async"), "userfaultfd without this feature")
	case "uffd-poison":
		return lacks(late, "no UFFDIO_POISON")
	case "uffd-move":
		return lacks(late, "no UFFDIO_MOVE")
	case "scan-protect":
		return lacks(late, "no PAGEMAP_SCAN")
	case "advise":
		if op.Has("guard-install") || op.Has("guard-remove") {
			return lacks(k.abi.Kernel().MarkerMask > 3, "no guard pages")
		}
	}
	return ""
}

// runs reports that a verb is carried out, here or by the runner itself.
func runs(verb string) bool {
	switch verb {
	case "read", "write", "exec", "expect", "remember", "continue", "finish":
		return true
	}
	return find(verb) != nil
}
