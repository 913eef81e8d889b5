package litmus_test

import (
	"strings"
	"testing"

	"ptemu/litmus"
)

// failing are programs whose last line is wrong, and what is said of it.
var failing = []struct{ text, want string }{
	{"expect a 0 present", "a 0 is not present: none"},
	{"expect a 0-3 none\nread a 2\nexpect a 0-3 none", "a 2 is not none: 0x8000000000001225 frame 0x1 user accessed special"},
	{"read a 0\nexpect a 0 !zero-page", "a 0 is zero-page"},
	{"write a 0\nexpect a 0 !rw", "a 0 is rw: 0x8000"},
	{"write a 0\nexpect a 0 value 0x8000000000000865", "a 0 is 0x8000"},
	{"write a 0 = 3\nexpect a 0 contents 4", "a 0 is contents 3"},
	{"write a 0 byte 1 = 3\nexpect a 0 contents 0", "a 0 is of many bytes, 0 first"},
	{"expect a 0 contents 0", "a 0 is no page: none"},
	{"write a 0\nexpect a 0 refs 2", "a 0 is refs 1"},
	{"write a 0\nexpect a 0 !anon-exclusive", "a 0 is anon-exclusive"},
	{"write a\nremember a 0 as x\nexpect a 1 frame x", "a 1 is in frame"},
	{"write a\nremember a as x\nexpect a 2 !frame x", "a 2 is in frame"},
	{"write a\nexpect a 0 same-as a 1", "a 0 is in frame"},
	{"fork q\nwrite a 0\nexpect a 0 same-as q: a 0", "and the other place: none"},
	{"remember a 0 as x\nexpect a 0 none", "there is no page at a 0"},
	{"expect a area rd,wr,!sd", "a 0 is area rd,wr,mr,mw,me,ac,sd"},
	{"expect a areas 2", "a 0 is in 1 areas"},
	{"unmap a\nexpect a area rd", "a 0 is in no area"},
	{"expect a vm-page-prot 0x27", "in an area with vm_page_prot 0x8000000000000025"},
	{"write a 0\nexpect a 0 pagemap !present", "a 0 is pagemap present"},
	{"write a 0\nexpect a 0 pkey 1", "a 0 is pkey 0"},
	{"write a 0 = 3\nread a 0 = 4", "byte 0 of the page is 3, not 4"},
	{"write a 0 = 3\nget h a 0\ndevice-read h byte 9 = 4", "byte 9 of the page is 3, not 4"},
	{"write a 0\nwrite a 0 fault", "no page fault is taken"},
	{"write a 0 no-fault", "a page fault is taken"},
	{"write a 0 faults bus", "the access succeeds, not the access faults bus"},
	{"protect a r\nexpect a none\nwrite a 0", "the access faults segv-access, not the access succeeds"},
	{"unmap a 1\nread a 0-1", "at page 1 the access faults segv-map, before the access succeeds"},
	{"protect a r fails EINVAL", "the call succeeds, not the call fails EINVAL"},
	{"unmap a 1\nprotect a r", "the call fails ENOMEM, not the call succeeds"},
	{"write a 0\ncpu1: start protect a r until flush\ncpu1: write a 0", "cpu1 stands in the middle of line"},
	{"write a 0\ncpu1: start protect a r until flush", "nobody finishes this on cpu1"},
	{"write a 0\ncpu1: start protect a r until migrated", "it ends without coming to migrated"},
	{"write a 0\ncpu1: start protect a r until flush\ncpu1: continue until migrated", "it ends without coming to migrated"},
	{"finish", "nothing stands on cpu0"},
	{"cpu5: write a 0", "the machine has 4 processors: say machine cpus 6"},
	{"fork q\nfork q", "there is a process q already"},
	{"fork q\nq: exit\nq: write a 0", "there is no process q any more"},
	{"fork q\nq: exit\nq: expect a 0 none", "there is no process q any more"},
	{"get h a 0\nrelease h\nrelease h", "h is not held"},
	{"file f 1\nfile f 1", "there is a file f already"},
	{"swap-fail a 0", "page 0 is not swapped out"},
}

