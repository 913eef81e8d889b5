package litmus_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ptemu/litmus"
)

// mistakes are texts with one mistake each, and what is said of it.
var mistakes = []struct{ text, want string }{
	{"", "1:1: nothing is expected"},
	{"map a 4 rw\nread a 0", "2:1: nothing is expected"},
	{"mapp a 4 rw", `1:1: "mapp" is no operation (did you mean map?)`},
	{"map a", "1:6: a number of pages is missing"},
	{"map a 4", "1:8: a protection: none, or some of rwx is missing"},
	{"map a 4 wr", `1:9: "wr" is not a protection: none, or some of rwx`},
	{"map a 0 rw", "1:1: map of no pages"},
	{"map a 999999 rw", "1:7: a number of pages is at most 262144"},
	{"map a 4 rw shared private", `1:19: "shared" and "private" exclude each other`},
	{"map a 4 rw populate populate", `1:21: a second "populate"`},
	{"map a 4 rw of f", "1:1: there is no file f"},
	{"map a 4 rw pkey 16", "1:17: a number is at most 15"},
	{"map 4 a rw", `1:5: "4" is not a name for the region`},
	{"write a", "1:1: there is no region a"},
	{"map a 4 rw\nwrite a 4", "2:1: region a has 4 pages: 0 to 3"},
	{"map a 4 rw\nwrite a 2-1", "2:9: pages 2-1: the last comes before the first"},
	{"map a 4 rw\nwrite a 1-x", `2:9: "1-x" is not a page, or pages as 0-3`},
	{"map a 4 rw\nwrite a 0 = 256", "2:13: a number is at most 255"},
	{"map a 4 rw\nwrite a 0 faults never", `2:18: "never" is not one of uffd-wp`},
	{"map a 4 rw\nwrite a 0 fails EINVAL", `2:11: "fails" does not belong to write`},
	{"map a 4 rw\nprotect a r fails EPIPE", `2:19: "EPIPE" is not one of EINVAL`},
	{"map a 4 rw\nwrite a 0 faults bus no-fault", "2:30: an access is refused, or it succeeds"},
	{"map a 4 rw\nexpect a 0", "2:11: what is expected is missing"},
	{"map a 4 rw\nexpect a 0 writable", `2:12: "writable" is nothing that an entry can have`},
	{"map a 4 rw\nexpect a 0 !", `2:12: "" is nothing that an entry can have`},
	{"map a 4 rw\nexpect a 0 contents", "2:20: a number is missing"},
	{"map a 4 rw\nexpect a 0 frame old", "2:12: nothing is remembered as old"},
	{"map a 4 rw\nremember a 0-1 as old\nexpect a 0-2 frame old", "3:14: 2 pages are remembered as old, and these 3 are not among them"},
	{"map a 4 rw\nexpect a 0 same-as q: a 0", "2:12: there is no process q"},
	{"map a 4 rw\nexpect a 0-1 same-as a 0-2", "2:14: 2 pages are compared with 3"},
	{"map a 4 rw\nexpect a 0 area rd,zz", `2:17: "zz" is none of rd`},
	{"map a 4 rw\nexpect a 0 present under", "2:25: a release or policy is missing"},
	{"map a 4 rw\nexpect a 0 present under >=six", `2:26: ">=six" is not a release, releases, or a policy`},
	{"map a 4 rw\nq: write a 0", "2:4: there is no process q"},
	{"map a 4 rw\ncpu1: cpu2: write a 0", "2:7: a second processor"},
	{"map a 4 rw\nstart write a 0", "2:16: until POINT is missing"},
	{"map a 4 rw\nstart expect a 0 present", "2:7: expect cannot be stopped"},
	{"map a 4 rw\nwrite a 0 until flush", `2:11: "until" does not belong to write`},
	{"fork cpu1", "1:1: cpu1 is a processor"},
	{"release h", "1:1: nothing was taken as h"},
	{"map a 4 rw\nmap b 4 rw\nuffd-move a 0-1 to b 0-2", "3:1: 2 pages and 3"},
	{"map a 4 rw\nuffd-move a 0 b 0", `2:15: "b" is not "to"`},
	{"map a 4 rw\nadvise a 0 willneed", `2:12: "willneed" is not one of dontneed`},
	{"title", "1:6: text is missing"},
	{"title a\ntitle b", "2:7: a second title"},
	{"machine levels 3", "1:17: levels are 4 or 5"},
	{"map a 4 rw\nmachine cpus 2", "2:1: machine comes once, before the first step"},
	{"policies a@b", `1:10: "a@b" is not a policy`},
	{strings.Repeat("x", 1001), "1:1000: the line is too long"},
}

