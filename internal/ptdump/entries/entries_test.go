package entries

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// render sends leaves and problems through a format as a walk would.
func render(t testing.TB, f Format, items ...any) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(context.Background(), &out, f)
	for _, item := range items {
		var err error
		switch item := item.(type) {
		case *tree.Leaf:
			err = w.Leaf(item)
		case *pgtable.Problem:
			err = w.Problem(item)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var testProblem = &pgtable.Problem{
	VA: 0xffff888040000000, Size: 1 << 30, Level: x86.LevelPUD, Entry: 0x2008, Raw: 0x77067,
	Err: &physmem.FrameError{PFN: 0x77, Err: physmem.ErrAbsent},
}

// The lines as the issue fixes their names; va, raw and kind are spelled here, not computed.
func TestJSONLines(t *testing.T) {
	want := []string{
		`{"va":"0x0000010000000000","level":"pte","size":4096,"raw":"8000000012345867","kind":"present","pfn":74565,` +
			`"bits":["RW","USER","ACCESSED","DIRTY","SOFT_DIRTY","NX"],"rights":{"r":true,"w":true,"x":false,"u":true},` +
			`"pkey":0,"entry_pa":"0x1000"}`,
		`{"va":"0x0000010000001000","level":"pte","size":4096,"raw":"0000000012346025","kind":"present","pfn":74566,` +
			`"bits":["USER","ACCESSED"],"rights":{"r":true,"w":false,"x":true,"u":true},"pkey":0,"entry_pa":"0x1008"}`,
		`{"va":"0x0000010000002000","level":"pte","size":4096,"raw":"a800000000345425","kind":"present","pfn":837,` +
			`"bits":["USER","ACCESSED","UFFD_WP","NX"],"rights":{"r":true,"w":false,"x":false,"u":true},"pkey":5,"entry_pa":"0x1010"}`,
		`{"va":"0x0000010000003000","level":"pte","size":4096,"raw":"040fffffedcba920","kind":"protnone","pfn":74565,` +
			`"bits":["ACCESSED","PROTNONE","SOFT_DIRTY","SAVED_DIRTY"],"rights":{"r":false,"w":false,"x":true,"u":false},` +
			`"pkey":0,"entry_pa":"0x1018"}`,
		`{"va":"0x0000010000004000","level":"pte","size":4096,"raw":"07ffffffffdb960e","kind":"swap",` +
			`"bits":["SWP_SOFT_DIRTY","SWP_UFFD_WP","SWP_EXCLUSIVE"],"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":0,"offset":4660,"uffd_wp":true,"soft_dirty":true,"exclusive":true},"entry_pa":"0x1020"}`,
		`{"va":"0x0000010000005000","level":"pte","size":4096,"raw":"dff9fffffdb97402","kind":"migration","pfn":74565,` +
			`"bits":["SWP_SOFT_DIRTY"],"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":27,"offset":74565,"uffd_wp":false,"soft_dirty":true,"exclusive":false},` +
			`"migration":{"access":"write","young":true,"dirty":true},"entry_pa":"0x1028"}`,
		`{"va":"0x0000010000006000","level":"pte","size":4096,"raw":"fffffffffffff600","kind":"marker","bits":[],` +
			`"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":31,"offset":4,"uffd_wp":false,"soft_dirty":false,"exclusive":false},"marker":["guard"],"entry_pa":"0x1030"}`,
		`{"va":"0x0000010000007000","level":"pte","size":4096,"raw":"fffffffffffffc00","kind":"marker","bits":[],` +
			`"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":31,"offset":1,"uffd_wp":false,"soft_dirty":false,"exclusive":false},"marker":["uffd-wp"],"entry_pa":"0x1038"}`,
		`{"va":"0x0000010000008000","level":"pte","size":4096,"raw":"e7fffffffdb97400","kind":"device-private","pfn":74565,"bits":[],` +
			`"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":28,"offset":74565,"uffd_wp":false,"soft_dirty":false,"exclusive":false},"device":{"write":true},"entry_pa":"0x1040"}`,
		`{"va":"0x0000010000009000","level":"pte","size":4096,"raw":"c7fffffffdb97400","kind":"hwpoison","pfn":74565,"bits":[],` +
			`"rights":{"r":false,"w":false,"x":false,"u":false},` +
			`"swap":{"type":24,"offset":74565,"uffd_wp":false,"soft_dirty":false,"exclusive":false},"entry_pa":"0x1048"}`,
		`{"va":"0x0000010000200000","level":"pmd","size":2097152,"raw":"80000000400018e7","kind":"present","pfn":262144,` +
			`"bits":["RW","USER","ACCESSED","DIRTY","PSE","SOFT_DIRTY","PAT_LARGE","NX"],` +
			`"rights":{"r":true,"w":true,"x":false,"u":true},"pkey":0,"entry_pa":"0x1008"}`,
	}
	got := strings.Split(render(t, newJSON(capturetest.ABI, false), anys(capturetest.Samples)...), "\n")
	for i, w := range want {
		if got[i] != w {
			t.Errorf("line %d\ngot  %s\nwant %s", i, got[i], w)
		}
	}
	want0 := `{"va":"0x0000020000000000","level":"p4d","size":549755813888,"raw":"00000000deadb000","kind":"unknown","bits":[],` +
		`"rights":{"r":false,"w":false,"x":false,"u":false},"invalid":"kind cannot be here: a non-present p4d holds nothing",` +
		`"entry_pa":"0x1020"}` + "\n"
	if got := render(t, newJSON(capturetest.ABI, false), capturetest.Unknown); got != want0 {
		t.Errorf("unknown\ngot  %s\nwant %s", got, want0)
	}
	want1 := `{"va":"0xffff888040000000","level":"pud","size":1073741824,"raw":"0000000000077067",` +
		`"kind":"problem","problem":"table not in capture","reason":"absent","entry_pa":"0x2008"}` + "\n"
	if got := render(t, newJSON(capturetest.ABI, false), testProblem); got != want1 {
		t.Errorf("problem\ngot  %s\nwant %s", got, want1)
	}
}

func anys[T any](s []T) (out []any) {
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

// refEntry is the entry as encoding/json would write it.
type refEntry struct {
	VA     string         `json:"va"`
	Level  string         `json:"level"`
	Size   uint64         `json:"size"`
	Raw    string         `json:"raw"`
	Kind   tree.Kind      `json:"kind"`
	PFN    *uint64        `json:"pfn,omitempty"`
	Bits   []string       `json:"bits"`
	Rights map[string]any `json:"rights"`
	Pkey   *int           `json:"pkey,omitempty"`
	Swap   map[string]any `json:"swap,omitempty"`
	Migr   map[string]any `json:"migration,omitempty"`
	Marker *[]string      `json:"marker,omitempty"`
	Device map[string]any `json:"device,omitempty"`
	Wrong  string         `json:"invalid,omitempty"`
	Entry  string         `json:"entry_pa"`
}

func reference(l *tree.Leaf) *refEntry {
	e := &refEntry{
		VA: l.VA.String(), Level: l.Level.String(), Size: l.Level.Size(), Raw: fmt.Sprintf("%016x", l.Raw), Kind: l.Kind,
		Bits:   capturetest.ABI.AppendFlags([]string{}, l.Level, l.Raw),
		Rights: map[string]any{"r": l.Rights.R, "w": l.Rights.W, "x": l.Rights.X, "u": l.Rights.U},
		Entry:  fmt.Sprintf("0x%x", uint64(l.Table)+8*uint64(l.Index)),
	}
	if l.HasPFN {
		pfn := uint64(l.PFN)
		e.PFN = &pfn
	}
	page := l.Kind == tree.KindPresent || l.Kind == tree.KindProtnone
	if k := x86.PTE(l.Raw).Pkey(); page {
		e.Pkey = &k
	}
	if page {
		return e
	}
	if err := swapentry.NewLayout(capturetest.ABI).Check(l.Level, l.Raw); err != nil {
		e.Wrong = strings.ReplaceAll(errors.Unwrap(err).Error(), "\n", "; ")
	}
	s := l.Swap
	e.Swap = map[string]any{"type": s.Type, "offset": s.PagemapOffset(),
		"uffd_wp": s.UffdWP, "soft_dirty": s.SoftDirty, "exclusive": s.Exclusive}
	switch l.Kind {
	case tree.KindMigration:
		e.Migr = map[string]any{"access": s.Access.String(), "young": s.Young, "dirty": s.Dirty}
	case tree.KindMarker:
		names := append([]string{}, s.Marker.Names()...)
		e.Marker = &names
	case tree.KindDevicePrivate, tree.KindDeviceExclusive:
		e.Device = map[string]any{"write": s.Write}
	}
	return e
}

// randomLeaves are entries with arbitrary bits: every value must give valid output that says what it is.
func randomLeaves(n int) []*tree.Leaf {
	r := rand.New(rand.NewPCG(1, 2))
	var leaves []*tree.Leaf
	for range n {
		raw := r.Uint64() &^ (r.Uint64() & r.Uint64())
		level := x86.LevelPTE
		if r.IntN(4) == 0 {
			level, raw = x86.LevelPMD, raw|x86.PagePSE&-(raw&1)
		}
		rights := tree.Rights{R: raw&1 != 0, W: r.IntN(2) == 0, X: r.IntN(2) == 0, U: r.IntN(2) == 0}
		leaves = append(leaves, capturetest.Leaf(x86.Virt(r.Uint64()), level, raw, rights))
	}
	return leaves
}

func TestJSONAgainstEncodingJSON(t *testing.T) {
	leaves := append(randomLeaves(5000), capturetest.Samples...)
	lines := strings.SplitAfter(render(t, newJSON(capturetest.ABI, false), anys(leaves)...), "\n")
	var array []any
	if err := json.Unmarshal([]byte(render(t, newJSON(capturetest.ABI, true), anys(leaves)...)), &array); err != nil {
		t.Fatal(err)
	}
	if len(array) != len(leaves) || len(lines) != len(leaves)+1 {
		t.Fatalf("%d elements and %d lines of %d leaves", len(array), len(lines), len(leaves))
	}
	kinds := map[tree.Kind]int{}
	for i, l := range leaves {
		kinds[l.Kind]++
		ref, err := json.Marshal(reference(l))
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal([]byte(lines[i]), &got), json.Unmarshal(ref, &want)); err != nil {
			t.Fatalf("%s: %v", lines[i], err)
		}
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(array[i], want) {
			t.Fatalf("got  %s\nwant %s", lines[i], ref)
		}
	}
	for _, k := range []tree.Kind{tree.KindPresent, tree.KindProtnone, tree.KindSwap, tree.KindMigration, tree.KindMarker, tree.KindHWPoison} {
		if kinds[k] == 0 {
			t.Errorf("no entry of kind %s was tried", k)
		}
	}
}

func TestJSONEmptyArray(t *testing.T) {
	var v []any
	if err := json.Unmarshal([]byte(render(t, newJSON(capturetest.ABI, true))), &v); err != nil || len(v) != 0 {
		t.Errorf("%v, %v", v, err)
	}
}

func TestCSV(t *testing.T) {
	items := append(anys(append(randomLeaves(500), capturetest.Samples...)), testProblem)
	rows, err := csv.NewReader(strings.NewReader(render(t, newCSV(capturetest.ABI), items...))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(items)+1 {
		t.Fatalf("%d rows of %d items", len(rows), len(items))
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	for i, item := range items {
		row := rows[i+1]
		get := func(name string) string { return row[col[name]] }
		l, ok := item.(*tree.Leaf)
		if !ok {
			if get("kind") != "problem" || get("problem") != "table not in capture" || get("entry_pa") != "0x2008" {
				t.Errorf("problem: %q", row)
			}
			continue
		}
		want := map[string]string{
			"va": l.VA.String(), "level": l.Level.String(), "raw": fmt.Sprintf("%016x", l.Raw), "kind": string(l.Kind),
			"bits": strings.Join(capturetest.ABI.AppendFlags(nil, l.Level, l.Raw), "|"), "w": strconv.Itoa(int(b2u(l.Rights.W))),
			"marker": l.Swap.Marker.String(), "entry_pa": l.Place().String(), "pfn": "", "swap_offset": "", "problem": "",
		}
		if l.HasPFN {
			want["pfn"] = strconv.FormatUint(uint64(l.PFN), 10)
		}
		if l.HasSwap() {
			want["swap_offset"] = strconv.FormatUint(l.Swap.PagemapOffset(), 10)
			want["swap_exclusive"] = strconv.Itoa(int(b2u(l.Swap.Exclusive)))
		}
		for name, v := range want {
			if get(name) != v {
				t.Errorf("%s of %#x: %q, want %q", name, l.Raw, get(name), v)
			}
		}
	}
}

func b2u(b bool) uint {
	if b {
		return 1
	}
	return 0
}

func TestText(t *testing.T) {
	want := `VA                  LEVEL SIZE RIGHTS RAW               KIND             POINTS TO                    FLAGS
0x0000010000000000  pte   4K   rw-u   8000000012345867  present          pfn 0x12345                  RW USER ACCESSED DIRTY SOFT_DIRTY NX
0x0000010000001000  pte   4K   r-xu   0000000012346025  present          pfn 0x12346                  USER ACCESSED
0x0000010000002000  pte   4K   r--u   a800000000345425  present          pfn 0x345                    USER ACCESSED UFFD_WP NX pkey=5
0x0000010000003000  pte   4K   --x-   040fffffedcba920  protnone         pfn 0x12345                  ACCESSED PROTNONE SOFT_DIRTY SAVED_DIRTY
0x0000010000004000  pte   4K   ----   07ffffffffdb960e  swap             device 0 slot 0x1234         SWP_SOFT_DIRTY SWP_UFFD_WP SWP_EXCLUSIVE
0x0000010000005000  pte   4K   ----   dff9fffffdb97402  migration        pfn 0x12345 write young dirty SWP_SOFT_DIRTY
0x0000010000006000  pte   4K   ----   fffffffffffff600  marker           guard
0x0000010000007000  pte   4K   ----   fffffffffffffc00  marker           uffd-wp
0x0000010000008000  pte   4K   ----   e7fffffffdb97400  device-private   pfn 0x12345 write
0x0000010000009000  pte   4K   ----   c7fffffffdb97400  hwpoison         pfn 0x12345
0x0000010000200000  pmd   2M   rw-u   80000000400018e7  present          pfn 0x40000                  RW USER ACCESSED DIRTY PSE SOFT_DIRTY PAT_LARGE NX
0xffff888000000000  pud   1G   rw--   80000000400009e3  present          pfn 0x40000                  RW ACCESSED DIRTY PSE GLOBAL KERNEL_4K NX
0xffffffff81000000  pte   4K   rwx-   0000000001000963  present          pfn 0x1000                   RW ACCESSED DIRTY GLOBAL KERNEL_4K
! 0xffff888040000000 pud 1G  table not in capture (entry 0000000000077067 at 0x2008)
`
	got := render(t, newText(capturetest.ABI, report.Palette{}), append(anys(capturetest.Samples), testProblem)...)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	colors, err := report.NewPalette("always", nil)
	if err != nil {
		t.Fatal(err)
	}
	colored := render(t, newText(capturetest.ABI, colors), append(anys(capturetest.Samples), testProblem)...)
	if colored == got || stripSGR(colored) != got {
		t.Errorf("colour changes more than colour:\n%s", colored)
	}
}

// stripSGR removes terminal sequences.
func stripSGR(s string) string {
	var b strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, "\x1b[")
		b.WriteString(before)
		if !found {
			break
		}
		_, s, _ = strings.Cut(after, "m")
	}
	return b.String()
}

// A writer that fails stops the walk at the latest when the buffer is full.
func TestWriterStops(t *testing.T) {
	boom := errors.New("boom")
	w := NewWriter(context.Background(), failing(func(p []byte) (int, error) { return 0, boom }), newJSON(capturetest.ABI, false))
	var err error
	n := 0
	for ; err == nil && n < 10000; n++ {
		err = w.Leaf(capturetest.Samples[0])
	}
	if !errors.Is(err, boom) || n > report.FlushSize/100 {
		t.Errorf("after %d leaves: %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w = NewWriter(ctx, io.Discard, newJSON(capturetest.ABI, false))
	for err, n = nil, 0; err == nil && n < 10000; n++ {
		err = w.Leaf(capturetest.Samples[0])
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

type failing func([]byte) (int, error)

func (f failing) Write(p []byte) (int, error) { return f(p) }

func BenchmarkEntries(b *testing.B) {
	formats := []struct {
		name string
		f    Format
	}{
		{"jsonl", newJSON(capturetest.ABI, false)}, {"csv", newCSV(capturetest.ABI)}, {"text", newText(capturetest.ABI, report.Palette{})},
	}
	for _, bb := range formats {
		b.Run(bb.name, func(b *testing.B) {
			w := NewWriter(context.Background(), io.Discard, bb.f)
			for i := range b.N {
				if err := w.Leaf(capturetest.Samples[i%len(capturetest.Samples)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
