package picture

import (
	"fmt"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/tree"
)

// addLeaf fills in what only entries in leaf position have.
func (c *pictureClasses) addLeaf(cl *pictureClass, l *tree.Leaf) {
	cl.Rights, cl.Text = rightsBits(l.Rights), meaningTemplate(l)
	if l.HasPkey() {
		cl.Pkey = l.Pkey()
	}
	if l.Invalid {
		cl.Wrong = tree.InvalidText(c.decoder.Layout.Check(l.Level, l.Raw))
	}
	if l.Unusable() {
		cl.Reserved, cl.Wrong = true, fmt.Sprintf("reserved bits %#x are set", l.ReservedBits(c.decoder.ABI))
	}
	for bit, is := range c.state {
		if is(l) && (bit > 1 || l.IsPage()) {
			cl.State |= 1 << bit
		}
	}
	if l.Swap.Dirty {
		cl.State |= pictureDirty
	}
	if l.Swap.Young {
		cl.State |= pictureAccessed
	}
	if n, _, ok := numberOf(l); ok {
		mask := uint64(cl.Mask)
		cl.Invert = l.Raw&mask>>shiftOf(mask) != n && ^l.Raw&mask>>shiftOf(mask) == n
	}
}

// numberOf returns the number that the entry holds, in the unit of its lowest bit, and how to write it.
func numberOf(l *tree.Leaf) (n uint64, holder string, ok bool) {
	switch {
	case l.IsPage():
		unit := l.Level.Size() / x86.PageSize
		if l.Kind == tree.KindUnknown {
			unit = 1 // its frame has all bits of that of a base page
		}
		return uint64(l.PFN) / unit, "{pa}", true
	case l.HasSwap():
		return l.SwapOffset(), "{v}", true
	}
	return 0, "", false
}

// meaningTemplate is Meaning with a mark in place of the number.
func meaningTemplate(l *tree.Leaf) string {
	const frame = 0x5ca1ab1e // of no page that anybody would meet
	n, holder, ok := numberOf(l)
	switch {
	case !ok:
		return entries.Meaning(l)
	case holder == "{pa}":
		other := *l
		other.PFN = frame
		return strings.Replace(entries.Meaning(&other), other.PFN.Phys().String(), holder, 1)
	}
	words := strings.Split(entries.Meaning(l), " ")
	for i, w := range words {
		if w == fmt.Sprintf("%#x", n) {
			words[i] = holder
		}
	}
	return strings.Join(words, " ")
}

func rightsBits(r tree.Rights) (n int) {
	for i, on := range [...]bool{r.R, r.W, r.X, r.U} {
		if on {
			n |= 1 << i
		}
	}
	return n
}
