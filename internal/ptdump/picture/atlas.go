package picture

import (
	"cmp"
	"context"
	"math"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/runs"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// The atlas is the first view: a row for each region, and in it what is mapped, at widths that grow with the logarithm
// of the size, so that a page is seen beside a gigabyte. What lies between is folded.

// atlasRow is a region in which there is something.
type atlasRow struct {
	Name     string         `json:"name"`
	First    x86.Virt       `json:"-"`
	Start    string         `json:"start"`
	Segments []atlasSegment `json:"-"`
	// Spans is Segments for the page, which counts by itself: first and last address, "0x…".
	Spans [][2]string `json:"spans"`
}

// atlasSegment is a part of a region: neighbouring ranges, or some with small gaps between them.
type atlasSegment struct {
	First, Last x86.Virt
	Bytes       map[tree.Kind]uint64
}

// rowSegments is how many segments a row has at most: as many as a narrow window can show.
const rowSegments = 72

// atlasMaker is the Sink that makes rows.
type atlasMaker struct {
	ctx   context.Context
	tally *entries.Tally
	rows  []atlasRow
	name  linux.Marker
}

// AddAtlas fills in the rows: what of each region is mapped, and how. What is remarkable is added to t.
func (info *Info) AddAtlas(ctx context.Context, s *tree.Tree, t *entries.Tally) error {
	m := &atlasMaker{ctx: ctx, tally: t}
	if err := runs.Walk(s, tree.Filter{}, s.System.Markers(), m); err != nil {
		return err
	}
	for i := range m.rows {
		m.rows[i].Segments = mergeSegments(m.rows[i].Segments, rowSegments)
		for _, g := range m.rows[i].Segments {
			m.rows[i].Spans = append(m.rows[i].Spans, [2]string{g.First.String(), g.Last.String()})
		}
	}
	info.Rows = m.rows
	return nil
}

// Marker implements [Sink].
func (m *atlasMaker) Marker(k linux.Marker) error {
	m.name = k
	return nil
}

// Run implements [Sink].
func (m *atlasMaker) Run(r *runs.Run) error {
	m.tally.Add(&r.First, r.Count)
	return m.add(atlasSegment{r.First.VA, r.End() - 1, map[tree.Kind]uint64{summaryKind(&r.First): r.Size()}})
}

// Problem implements [Sink].
func (m *atlasMaker) Problem(p *pgtable.Problem) error {
	if err := m.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	m.tally.Problem(p)
	return m.add(atlasSegment{p.VA, p.VA + x86.Virt(p.Size-1), map[tree.Kind]uint64{kindNoWay: p.Size}})
}

func (m *atlasMaker) add(s atlasSegment) error {
	if n := len(m.rows); n == 0 || m.rows[n-1].First != m.name.Addr || m.rows[n-1].Name != m.name.Name {
		m.rows = append(m.rows, atlasRow{Name: m.name.Name, First: m.name.Addr, Start: m.name.Addr.String()})
	}
	row := &m.rows[len(m.rows)-1]
	row.Segments = append(row.Segments, s)
	if len(row.Segments) >= 64*rowSegments {
		row.Segments = mergeSegments(row.Segments, 16*rowSegments)
	}
	return m.ctx.Err()
}

// size is the address space of a segment, gaps included. That of everything does not fit, and does not occur.
func (s *atlasSegment) size() uint64 { return uint64(s.Last-s.First) + 1 }

// total is how much of it has entries, mapped how much of that are pages.
func (s *atlasSegment) total() (n uint64) {
	for _, b := range s.Bytes {
		n += b
	}
	return n
}

func (s *atlasSegment) mapped() (n uint64) {
	for _, k := range [...]tree.Kind{kindRead, kindWrite, kindExecute, kindWriteExecute, kindNoAccess, tree.KindProtnone} {
		n += s.Bytes[k]
	}
	return n
}

// Present pages by what may be done with them, as the first colours of the page have them.
const (
	kindRead         tree.Kind = "read"
	kindWrite        tree.Kind = "read, write"
	kindExecute      tree.Kind = "read, execute"
	kindWriteExecute tree.Kind = "read, write and execute"
	kindNoAccess     tree.Kind = "present, no access"
)

func summaryKind(l *tree.Leaf) tree.Kind {
	switch r := l.Rights; {
	case l.Kind != tree.KindPresent:
		return l.Kind
	case !r.R:
		return kindNoAccess
	case r.W && r.X:
		return kindWriteExecute
	case r.W:
		return kindWrite
	case r.X:
		return kindExecute
	}
	return kindRead
}

// weight is the width that a segment asks for.
func (s *atlasSegment) weight() float64 {
	return 1 + math.Log2(float64(max(s.size(), x86.PageSize))/x86.PageSize)
}

// mergeSegments joins neighbours until n are left: those first between which least lies, and of these the smallest.
func mergeSegments(s []atlasSegment, n int) []atlasSegment {
	for len(s) > n {
		costs := make([]float64, len(s)-1)
		for i := range costs {
			gap := float64(s[i+1].First - s[i].Last - 1)
			costs[i] = gap + float64(min(s[i].size(), s[i+1].size()))
		}
		sorted := slices.Clone(costs)
		slices.Sort(sorted)
		// Each pass joins up to half of what is too much, so that costs are those of what was joined before.
		most := sorted[max(0, (len(s)-n+1)/2-1)]
		left := len(s) - n
		out := s[:1]
		for i, c := range costs {
			if cmp.Compare(c, most) <= 0 && left > 0 {
				out[len(out)-1].join(&s[i+1])
				left--
			} else {
				out = append(out, s[i+1])
			}
		}
		s = out
	}
	return s
}

func (s *atlasSegment) join(o *atlasSegment) {
	s.Last = o.Last
	for k, n := range o.Bytes {
		s.Bytes[k] += n
	}
}
