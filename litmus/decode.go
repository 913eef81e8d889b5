package litmus

import (
	"fmt"
	"strings"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// decoder tells kinds and flags of entries.
type decoder struct {
	abi    *x86.ABI
	layout *swapentry.Layout
}

func newDecoder(abi *x86.ABI) *decoder { return &decoder{abi, swapentry.NewLayout(abi)} }

func (d *decoder) decode(e *Entry) swapentry.Entry { return d.layout.Decode(e.Level, e.Raw) }

// flags returns the names of the flags of an entry, as the language has them.
func (d *decoder) flags(e *Entry) []string {
	names := d.abi.AppendFlags(nil, e.Level, e.Raw)
	for i, n := range names {
		names[i] = strings.ReplaceAll(strings.ToLower(n), "_", "-")
	}
	return names
}

// bare is an entry without what it names.
type bare struct {
	raw   uint64
	entry swapentry.Entry
}

func (d *decoder) bare(e *Entry) bare {
	s := d.decode(e)
	if s.Kind == swapentry.KindPresent || s.Kind == swapentry.KindNone || s.Kind == swapentry.KindUnknown {
		return bare{raw: e.Raw &^ d.abi.FrameMask(e.Level)}
	}
	if s.Kind != swapentry.KindMarker {
		s.Offset, s.PFN = 0, 0
	}
	return bare{entry: s}
}

// describe puts an entry into words: its value, what it is, its flags.
func (d *decoder) describe(e *Entry) string {
	s := d.decode(e)
	if s.Kind == swapentry.KindNone {
		return "none"
	}
	w := []string{fmt.Sprintf("0x%016x", e.Raw)}
	if e.Level > x86.LevelPTE {
		w = append(w, e.Level.String())
	}
	w = append(w, d.kindWords(e, s)...)
	return strings.Join(append(w, d.flags(e)...), " ")
}

func (d *decoder) kindWords(e *Entry, s swapentry.Entry) []string {
	switch s.Kind {
	case swapentry.KindPresent:
		pfn := x86.PTE(e.Raw).PFN(d.abi)
		if e.Level == x86.LevelPMD {
			pfn = x86.PMD(e.Raw).PFN(d.abi)
		}
		return []string{fmt.Sprintf("frame %#x", uint64(pfn))}
	case swapentry.KindMigration:
		w := []string{"migration-" + s.Access.String(), fmt.Sprintf("frame %#x", uint64(s.PFN))}
		if s.Young {
			w = append(w, "swp-young")
		}
		if s.Dirty {
			w = append(w, "swp-dirty")
		}
		return w
	case swapentry.KindMarker:
		return []string{"marker " + s.Marker.String()}
	case swapentry.KindSwap:
		return []string{fmt.Sprintf("swap slot %#x", s.Offset)}
	}
	if s.Kind.HasPFN() {
		return []string{s.Kind.String(), fmt.Sprintf("frame %#x", uint64(s.PFN))}
	}
	return []string{s.Kind.String()}
}
