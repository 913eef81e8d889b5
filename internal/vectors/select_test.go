package vectors

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

var update = flag.Bool("update", false, "make the selection in testdata anew from the full vectors")

// TestUpdateSelection writes testdata from the full vectors, with the flag -update only. Of each file it keeps the
// comments, all constants, and of each function a vector for each class of calls, or an even choice among them where
// there are very many.
func TestUpdateSelection(t *testing.T) {
	if !*update {
		t.Skip("runs with -update only")
	}
	for _, file := range listFolder(t, fullFolder(t)) {
		out, err := selectFile(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := os.WriteFile(filepath.Join("testdata", filepath.Base(file)), out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// limit returns how many vectors of a function to keep for each of its inputs: more of the file that has all
// functions than of those that repeat some for another machine or configuration.
func limit(file string) int {
	if strings.Count(filepath.Base(file), "-") == 1 {
		return 60
	}
	return 30
}

// pick is the vectors of one function that may be kept: one of each class, in file order.
type pick struct {
	inputs        int
	lines         []string
	effect, shape map[string]bool
	byEffect      []int // lines that were first of their effect
}

func selectFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err != nil {
		return nil, err
	}
	var head, order []string
	r.Comment = func(line string) {
		if !strings.HasPrefix(line, "# section") && !strings.HasPrefix(line, "# end") {
			head = append(head, line)
		}
	}
	picks := map[string]*pick{}
	for {
		v, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p := picks[v.Function]
		if p == nil {
			p = &pick{inputs: len(v.In), effect: map[string]bool{}, shape: map[string]bool{}}
			picks[v.Function] = p
			order = append(order, v.Function)
		}
		p.add(r.Config(), v)
	}
	var body []string
	for _, name := range order {
		body = append(body, picks[name].choose(limit(file))...)
	}
	return pack(append(head, "# selection of the file of this name"), body, len(order))
}

func (p *pick) add(c *Config, v *Vector) {
	effect, shape := effectOf(c, v), shapeOf(v)
	if v.Function != "const" && p.effect[effect] && p.shape[effect+shape] {
		return
	}
	if !p.effect[effect] {
		p.byEffect = append(p.byEffect, len(p.lines))
	}
	p.effect[effect], p.shape[effect+shape] = true, true
	p.lines = append(p.lines, string(v.Text))
}

// choose keeps half of the limit for different effects and fills up with different inputs.
func (p *pick) choose(limit int) []string {
	limit *= max(p.inputs, 1)
	if p.inputs == 0 || len(p.lines) <= limit {
		return p.lines
	}
	keep := map[int]bool{}
	for _, i := range spread(p.byEffect, limit/2) {
		keep[i] = true
	}
	var rest []int
	for i := range p.lines {
		if !keep[i] {
			rest = append(rest, i)
		}
	}
	for _, i := range spread(rest, limit-len(keep)) {
		keep[i] = true
	}
	var lines []string
	for i, line := range p.lines {
		if keep[i] {
			lines = append(lines, line)
		}
	}
	return lines
}

// spread returns n elements of list at even distances, or all.
func spread(list []int, n int) []int {
	if len(list) <= n {
		return list
	}
	var out []int
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return out
}

// deciding are the bits that some function branches on.
const deciding = x86.PagePresent | x86.PageRW | x86.PageDirty | x86.PagePSE | x86.PageProtnone | x86.PageSoftW4 |
	x86.PageSoftW5

// shapeOf names what decides the way that a call takes: some flag bits, of what is not present the type, and of
// small numbers the number itself.
func shapeOf(v *Vector) string {
	var b strings.Builder
	for _, in := range v.In {
		switch {
		case in < 16:
			fmt.Fprintf(&b, " %d", in)
		case in&(x86.PagePresent|x86.PageProtnone) == 0:
			fmt.Fprintf(&b, " %x:%x", in&deciding, in>>x86.PageBitSoftW5)
		default:
			fmt.Fprintf(&b, " %x", in&deciding)
		}
	}
	return b.String()
}

// effectOf names what a call did: the answer of a predicate, or the flag bits in which result and input differ. What
// a predicate says of 0 and of each marker is an effect of its own.
func effectOf(c *Config, v *Vector) string {
	if len(v.In) == 0 {
		return ""
	}
	if v.Out <= 1 {
		return fmt.Sprint(v.Out, v.In[0] == 0, markerOf(c, v.In[0]))
	}
	const flags = 0xfff0000000000fff
	return fmt.Sprintf("%x", (v.In[0]^v.Out)&flags)
}

// markerOf returns the bits of a marker, given in either form: a PTE, or independent of the architecture.
func markerOf(c *Config, in uint64) swapentry.Marker {
	pte := x86.PTE(in)
	if s := swapentry.Swp(in); s.PTEMarker(c.Layout) && s.Offset() == uint64(s.Marker(c.Layout)) {
		pte = s.PTE()
	}
	return c.Layout.Decode(x86.LevelPTE, uint64(pte)).Marker
}

func pack(head, body []string, functions int) ([]byte, error) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	end := fmt.Sprintf("# end vectors=%d functions=%d", len(body), functions)
	for _, line := range slices.Concat(head, body, []string{end}) {
		if _, err := fmt.Fprintln(z, line); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