// TestMistakes: errors name file, line, column, and what is wrong.
func TestMistakes(t *testing.T) {
	for _, c := range mistakes {
		p, err := litmus.Parse("f.pt", c.text)
		if err == nil {
			t.Errorf("%q is accepted", c.text)
			continue
		}
		if p != nil {
			t.Errorf("%q: a program and an error", c.text)
		}
		if !strings.HasPrefix(err.Error(), "f.pt:"+c.want) {
			t.Errorf("%q:\ngot  %v\nwant f.pt:%s", c.text, err, c.want)
		}
	}
}

// TestUnknownNames: names that the grammar leaves open are known to the emulator, or are errors.
func TestUnknownNames(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"policies x\nmap a 1 rw\nexpect a none", `f.pt:1:10: there is no policy "x"`},
		{"policies reuse-by-mapcount@5.8\nmap a 1 rw\nexpect a none", `f.pt:1:10: there is no release "5.8"`},
		{"map a 1 rw\nexpect a none under x", `f.pt:2:21: there is no policy "x"`},
		{"map a 1 rw\nexpect a none under reuse-by-mapcount", "f.pt:2:21: the test is not run under reuse-by-mapcount"},
		{"map a 1 rw\nexpect a none\nstart write a until x\nfinish", `f.pt:3:1: there is no point "x"`},
	} {
		p, err := litmus.Parse("f.pt", c.text)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

// withoutPlaces is the program without the places of its parts, which printing changes.
func withoutPlaces(p *litmus.Program) *litmus.Program {
	n := *p
	n.Steps = nil
	cond := func(c litmus.Cond) (out litmus.Cond) {
		for _, t := range c {
			t.Pos = litmus.Pos{}
			out = append(out, t)
		}
		return out
	}
	n.Kernels = cond(p.Kernels)
	n.Policies = nil
	for _, r := range p.Policies {
		r.Pos = litmus.Pos{}
		n.Policies = append(n.Policies, r)
	}
	for _, s := range p.Steps {
		s.Pos, s.Under = litmus.Pos{}, cond(s.Under)
		s.Items = append([]litmus.Item(nil), s.Items...)
		for i := range s.Items {
			s.Items[i].Pos = litmus.Pos{}
		}
		n.Steps = append(n.Steps, s)
	}
	return &n
}

// roundTrip checks that text, if it is a program, is printed as text that is read as the same program, and printed alike.
func roundTrip(t *testing.T, text string) {
	t.Helper()
	p, err := litmus.Parse("f.pt", text)
	if err != nil {
		return
	}
	printed := p.String()
	again, err := litmus.Parse("f.pt", printed)
	if err != nil {
		t.Fatalf("%v in the printed form of\n%s\nwhich is\n%s", err, text, printed)
	}
	if a, b := withoutPlaces(p), withoutPlaces(again); !reflect.DeepEqual(a, b) {
		t.Fatalf("read  %+v\nagain %+v\nprinted:\n%s", a, b, printed)
	}
	if s := again.String(); s != printed {
		t.Fatalf("printed\n%s\nthen\n%s", printed, s)
	}
}

// corpusTexts returns the texts of the corpus.
func corpusTexts(t testing.TB) (texts []string) {
	t.Helper()
	for _, pattern := range []string{"corpus/*.pt", "corpus/*/*.pt"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(b))
		}
	}
	if len(texts) == 0 {
		t.Fatal("there is no corpus")
	}
	return texts
}

// everyVerb uses every verb, option and item.
const everyVerb = `title   all of the language
source  nowhere # a comment
kernels >=6.1
policies reuse-by-mapcount clear-refs-shared@7.2
machine cpus 3 nodes 2 frames 4096 slots 100 levels 5 orders 16 huge-pages no-huge-zero shmem-order 2 swap-direct
file    f 8 disk mkwrite order 2
map     a 4 rwx shared of f offset 2 populate noreserve locked pkey 3
map     b 4 none private anon behind a
protect b 0-1 rw pkey 1 fails ENOMEM under 6.1, <7.2
cpu1: q0: write a 0 byte 5 = 7 faults uffd-wp
`

func TestRoundTrip(t *testing.T) {
	texts := append(corpusTexts(t), strings.Replace(everyVerb, "q0: ", "", 1))
	for _, text := range texts {
		if _, err := litmus.Parse("f.pt", text); err != nil {
			t.Error(err)
		}
		roundTrip(t, text)
	}
}

// FuzzParse: any text is read or refused with its place, and what is read can be printed.
func FuzzParse(f *testing.F) {
	for _, text := range corpusTexts(f) {
		f.Add(text)
	}
	for _, c := range mistakes {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := litmus.Parse("f.pt", text)
		if (err == nil) != (p != nil) {
			t.Fatalf("%v and %v", p, err)
		}
		roundTrip(t, text)
	})
}
