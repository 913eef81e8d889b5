package litmus

import "ptemu/arch/x86"

// firstRegion is where regions begin; each begins at a large page's address, with room between them.
const (
	firstRegion = x86.Virt(0x10000000)
	regionAlign = x86.Virt(x86.EntriesPerTable * x86.PageSize)
)

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