// TestFailures: what is not as it should be is found, at its line.
func TestFailures(t *testing.T) {
	for _, c := range failing {
		text := "map a 4 rw\n" + c.text
		p, err := litmus.Parse("f.pt", text)
		if err != nil && strings.HasSuffix(err.Error(), "nothing is expected") {
			text = "map a 4 rw\nexpect a none\n" + c.text
			p, err = litmus.Parse("f.pt", text)
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		r, err := litmus.Emulate(p, litmus.RunOn{Kernel: "7.2"})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != litmus.Fail || len(r.Failures) == 0 || !strings.Contains(r.Failures[0].Msg, c.want) {
			t.Errorf("%q: %v, %v, want %q", text, r.Verdict, r.Failures, c.want)
		}
	}
}

// TestGroups: which lines count.
func TestGroups(t *testing.T) {
	const text = `policies reuse-by-mapcount clear-refs-shared
map     a 2 rw
expect  a 0 none
expect  a 0 none under 6.1
# A comment does not divide.

expect  a 0 none under >=6.12
expect  a 0 none under reuse-by-mapcount
expect  a 0 none under releases
expect  a 0 none under 7.2,reuse-by-mapcount
expect  a 1 none
write   a 1
expect  a 1 none under reuse-by-mapcount
cpu1: expect a 1 none
expect  a 0 none under <7.2
`
	p, err := litmus.Parse("f.pt", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ kernel, policy, want string }{
		{"6.1", "", "1110" + "01" + "0" + "1" + "1" + "0" + "1" + "1"},
		{"6.12", "", "1101" + "01" + "0" + "1" + "1" + "0" + "1" + "1"},
		{"7.2", "", "1101" + "01" + "1" + "1" + "1" + "0" + "1" + "0"},
		{"6.1", "clear-refs-shared", "1110" + "00" + "0" + "1" + "1" + "0" + "1" + "1"},
		{"6.1", "reuse-by-mapcount", "1000" + "10" + "1" + "1" + "1" + "1" + "1" + "1"},
		{"7.2", "reuse-by-mapcount", "1000" + "10" + "1" + "1" + "1" + "1" + "1" + "0"},
	} {
		got := ""
		for _, counts := range p.Applies(c.kernel, c.policy) {
			got += map[bool]string{true: "1", false: "0"}[counts]
		}
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kernel, c.policy, got, c.want)
		}
	}
}

// TestNotHere: what a kernel lacks is no failure, and says why.
func TestNotHere(t *testing.T) {
	for _, c := range []struct{ text, kernel, want string }{
		{"advise a 0 guard-install\nexpect a 0 marker-guard", "6.12", "no guard pages"},
		{"uffd wp-unpopulated\nexpect a none", "6.1", "no UFFD_FEATURE_WP_UNPOPULATED"},
		{"uffd wp-async\nexpect a none", "6.1", "no UFFD_FEATURE_WP_ASYNC"},
		{"expect a 0 scan !present", "6.1", "no PAGEMAP_SCAN"},
		{"uffd-poison a 0\nexpect a none", "6.1", "no UFFDIO_POISON"},
		{"map b 4 rw\nuffd-move a 0 to b 0\nexpect a none", "6.1", "no UFFDIO_MOVE"},
		{"kernels >=6.12\nexpect a none", "6.1", "the test is for >=6.12"},
		{"advise a 0 guard-install fails EINVAL", "6.12", ""},
		{"advise a 0 guard-install under 7.2\nexpect a 0 none under <7.2", "6.12", ""},
	} {
		p, err := litmus.Parse("f.pt", "map a 4 rw\n"+c.text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := litmus.Emulate(p, litmus.RunOn{Kernel: c.kernel})
		if err != nil {
			t.Fatal(err)
		}
		want := litmus.NotHere
		if c.want == "" {
			want = litmus.Pass
		}
		if r.Verdict != want || r.Reason != c.want {
			t.Errorf("%q on %s: %v, %q %v", c.text, c.kernel, r.Verdict, r.Reason, r.Failures)
		}
	}
}
