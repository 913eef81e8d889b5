package bench

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/thp"
)

// hugeCase splits as many huge pages as the set has tables, and collapses them; one of both is timed.
func hugeCase(name string, split bool) Case {
	c := Case{Name: name, Floor: FloorXor, First: true, MaxBytes: operationBytes, fill: nothing}
	c.make = func(s *Set) ([]Variant, error) {
		h := &huge{s: s, v: thp.Area{Layout: s.Layout, Prot: rw, Anon: true, Write: true}}
		pass := func(odd int) (int64, error) {
			if err := h.prepare(split); err != nil {
				return 0, err
			}
			if split == (odd == 0) {
				return int64(s.PTEs()), h.each(h.split)
			}
			return int64(s.PTEs()), h.each(h.collapse)
		}
		v := Variant{
			Name: Levels()[0].String(), Kind: Ours, Level: Levels()[0], PTEs: s.PTEs(), Pass: pass, Close: h.close,
			Note: "no level: plain Go",
		}
		return append(s.floors(c.Floor), v, s.kernel(noCall("no call splits or collapses without doing more"))), nil
	}
	return c
}

// huge is a tree of huge pages.
type huge struct {
	s    *Set
	v    thp.Area
	tree *pgtable.Tree
}

// prepare maps the huge pages, as such or split, the first time.
func (h *huge) prepare(whole bool) (err error) {
	if h.tree != nil {
		return nil
	}
	if h.tree, err = pgtable.New(h.s.RAM, h.s.ABI()); err != nil {
		return err
	}
	for i := range h.s.Tables {
		if err = h.v.Map(h.tree, h.s.tableVA(i), h.v.Leaf(h.frame(i))); err != nil {
			return err
		}
	}
	if !whole {
		return h.each(h.split)
	}
	return nil
}

func (h *huge) frame(i int) x86.PFN { return firstFrame + x86.PFN(i)*thp.Pages }

func (h *huge) each(f func(i int) error) error {
	for i := range h.s.Tables {
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

func exclusivePage(x86.PFN) thp.Page { return thp.Page{Anon: true, Exclusive: true} }

func agree(pgtable.PTECursor) error { return nil }

func (h *huge) split(i int) error {
	_, err := h.v.Split(h.tree, h.s.tableVA(i), exclusivePage, false)
	return err
}

func (h *huge) collapse(i int) error { return h.v.Collapse(h.tree, h.s.tableVA(i), h.frame(i), agree) }

func (h *huge) close() error {
	if h.tree == nil {
		return nil
	}
	defer func() { h.tree = nil }()
	return h.tree.Close()
}
