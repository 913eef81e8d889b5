//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ptemu/internal/ptdump"
	"ptemu/litmus"
)

// story is a program during which a running kernel is looked at twice: after the step of lookAfter, and at the end.
const story = `title   what became of the pages of a process
map     a 8 rw private anon
map     b 2 rw private anon
map     s 4 rw shared anon
write   a
write   b
write   s
uffd
uffd-register a wp
advise  b dontfork
fork    q
uffd-protect a 2-3
protect a 6-7 none
write   a 0 = 9
advise  b pageout
expect  b swap
`

const lookAfter = 9 // advise b dontfork

// wantStory is what diff is to say of the process, by the regions of the program.
var wantStory = []string{
	"a+0x0 1 moved",                      // copied when it was written after fork
	"a+0x1000 1 write-protected",         // by fork
	"a+0x2000 2 write-protected,uffd-wp", // by userfaultfd
	"a+0x4000 2 write-protected",         // by fork
	"a+0x6000 2 protnone",                // by mprotect
	"b+0x0 2 swapped-out",
}

// TestLive: ptdump sees on a running guest what was done to a process between two looks, and finds the process by itself.
func TestLive(t *testing.T) {
	p, err := litmus.Parse("story", story)
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range releases() {
		t.Run(release, func(t *testing.T) {
			m := boot(t, release)
			dir := os.Getenv("PTEMU_KEEP")
			if dir == "" {
				dir = t.TempDir()
			}
			before, after := filepath.Join(dir, release+"-before.elf.zst"), filepath.Join(dir, release+"-after.elf.zst")
			target, err := m.k.Fresh(context.Background(), p)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			n := 0
			r := litmus.Run(p, target, litmus.Release(m.k.Release()), "", litmus.Observer{After: func(*litmus.Step) {
				if n++; n == lookAfter { // the machine stands still meanwhile
					ptdumpOn(t, 0, "extract", "qmp:"+m.k.Live(), "-o", before)
				}
			}})
			if r.Verdict != litmus.Pass {
				t.Fatalf("the story: %v %s %v", r.Verdict, r.Reason, r.Failures)
			}
			ptdumpOn(t, 0, "extract", "qmp:"+m.k.Live(), "-o", after)
			got := differences(t, p, before, after)
			if !slices.Equal(got, wantStory) {
				t.Errorf("diff says  %q\nwant       %q", got, wantStory)
			}
		})
	}
}

// differences is what diff says of the regions of a program, in the process that has had them before.
func differences(t *testing.T, p *litmus.Program, before, after string) (got []string) {
	t.Helper()
	regions := p.Places()
	lines := json.NewDecoder(strings.NewReader(ptdumpOn(t, 1, "diff", "--format", "jsonl", "--user", "--ignore", "accessed,aged", before, after)))
	for lines.More() {
		var d struct {
			VA      string
			Entries int
			Changes []string
		}
		if err := lines.Decode(&d); err != nil {
			t.Fatal(err)
		}
		va, err := strconv.ParseUint(d.VA, 0, 64)
		if err != nil {
			continue // a process that is new
		}
		for name, span := range regions {
			if off := va - uint64(span.VA); off < span.Bytes() {
				got = append(got, fmt.Sprintf("%s+%#x %d %s", name, off, d.Entries, strings.Join(d.Changes, ",")))
			}
		}
	}
	return got
}

// ptdumpOn runs ptdump, which must end with a code, and returns what it prints.
func ptdumpOn(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := ptdump.Main(context.Background(), args, &out, &errs); code != want {
		t.Fatalf("ptdump %s: exit %d\n%s", strings.Join(args, " "), code, errs.Bytes())
	}
	return out.String()
}
