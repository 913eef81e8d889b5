package diff

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

// textDiff is for people.
type textDiff struct {
	w      io.Writer
	color  report.Palette
	title  *spaceDiff // whose title has been written
	counts [changeCount]uint64
	spaces int
}

// spaceTitle names a space.
func spaceTitle(p *Pair) string {
	switch {
	case p.Kernel:
		return "kernel"
	case p.Process == nil:
		return fmt.Sprintf("root %v", p.Before.Root)
	case p.Process.PID < 0:
		return fmt.Sprintf("root %v", p.Process.MM.Roots.Kernel)
	}
	return fmt.Sprintf("process %d (%s)", p.Process.PID, report.QuoteName(p.Process.Comm))
}

func (t *textDiff) difference(s *spaceDiff, d *difference) error {
	b := []byte{}
	if t.title != s {
		t.title = s
		b = append(b, t.color.Paint(t.color.Bold, spaceTitle(&s.Pair))...)
		b = append(b, '\n')
	}
	b = append(b, "  0x"...)
	b = report.AppendHex16(b, uint64(d.VA))
	b = append(b, "-0x"...)
	b = report.AppendHex16(b, uint64(d.VA)+d.Size)
	b = append(b, ' ')
	start := len(b)
	b = report.AppendSize(b, d.Size)
	b = report.Pad(b, 6-(len(b)-start))
	if d.Problem != nil {
		b = append(b, t.color.Paint(t.color.Bad, "! "+d.Problem.Error())...)
		_, err := t.w.Write(append(b, '\n'))
		return err
	}
	start = len(b)
	b = strconv.AppendUint(b, d.Entries, 10)
	b = report.Pad(b, 8-(len(b)-start))
	names := strings.Join(d.Changes.names(), ",")
	on := ""
	if d.Changes&changeWritable != 0 {
		on = t.color.Warn
	}
	b = append(b, on...)
	b = append(b, names...)
	b = append(b, t.color.Off(on)...)
	b = report.Pad(b, 36-len(names))
	b = append(b, "  "...)
	b = appendState(b, &d.Before)
	b = append(b, " -> "...)
	b = appendState(b, &d.After)
	_, err := t.w.Write(append(b, '\n'))
	return err
}

// appendState appends what an entry was, in short.
func appendState(b []byte, l *tree.Leaf) []byte {
	if l.Kind == tree.KindNone {
		return append(b, "nothing"...)
	}
	if l.IsPage() {
		b = l.Rights.Append(b)
		b = append(b, ' ')
	}
	if l.Kind != tree.KindPresent {
		b = append(b, l.Kind...)
		b = append(b, ' ')
	}
	if l.Level != x86.LevelPTE {
		b = append(b, l.Level.String()...)
		b = append(b, ' ')
	}
	return entries.AppendTarget(b, l)
}

func (t *textDiff) space(s *spaceDiff) error {
	if s.Event != "" {
		_, err := fmt.Fprintf(t.w, "%s: %s\n", t.color.Paint(t.color.Bold, spaceTitle(&s.Pair)), s.Event)
		return err
	}
	if s.Entries == 0 {
		return nil
	}
	t.spaces++
	for i, n := range s.Counts {
		t.counts[i] += n
	}
	_, err := fmt.Fprintf(t.w, "  %s: %s\n", report.Count(int(s.Entries), "entry", "entries"), countText(&s.Counts))
	return err
}

func countText(counts *[changeCount]uint64) string {
	var parts []string
	for i, n := range changeNames {
		if counts[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[i], n.name))
		}
	}
	return strings.Join(parts, ", ")
}

func (t *textDiff) close() error {
	if t.spaces < 2 {
		return nil
	}
	_, err := fmt.Fprintf(t.w, "in all, in %s: %s\n", report.Plural(t.spaces, "address space"), countText(&t.counts))
	return err
}
