//go:build linux && amd64

package kernel

import (
	"slices"

	"ptemu/litmus"
)

// unavailable are verbs that no system call offers, and why.
var unavailable = map[string]string{
	"device-exclusive": "no device that takes pages for itself",
	"swap-fail":        "no swap device that fails",
}

// guestOnly are verbs that need process 1 of a machine of our own.
var guestOnly = []string{"get", "pin", "release", "device-read", "device-write", "ksm", "reclaim", "khugepaged", "numa", "swapoff", "swapon", "msync"}

// NotHere implements [litmus.Target].
func (t *Target) NotHere(op *litmus.Op) string { return t.k.NotHere(op) }

// NotHere returns why the kernel does not offer an operation, "" if it does.
func (k *Kernel) NotHere(op *litmus.Op) string {
	if why, ok := unavailable[op.Verb]; ok {
		return why
	}
	if k.this && slices.Contains(guestOnly, op.Verb) {
		return "not on the machine that runs the tests: " + op.Verb
	}
	if !runs(op.Verb) {
		return "running kernels cannot " + op.Verb
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
		return k.fileNotHere(op)
	case "pin":
		return lacks(op.Has("write"), "nobody keeps pins for reading")
	case "pkru":
		return lacks(k.this || k.pkeys, "the processor has no protection keys")
	case "map", "protect":
		return lacks(k.this || k.pkeys || !op.Has("pkey"), "the processor has no protection keys")
	case "uffd":
		if k.this && (op.Has("event-fork") || op.Has("event-remap")) {
			return "nobody reads userfaultfd's events on the machine that runs the tests"
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

// Never implements [litmus.Particular]: why an operation cannot even be tried, whatever the kernel would say to it; "" if it can.
func (t *Target) Never(op *litmus.Op) string {
	if runs(op.Verb) {
		return ""
	}
	return t.k.NotHere(op)
}

// runs reports that a verb is carried out, here or by the runner itself.
func runs(verb string) bool {
	switch verb {
	case "read", "write", "exec", "expect", "remember", "continue", "finish":
		return true
	}
	return find(verb) != nil
}
