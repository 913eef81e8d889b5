package litmus

import (
	"slices"

	"ptemu/arch/x86"
)

// firstRegion is where regions begin; each begins at a large page's address, with room between them. With five levels they
// lie beyond what four reach.
const (
	firstRegion = x86.Virt(0x10000000)
	beyondFour  = x86.Virt(1 << 48)
	regionAlign = x86.Virt(x86.EntriesPerTable * x86.PageSize)
)

// WithLevels returns the program for a machine with so many levels of tables; p itself if it says how many it wants.
func (p *Program) WithLevels(n int) *Program {
	if op := (Op{Options: p.Machine}); n == 0 || op.Has("levels") {
		return p
	}
	q := *p
	q.Machine = append(slices.Clone(p.Machine), Option{Name: "levels", Num: uint64(n)})
	return &q
}

// Places gives every region its addresses: those of the largest that bears the name.
func (p *Program) Places() map[string]Span {
	size, behind, order := map[string]int{}, map[string]string{}, []string{}
	add := func(name string, n int, after string) {
		if _, known := size[name]; !known {
			order = append(order, name)
			behind[name] = after
		}
		size[name] = max(size[name], n)
	}
	for i := range p.Steps {
		switch op := &p.Steps[i].Op; op.Verb {
		case "map":
			after, _ := op.Option("behind")
			add(op.Name, op.Count, after.Arg)
		case "remap":
			n := op.At.Last - op.At.First + 1
			if op.At.Whole {
				n = size[op.At.Region]
			}
			add(op.Name, int(op.Num("pages", uint64(n))), "")
		}
	}
	at, next := map[string]Span{}, firstRegion
	if machine := (Op{Options: p.Machine}); machine.Num("levels", 4) == 5 {
		next += beyondFour
	}
	for _, name := range order {
		if other, ok := at[behind[name]]; ok {
			at[name] = Span{other.VA + x86.Virt(other.Bytes()), size[name]}
		} else {
			at[name] = Span{next, size[name]}
		}
		end := at[name].VA + x86.Virt(at[name].Bytes())
		next = max(next, (end+regionAlign-1)&^(regionAlign-1)+regionAlign)
	}
	return at
}
