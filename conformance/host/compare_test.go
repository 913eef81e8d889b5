//go:build linux && amd64

package host

import (
	"testing"

	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/swapentry"
)

// Words of pagemap.
const (
	present   = 1 << 63
	swapped   = 1 << 62
	file      = 1 << 61
	guard     = 1 << 58
	uffdWP    = 1 << 57
	exclusive = 1 << 56
	softDirty = 1 << 55
)

// recordOf makes a record of one process with one region: after each step of a verb the words of its pages.
func recordOf(verb string, steps ...[]swapentry.Pagemap) *record {
	r := &record{}
	for _, words := range steps {
		w := row{process: "p", region: "a"}
		for _, word := range words {
			w.pages = append(w.pages, Page{Word: word})
		}
		r.steps = append(r.steps, step{line: &litmus.Step{Op: litmus.Op{Verb: verb}}, rows: []row{w}})
	}
	return r
}

// TestCompareSees: each thing that is compared makes a difference alone, and frames only by identity.
func TestCompareSees(t *testing.T) {
	type words = []swapentry.Pagemap
	for _, c := range []struct {
		name, verb string
		a, b       []words
		want       string
	}{
		{"other frames", "write", []words{{present | 1, present | 2}}, []words{{present | 9, present | 8}}, ""},
		{"moved on both", "write", []words{{present | 1}, {present | 2}}, []words{{present | 9}, {present | 8}}, ""},
		{"present", "write", []words{{present | 1}}, []words{{0}}, "pagemap"},
		{"swapped", "write", []words{{swapped}}, []words{{0}}, "pagemap"},
		{"file", "write", []words{{present | file | 1}}, []words{{present | 1}}, "pagemap"},
		{"exclusive", "write", []words{{present | exclusive | 1}}, []words{{present | 1}}, "pagemap"},
		{"uffd-wp", "write", []words{{present | uffdWP | 1}}, []words{{present | 1}}, "pagemap"},
		{"guard", "write", []words{{swapped | guard}}, []words{{swapped}}, "pagemap"},
		{"soft-dirty", "write", []words{{present | softDirty | 1}}, []words{{present | 1}}, "pagemap"},
		{"marker", "write", []words{{swapped | 1<<5}}, []words{{swapped | 2<<5}}, "pagemap"},
		{"shared here", "write", []words{{present | 1, present | 1}}, []words{{present | 1, present | 2}}, "frame: shared on the emulator only"},
		{"shared there", "write", []words{{present | 1, present | 2}}, []words{{present | 1, present | 1}}, "frame: shared on the host only"},
		{"moved here", "write", []words{{present | 1}, {present | 2}}, []words{{present | 9}, {present | 9}}, "frame: another than before on one only"},
		{"moved there", "write", []words{{present | 1}, {present | 1}}, []words{{present | 9}, {present | 8}}, "frame: another than before on one only"},
		{"exchanged", "remap", []words{{present | 1, 0}, {0, present | 1}}, []words{{present | 9, 0}, {0, present | 8}}, "frame: was another on the host"},
		{"steps", "write", []words{{0}, {0}}, []words{{0}}, "steps"},
	} {
		x := newComparer(&features{softDirty: true})
		x.compare(recordOf(c.verb, c.a...), recordOf(c.verb, c.b...))
		got := ""
		if len(x.found) > 0 {
			got = x.found[0].What
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestCompareTolerates: what is passed over is counted, and nothing like it is passed over.
func TestCompareTolerates(t *testing.T) {
	scanned := func(word swapentry.Pagemap, c mm.Category) *record {
		r := recordOf("fork", []swapentry.Pagemap{word})
		r.steps[0].rows[0].pages[0].Scan = c
		return r
	}
	ends := func(verb string, o litmus.Outcome) *record {
		return &record{steps: []step{{line: &litmus.Step{Op: litmus.Op{Verb: verb}}, outcome: o}}}
	}
	for _, c := range []struct {
		name string
		a, b *record
		pass bool
	}{
		{"an empty table", scanned(0, 0), scanned(0, mm.PageWritten), false},
		{"a page that is there", scanned(present|1, mm.PagePresent), scanned(present|1, mm.PagePresent|mm.PageWritten), false},
		{"register-above-all", ends("uffd-register", litmus.Outcome{Errno: "ENOMEM"}), ends("uffd-register", litmus.Outcome{Errno: "EINVAL"}), true},
		{"another verb", ends("remap", litmus.Outcome{Errno: "ENOMEM"}), ends("remap", litmus.Outcome{Errno: "EINVAL"}), false},
		{"no-memory-failure", ends("read", litmus.Outcome{Faults: "hwpoison"}), ends("read", litmus.Outcome{Faults: "bus"}), true},
		{"another fault", ends("read", litmus.Outcome{Faults: "segv-map"}), ends("read", litmus.Outcome{Faults: "bus"}), false},
	} {
		x := newComparer(&features{})
		x.compare(c.a, c.b)
		if (len(x.found) == 0) != c.pass || c.pass && x.passed[c.name] != 1 {
			t.Errorf("%s: %v, passed over %v", c.name, x.found, x.passed)
		}
	}
}
