package compare

import (
	"strings"
	"testing"

	"ptemu/litmus"
)

// emulated is a fresh emulator for each program, as Both wants its second target.
func emulated(kernel string) func(*litmus.Program) (litmus.Target, error) {
	return func(p *litmus.Program) (litmus.Target, error) {
		e, err := litmus.NewEmulator(withSwapDirect(p), kernel, "")
		return flushing{e}, err
	}
}

func parse(t *testing.T, text string) *litmus.Program {
	t.Helper()
	p, err := litmus.Parse("test.pt", text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const program = `map a 4 rw private anon
write a 0
protect a 0 r
fork q
q: write a 0 faults segv-access
swap-out a 0
expect a 0 swap
`

// TestSame: two emulators of one release do the same, and everything is compared.
func TestSame(t *testing.T) {
	for _, kernel := range litmus.Kernels() {
		r, err := Both(parse(t, program), kernel, emulated(kernel))
		if err != nil || len(r.Differences) > 0 {
			t.Fatalf("%s: %v %v", kernel, r.Differences, err)
		}
		// One process for three steps, two for three.
		if n := r.Counts; n.Programs != 1 || n.Steps != 7 || n.Entries != 3*4+3*8 {
			t.Errorf("%s: %v", kernel, n)
		}
	}
}

// TestReleasesDiffer: 6.1 keeps the dirty bit of a read-only page where 6.12 moves it to bit 58.
func TestReleasesDiffer(t *testing.T) {
	r, err := Both(parse(t, program), "6.1", emulated("6.12"))
	if err != nil || len(r.Differences) != 1 {
		t.Fatalf("%v %v", r.Differences, err)
	}
	d := r.Differences[0]
	if d.Step != 2 || d.Place != "p: a 0" || d.What != "bits" || !strings.Contains(d.String(), "protect a 0 r") {
		t.Errorf("%+v", d)
	}
}

// TestFrames: entries that are the same but for the frame differ where one machine shares a frame or moves it and the
// other does not.
func TestFrames(t *testing.T) {
	record := func(frames ...[]uint64) *Record {
		r, err := Run(parse(t, "map a 2 rw\nexpect a 0 none\n"), flushing{mustEmulator(t)}, "6.12")
		if err != nil {
			t.Fatal(err)
		}
		r.Steps = nil
		for _, step := range frames {
			row := Row{Process: "p", Region: "a"}
			for _, f := range step {
				row.Entries = append(row.Entries, Leaf{Raw: 0x8000000000000867 | f<<12, Level: 1})
			}
			r.Steps = append(r.Steps, Step{Line: &litmus.Step{Op: litmus.Op{Verb: "protect"}}, Did: true, Entries: []Row{row}})
		}
		return r
	}
	for name, c := range map[string]struct {
		b    *Record
		what string
	}{
		"other numbers":   {record([]uint64{7, 9}, []uint64{7, 9}), ""},
		"shared":          {record([]uint64{7, 7}, []uint64{7, 7}), "shared on the second only"},
		"moved":           {record([]uint64{7, 9}, []uint64{7, 5}), "moved on the second only"},
		"change of place": {record([]uint64{7, 9}, []uint64{9, 7}), "moved on the second only"},
	} {
		d, _ := Compare(record([]uint64{1, 2}, []uint64{1, 2}), c.b)
		switch {
		case c.what == "" && len(d) > 0:
			t.Errorf("%s: %v", name, &d[0])
		case c.what != "" && (len(d) == 0 || !strings.Contains(d[0].What, c.what)):
			t.Errorf("%s: %v", name, d)
		}
	}
}

func mustEmulator(t *testing.T) *litmus.Emulator {
	t.Helper()
	e, err := litmus.NewEmulator(&litmus.Program{}, "6.12", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestLitmus: a record as a litmus file expects what happened, and passes where it happened.
func TestLitmus(t *testing.T) {
	r, err := Both(parse(t, program), "6.1", emulated("6.12"))
	if err != nil {
		t.Fatal(err)
	}
	text := r.B.Litmus(r.Differences).String()
	for kernel, want := range map[string]litmus.Verdict{"6.12": litmus.Pass, "6.1": litmus.Fail} {
		got, err := litmus.Emulate(parse(t, text), litmus.RunOn{Kernel: kernel})
		if err != nil || got.Verdict != want {
			t.Errorf("%s: %v %v %v\n%s", kernel, got.Verdict, got.Failures, err, text)
		}
	}
}
