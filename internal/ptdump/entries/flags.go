package entries

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/swapentry"
)

// flagName is a flag in the form that a format needs.
type flagName struct {
	mask uint64
	text string
}

// Flags holds the flags of every level and form, so that naming the bits of an entry needs no search.
type Flags struct {
	ABI    *x86.ABI
	layout *swapentry.Layout
	flags  [x86.LevelPGD + 1][flagForms][]flagName
}

// NewFlags returns the flags of a kernel, each as render makes it of its name.
func NewFlags(abi *x86.ABI, render func(string) string) *Flags {
	t := &Flags{ABI: abi, layout: swapentry.NewLayout(abi)}
	for level := x86.LevelPTE; level <= x86.LevelPGD; level++ {
		for form := range flagForms {
			for _, f := range abi.FlagsOf(level, form) {
				t.flags[level][form] = append(t.flags[level][form], flagName{f.Mask, render(f.Name)})
			}
		}
	}
	return t
}

// Append appends the texts of the flags set in an entry, other than those of ignore.
func (t *Flags) Append(dst []byte, l *tree.Leaf, ignore uint64) []byte {
	raw := l.Raw &^ ignore
	if l.Kind == tree.KindUnknown {
		raw &^= l.Kind.FrameMask(t.ABI, l.Level)
	}
	for _, f := range t.flags[l.Level][l.Kind.Form(t.ABI, l.Level, l.Raw)] {
		if raw&f.mask != 0 {
			dst = append(dst, f.text...)
		}
	}
	return dst
}

// Invalid says why no kernel writes an entry that is Invalid; "" of all others.
func (t *Flags) Invalid(l *tree.Leaf) string {
	if !l.Invalid {
		return ""
	}
	return tree.InvalidText(t.layout.Check(l.Level, l.Raw))
}
