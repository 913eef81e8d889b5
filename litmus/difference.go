package litmus

import (
	"fmt"
	"slices"
	"strings"

	"ptemu/arch/x86"
)

// alike returns how many of the changes, from the first on, are of neighbouring entries and the same but for the frame.
func (t *tracer) alike(keys []slotKey, now map[slotKey]uint64) int {
	both := func(k slotKey) [2]bare {
		return [2]bare{t.d.bare(&Entry{Level: k.level, Raw: t.last[k]}), t.d.bare(&Entry{Level: k.level, Raw: now[k]})}
	}
	first := keys[0]
	n := 1
	for n < len(keys) && keys[n].process == first.process && keys[n].level == first.level &&
		keys[n].va == first.va+x86.Virt(uint64(n)*first.level.Size()) && both(keys[n]) == both(first) {
		n++
	}
	return n
}

// change prints what became of neighbouring entries.
func (t *tracer) change(keys []slotKey, now map[slotKey]uint64) {
	k := keys[0]
	place := t.place(k.va)
	if len(keys) > 1 {
		place += " to " + t.place(keys[len(keys)-1].va)
	}
	old, e := &Entry{Level: k.level, Raw: t.last[k]}, &Entry{Level: k.level, Raw: now[k]}
	fmt.Fprintf(t.w, "      entry   %s: %s\n              %s\n           -> %s%s\n", k.process, place,
		t.d.describe(old), t.d.describe(e), t.d.difference(old, e))
}

// difference names the flags that came and went.
func (d *decoder) difference(a, b *Entry) string {
	if a.Raw == 0 || b.Raw == 0 {
		return ""
	}
	from, to := d.flags(a), d.flags(b)
	var s []string
	for _, f := range to {
		if !slices.Contains(from, f) {
			s = append(s, "+"+f)
		}
	}
	for _, f := range from {
		if !slices.Contains(to, f) {
			s = append(s, "-"+f)
		}
	}
	if len(s) == 0 {
		return ""
	}
	return "   (" + strings.Join(s, " ") + ")"
}
