package picture

import (
	"context"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// A picture is what ptdump map draws: one address space as the tables that make it up. Each table is in it once, however
// many entries lead to it; whoever draws it follows the entries, as the processor does.
//
// An entry is stored as its class, which is all that does not differ between neighbours, and a number: the frame or the
// slot. Class and number give back all 64 bits.
type Picture struct {
	classes *pictureClasses
	tables  []*pictureTable // the root first; each before those below it that were not met earlier
	Cut     Cut
}

// pictureTable is one table. Upper says that it serves the kernel half, where a few entries mean something else.
type pictureTable struct {
	pictureKey
	visits int    // entries that lead here
	detail detail // how much of the entries is in the page
	shape  []byte // runs of entries of one class
	values []byte // their numbers, in the same order
}

type pictureKey struct {
	pfn   x86.PFN
	level x86.Level
	upper bool
}

// Draw reads all tables of a session.
func Draw(ctx context.Context, s *tree.Tree, limit int) (*Picture, error) {
	b := &pictureBuilder{
		ctx: ctx, limit: limit, known: map[pictureKey]*pictureTable{},
		p: &Picture{classes: newPictureClasses(s)},
	}
	if err := s.Visit(tree.Filter{}, b); err != nil {
		return nil, err
	}
	return b.p, ctx.Err()
}

// pictureBuilder collects the tables of a walk.
type pictureBuilder struct {
	ctx   context.Context
	p     *Picture
	limit int // bytes of numbers that are kept at most
	kept  int
	known map[pictureKey]*pictureTable
	open  [x86.LevelPGD + 1]openTable
}

// openTable is a table that the walk is in.
type openTable struct {
	table *pictureTable
	slots [x86.EntriesPerTable]slotRole
	why   map[int]string // of the slots that are problems
}

// slotRole is what the walk made of an entry.
type slotRole uint8

const (
	slotEmpty slotRole = iota
	slotLeaf
	slotTable
	slotProblem
)

// Enter implements [pgtable.Visitor]. A table that is known is passed over.
func (b *pictureBuilder) Enter(t *pgtable.Table) (bool, error) {
	if err := b.ctx.Err(); err != nil {
		return false, err
	}
	key := pictureKey{t.PFN, t.Level, t.VA>>63 != 0}
	if t.Parent != 0 {
		parent := &b.open[t.Level+1]
		parent.slots[t.VA.Index(t.Level+1)] = slotTable
	}
	if known := b.known[key]; known != nil {
		known.visits++
		return false, nil
	}
	table := &pictureTable{pictureKey: key, visits: 1}
	b.known[key] = table
	b.p.tables = append(b.p.tables, table)
	b.open[t.Level] = openTable{table: table}
	return true, nil
}

// Slot implements [pgtable.Visitor].
func (b *pictureBuilder) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s != pgtable.SlotNone {
		b.open[t.Level].slots[i] = slotLeaf
	}
	return nil
}

// PTEs implements [pgtable.Visitor].
func (b *pictureBuilder) PTEs(t *pgtable.Table) error {
	o := &b.open[t.Level]
	for i, e := range t.Entries {
		if !x86.PTE(e).None() {
			o.slots[i] = slotLeaf
		}
	}
	return nil
}

// Problem implements [pgtable.Visitor].
func (b *pictureBuilder) Problem(p *pgtable.Problem) error {
	if err := b.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	o := &b.open[p.Level]
	if o.why == nil {
		o.why = map[int]string{}
	}
	first := p.VA.Index(p.Level)
	for i := first; i < first+int(p.Size/p.Level.Size()) && i < len(o.slots); i++ {
		o.slots[i], o.why[i] = slotProblem, tree.ProblemText(p)
	}
	return nil
}

// Leave implements [pgtable.Visitor]: the table is complete.
func (b *pictureBuilder) Leave(t *pgtable.Table) error {
	o := &b.open[t.Level]
	if t.Entries == nil { // it could not be read again; the entry that leads here has become a problem
		delete(b.known, o.table.pictureKey)
		o.table.shape = shapeOf(nil)
		return nil
	}
	var e tableEncoder
	for i, role := range o.slots {
		if role == slotEmpty {
			continue
		}
		class, value, err := b.p.classes.of(t, i, role, o.why[i])
		if err != nil {
			return fmt.Errorf("entry at %v: %w", t.Entry(i), err)
		}
		e.add(i, class, value, t.Entries[i])
	}
	o.table.shape, o.table.values = shapeOf(e.runs), e.values(b.p.classes)
	if b.kept += len(o.table.values); b.limit > 0 && b.kept > b.limit && t.Level == x86.LevelPTE {
		o.table.detail, o.table.values = detailClasses, nil
	}
	return nil
}
