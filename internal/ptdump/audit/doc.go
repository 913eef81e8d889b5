// Package audit looks through all trees of a machine for what cannot be in those of a sound one.
//
// A rule has a name, a severity, a reason why it matters, how it is decided, and what may look like it without being a fault:
// doc/audit.md is made of them. Most rules look at one entry and its area; those about frames that are mapped twice need all
// walks first, and are resolved in a second one.
//
// What must always hold: a rule that lacks what it needs is reported as not run, a finding that the kernel explains is
// explained rather than dropped, and what is over a bound is counted.
package audit
