package picture

import (
	"fmt"
	"math/bits"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/where"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Kinds that only pictures have: entries that lead to a table, and those that could not be followed.
const (
	kindLeadsOn tree.Kind = "table"
	kindNoWay   tree.Kind = "problem"
)

// pictureClass is everything about an entry but its number; this is its JSON form in the page. The 64 bits of an entry
// with number v are Base, and v (inverted, with Invert) in the bits of Mask.
type pictureClass struct {
	Level  x86.Level `json:"l"`
	Kind   tree.Kind `json:"k"`
	Rights int       `json:"r"` // the entry's own, whatever the levels above permit
	State  int       `json:"s"`
	Pkey   int       `json:"p"` // -1: has none
	Form   int       `json:"f"` // names of the bits
	Base   hex64     `json:"b"`
	Mask   hex64     `json:"m"`
	Invert bool      `json:"i,omitempty"`
	// Text is what the entry says, with {pa} or {v} for the number.
	Text string `json:"t"`
	// Wrong is why no kernel writes such an entry, or why it could not be followed.
	Wrong string `json:"e,omitempty"`
	// Reserved says that the processor refuses the entry.
	Reserved bool `json:"n,omitempty"`
	// Whole says that every entry of the class is stored with all its bits, for Base does not hold for all.
	Whole bool `json:"y,omitempty"`
}

// Bits of Rights and State.
const (
	pictureR = 1 << iota
	pictureW
	pictureX
	pictureU
)

const (
	pictureAccessed = 1 << iota
	pictureDirty
	pictureSoftDirty
	pictureUffdWP
)

// hex64 is a number that JSON shows as a string of hex digits, as JavaScript's numbers have 53 bits.
type hex64 uint64

// MarshalText implements [encoding.TextMarshaler].
func (h hex64) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", uint64(h)), nil }

// exactClasses is how many classes are made at most for which all flags are the same. Memory full of nonsense has more:
// then entries are stored whole.
const exactClasses = 2048

// pictureClasses finds the class of an entry.
type pictureClasses struct {
	decoder tree.Decoder
	list    []pictureClass
	forms   []pictureForm
	byEntry map[entryKey]classRef
	byClass map[pictureClass]int
	byForm  map[pictureForm]int
	masks   [x86.LevelPGD + 1][]uint64 // of the numbers, as far as they have been met
	state   [4]func(*tree.Leaf) bool
}

// entryKey is what decides the class of an entry, found without decoding it. Of bits that are a number it is blind.
type entryKey struct {
	level x86.Level
	role  slotRole
	upper bool
	mask  uint64 // of the number
	bits  uint64 // the others
	why   string
}

type classRef struct {
	index int
	mask  uint64
	inv   uint64
}

func newPictureClasses(s *tree.Tree) *pictureClasses {
	c := &pictureClasses{
		decoder: s.Decoder(), byEntry: map[entryKey]classRef{}, byClass: map[pictureClass]int{}, byForm: map[pictureForm]int{},
	}
	for i, name := range [...]string{"accessed", "dirty", "soft-dirty", "uffd-wp"} {
		c.state[i] = where.Test(s.ABI, name)
	}
	return c
}

// of returns the class of slot i of t, and its number.
func (c *pictureClasses) of(t *pgtable.Table, i int, role slotRole, why string) (int, uint64, error) {
	raw := t.Entries[i]
	key := entryKey{level: t.Level, role: role, upper: t.VA>>63 != 0 || t.Addr(i)>>63 != 0, why: why}
	if role == slotLeaf && raw&x86.PagePresent == 0 && !key.upper {
		if err := c.decoder.Layout.Check(t.Level, raw); err != nil {
			key.why = err.Error() // it may depend on the number
		}
	}
	ref, known := c.known(key, raw)
	if !known {
		ref = c.add(t, i, role, why)
		c.remember(key, raw, ref)
	}
	v := (raw ^ ref.inv) & ref.mask >> shiftOf(ref.mask)
	if cl := &c.list[ref.index]; !cl.Whole && cl.rawOf(v) != raw {
		return 0, 0, fmt.Errorf("entry %016x does not fit its class %+v", raw, *cl)
	}
	return ref.index, v, nil
}

// known looks for the class of entries that differ from this one in the number only.
func (c *pictureClasses) known(key entryKey, raw uint64) (classRef, bool) {
	for _, mask := range c.masks[key.level] {
		key.mask, key.bits = mask, raw&^mask
		if ref, ok := c.byEntry[key]; ok {
			return ref, true
		}
	}
	return classRef{}, false
}

func (c *pictureClasses) remember(key entryKey, raw uint64, ref classRef) {
	if len(c.byEntry) >= 4*exactClasses {
		return
	}
	if masks := &c.masks[key.level]; !slices.Contains(*masks, ref.mask) {
		*masks = append(*masks, ref.mask)
	}
	key.mask, key.bits = ref.mask, raw&^ref.mask
	c.byEntry[key] = ref
}

// rawOf returns the entry of a class with a number.
func (cl *pictureClass) rawOf(v uint64) uint64 {
	v <<= shiftOf(uint64(cl.Mask))
	if cl.Invert {
		v = ^v
	}
	return uint64(cl.Base) | v&uint64(cl.Mask)
}

func shiftOf(mask uint64) int { return bits.TrailingZeros64(mask) & 63 }

// add makes the class of an entry that is met for the first time.
func (c *pictureClasses) add(t *pgtable.Table, i int, role slotRole, why string) classRef {
	l := tree.Leaf{}
	c.decoder.Leaf(&l, t, i)
	l.Rights = tree.Rights{}
	c.decoder.Decode(&l, pgtable.FullAccess)
	form := c.formOf(&l, role)
	cl := pictureClass{Level: l.Level, Kind: l.Kind, Pkey: -1, Mask: hex64(form.number), Wrong: why}
	switch role {
	case slotTable:
		cl.Kind, cl.Text = kindLeadsOn, "table at {pa}"
		own := pgtable.FullAccess.And(l.Raw)
		cl.Rights = rightsBits(tree.Rights{R: true, W: own.W, X: own.X, U: own.U})
	case slotProblem:
		cl.Kind, cl.Text = kindNoWay, why
	default:
		c.addLeaf(&cl, &l)
	}
	cl.Base = hex64(l.Raw &^ form.number)
	cl.Form = c.formIndex(form)
	var inv uint64
	if cl.Invert {
		inv = form.number
	}
	return classRef{c.index(cl), form.number, inv}
}

// index returns the number of a class, a new one if there is room for it, else one that holds entries whole.
func (c *pictureClasses) index(cl pictureClass) int {
	if i, ok := c.byClass[cl]; ok {
		return i
	}
	if len(c.byClass) >= exactClasses {
		cl.Whole, cl.Base = true, 0
		if len(c.byClass) >= 2*exactClasses && cl.Wrong != "" {
			cl.Wrong = "invalid" // reasons that name bits: too many to keep apart
			if cl.Kind == kindNoWay {
				cl.Text = "cannot be followed"
			}
		}
		if i, ok := c.byClass[cl]; ok {
			return i
		}
	}
	c.byClass[cl] = len(c.list)
	c.list = append(c.list, cl)
	return len(c.list) - 1
}

// swapFormOf decodes an entry that is no page.
func (c *pictureClasses) swapFormOf(level x86.Level, raw uint64) swapentry.Entry {
	return c.decoder.Layout.Decode(level, raw)
}
