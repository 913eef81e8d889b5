package ptdump

import (
	"fmt"
	"strings"

	"ptemu/arch/x86"
)

// addLeaf fills in what only entries in leaf position have.
func (c *pictureClasses) addLeaf(cl *pictureClass, l *Leaf) {
	cl.Rights, cl.Text = rightsBits(l.Rights), meaningTemplate(l)
	if hasPkey(l) {
		cl.Pkey = pkeyOf(l)
	}
	if l.Invalid {
		cl.Wrong = invalidText(c.decoder.layout.Check(l.Level, l.Raw))
	}
	if l.unusable() {
		cl.Reserved, cl.Wrong = true, fmt.Sprintf("reserved bits %#x are set", reservedBits(c.decoder.abi, l))
	}
	for bit, is := range c.state {
		if is(l) && (bit > 1 || isPage(l)) {
			cl.State |= 1 << bit
		}
	}
	if l.Raw&c.decoder.abi.SavedDirtyMask() != 0 && isPage(l) || l.Swap.Dirty {
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
func numberOf(l *Leaf) (n uint64, holder string, ok bool) {
	switch {
	case isPage(l):
		return uint64(l.PFN) / (l.Level.Size() / x86.PageSize), "{pa}", true
	case hasSwap(l):
		return swapOffset(l), "{v}", true
	}
	return 0, "", false
}

// meaningTemplate is leafMeaning with a mark in place of the number.
func meaningTemplate(l *Leaf) string {
	const frame = 0x5ca1ab1e // of no page that anybody would meet
	n, holder, ok := numberOf(l)
	switch {
	case !ok:
		return leafMeaning(l)
	case holder == "{pa}":
		other := *l
		other.PFN = frame
		return strings.Replace(leafMeaning(&other), other.PFN.Phys().String(), holder, 1)
	}
	words := strings.Split(leafMeaning(l), " ")
	for i, w := range words {
		if w == fmt.Sprintf("%#x", n) {
			words[i] = holder
		}
	}
	return strings.Join(words, " ")
}

func rightsBits(r Rights) (n int) {
	for i, on := range [...]bool{r.R, r.W, r.X, r.U} {
		if on {
			n |= 1 << i
		}
	}
	return n
}
