package litmus

import "testing"

// TestUpdates: a line for a stable update counts from that one on, and takes the place of those for the release.
func TestUpdates(t *testing.T) {
	p, err := Parse("test.pt", `map a 1 rw private anon
write a 0
expect a 0 rw
expect a 0 !dirty under 6.12
expect a 0 dirty under 6.12.111,7.2
expect a 0 accessed under >=6.12
`)
	if err != nil {
		t.Fatal(err)
	}
	for kernel, want := range map[string][4]bool{
		"6.1": {true}, "6.1.192": {true}, "6.12": {true, true, false, true}, "6.12.110": {true, true, false, true},
		"6.12.111": {true, false, true, false}, "6.12.117": {true, false, true, false}, "7.2.13": {true, false, true, true},
	} {
		if got := [4]bool(p.Applies(kernel, "")[2:]); got != want {
			t.Errorf("%s: %v, want %v", kernel, got, want)
		}
	}
	if got := Release("6.12.117+deb13-amd64"); got != "6.12.117" {
		t.Error(got)
	}
}

// TestCorpusOfUpdate: the corpus passes as the newest update of 6.12 that differs.
func TestCorpusOfUpdate(t *testing.T) {
	all, err := Corpus()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if r, err := Emulate(p, RunOn{Kernel: "6.12.111"}); err != nil || r.Verdict == Fail {
			t.Errorf("%s: %v %v", p.Name, r.Failures, err)
		}
	}
}
