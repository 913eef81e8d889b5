package picture

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/usage"
)

// Cut says what is not in a page, because it would have become larger than asked. It is shown in the page.
type Cut struct {
	Tables     int `json:"tables"`     // in all
	NoNumbers  int `json:"noNumbers"`  // of which frames and slots are left out
	Summarized int `json:"summarized"` // of which only counts are left
}

// String says it in one line.
func (c *Cut) String() string {
	return fmt.Sprintf("of %d tables, %d without frames and slots and %d as counts only (--max-size)", c.Tables, c.NoNumbers, c.Summarized)
}

// Pack returns the data of the page, and leaves out what it must to stay below max bytes: first the frames and slots of
// the tables in which they take most room, then the order of entries. 0 is no bound.
func (p *Picture) Pack(info *Info, max int) (string, error) {
	for {
		p.count()
		info.Cut = p.Cut
		data, err := p.packed(info)
		if err != nil || max == 0 || len(data) <= max {
			return data, err
		}
		if !p.shrink(float64(max) / float64(len(data))) {
			return "", usage.Errorf("--max-size: the page needs %d bytes even with counts in place of the entries", len(data))
		}
	}
}

func (p *Picture) count() {
	p.Cut = Cut{Tables: len(p.tables)}
	for _, t := range p.tables {
		switch t.detail {
		case detailClasses:
			p.Cut.NoNumbers++
		case detailSummary:
			p.Cut.Summarized++
		}
	}
}

// shrink takes detail from the costliest tables, until about so much of the cost is left. False if there is none to take.
// Tables above the PTEs keep theirs: their numbers are the way down.
func (p *Picture) shrink(left float64) bool {
	for _, d := range [...]detail{detailClasses, detailSummary} {
		cost := func(t *pictureTable) int {
			if d == detailClasses {
				return len(t.values)
			}
			return len(t.shape)
		}
		var can []*pictureTable
		total := 0
		for _, t := range p.tables {
			if t.level == x86.LevelPTE && t.detail < d && cost(t) > 0 {
				can = append(can, t)
			}
			total += len(t.shape) + len(t.values)
		}
		if len(can) == 0 {
			continue
		}
		slices.SortStableFunc(can, func(a, b *pictureTable) int { return cmp.Compare(cost(b), cost(a)) })
		take := int(float64(total) * (1 - min(left, 0.98)))
		for _, t := range can {
			if take <= 0 {
				break
			}
			take -= cost(t)
			t.reduce(d)
		}
		return true
	}
	return false
}

func (t *pictureTable) reduce(d detail) {
	t.detail, t.values = d, nil
	if d == detailSummary {
		t.shape = t.summary()
	}
}

// packed returns length and text of the JSON, and the tables, compressed, in base64.
func (p *Picture) packed(info *Info) (string, error) {
	info.Classes, info.Forms = p.classes.list, info.Forms[:0]
	info.Bits = map[string]string{}
	for _, f := range p.classes.forms {
		info.Forms = append(info.Forms, f.names)
		for _, name := range f.names {
			if s := bitMeanings[name]; s != "" {
				info.Bits[name] = s
			}
		}
	}
	text, err := json.Marshal(info)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err != nil {
		return "", err
	}
	for _, part := range [][]byte{binary.AppendUvarint(nil, uint64(len(text))), text, p.bytes()} {
		if _, err := w.Write(part); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
