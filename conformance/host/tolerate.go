//go:build linux && amd64

package host

import (
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

// tolerance is a difference that is known. Each is counted by its name.
type tolerance struct {
	name, reason string
	// ends covers two ends of a step; nil: this is about pages, see comparer.excuse.
	ends func(f *features, op *litmus.Op, emulator, host string) bool
	// last: what comes after it cannot be compared.
	last bool
}

// guardWrites is the tolerance of pages.
const guardWrites = "guard-written"

// tolerances are all differences that are passed over.
var tolerances = []tolerance{
	{name: "register-above-all",
		reason: "userfaultfd's calls about a range above all areas fail with ENOMEM. A process has its stack there, and gets EINVAL; the emulator's has none",
		ends: func(_ *features, op *litmus.Op, e, h string) bool {
			return strings.HasPrefix(op.Verb, "uffd-") && e == "fails ENOMEM" && h == "fails EINVAL"
		}},
	{name: "no-memory-failure",
		reason: "without CONFIG_MEMORY_FAILURE an access to poison gets the SIGBUS of any other fault",
		ends: func(f *features, _ *litmus.Op, e, h string) bool {
			return !f.memoryFailure && e == "faults hwpoison" && (h == "faults bus" || h == "faults uffd-missing")
		}},
	{name: "fills-guards",
		reason: "before 6.19, userfaultfd fills guards as it does other markers; 6.12 has no guards, and 7.2 refuses",
		ends: func(f *features, op *litmus.Op, e, h string) bool {
			return f.guards && f.oldGuards && strings.HasPrefix(op.Verb, "uffd-") && e == "fails EEXIST" && (h == "well" || h == "fails EAGAIN")
		}, last: true},
	{name: "collapse-of-parts",
		reason: "collapsing pages that hold no whole huge page does nothing; whether that is an error differs between 6.12 and 7.2, and a " +
			"program can need 7.2 for something else",
		ends: func(f *features, op *litmus.Op, e, h string) bool {
			part := !op.At.Whole && op.At.Last-op.At.First+1 < x86.EntriesPerTable
			return f.between && op.Verb == "collapse" && part && (e == "well" && h == "fails EINVAL" || e == "fails EINVAL" && h == "well")
		}},
	{name: guardWrites,
		reason: "before 6.19, PAGEMAP_SCAN finds the write protection of a guard that it has protected itself; 7.2 calls all guards written"},
}

// Tolerances returns the names of what is passed over, each with its reason.
func Tolerances() (lines []string) {
	for _, t := range tolerances {
		lines = append(lines, t.name+": "+t.reason)
	}
	slices.Sort(lines)
	return lines
}

// tolerated reports that two ends of a step are known to differ, and counts it.
func (c *comparer) tolerated(op *litmus.Op, emulator, host string) bool {
	for _, t := range tolerances {
		if t.ends != nil && t.ends(c.has, op, emulator, host) {
			c.passed[t.name]++
			c.last = c.last || t.last
			return true
		}
	}
	return false
}
