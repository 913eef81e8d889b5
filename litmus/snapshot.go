package litmus

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// slotKey is a place in the tables of a process.
type slotKey struct {
	process string
	va      x86.Virt
	level   x86.Level
}

// snapshot reads the entries in leaf position of all processes.
func (t *tracer) snapshot() map[slotKey]uint64 {
	all := map[slotKey]uint64{}
	for name, p := range t.e.spaces {
		tree := p.space.Tree()
		// What cannot be walked is for Verify to find.
		_ = pgtable.Walk(tree.Memory(), t.e.ABI(), tree.Root(), user(p.space), &collector{name, all})
	}
	return all
}

// collector is a [pgtable.Visitor] that keeps what is not empty.
type collector struct {
	process string
	all     map[slotKey]uint64
}

func (c *collector) Enter(*pgtable.Table) (bool, error) { return true, nil }
func (c *collector) Leave(*pgtable.Table) error         { return nil }
func (c *collector) Problem(*pgtable.Problem) error     { return nil }
func (c *collector) put(t *pgtable.Table, i int) {
	c.all[slotKey{c.process, t.Addr(i), t.Level}] = t.Entries[i]
}

func (c *collector) Slot(t *pgtable.Table, i int, _ pgtable.Slot) error {
	if t.Entries[i] != 0 {
		c.put(t, i)
	}
	return nil
}

func (c *collector) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		if t.Entries[i] != 0 {
			c.put(t, i)
		}
	}
	return nil
}
