package audit

import (
	"cmp"
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// resolve reads all address spaces once more, if there are frames or slots whose uses do not go together, and names the
// places.
func (a *auditor) resolve() (*findingList, error) {
	list := a.newList()
	if a.clashes.n.Load() == 0 {
		return list, nil
	}
	spaces := slices.Clone(a.in.User)
	if a.in.Kernel != nil {
		spaces = append([]*addressSpace{a.in.Kernel}, spaces...)
	}
	found := make([][]clashPlace, len(spaces))
	err := a.with.Each(a.ctx, "looking for the places", len(spaces), func(i int) (err error) {
		found[i], err = a.clashesIn(spaces[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []clashKey
	groups := map[clashKey][]clashPlace{}
	n := 0
	for _, places := range found {
		for _, p := range places {
			if n++; n > 8*maxClashes {
				break
			}
			if groups[p.key] == nil {
				order = append(order, p.key)
			}
			groups[p.key] = append(groups[p.key], p)
		}
	}
	for _, kind := range []clashKind{clashLink, clashTable, clashPage, clashPoison, clashSlot} {
		var at []*finding
		for _, key := range order {
			if key.kind == kind {
				at = append(at, a.clash(groups[key])...)
			}
		}
		slices.SortStableFunc(at, func(x, y *finding) int {
			return cmp.Or(cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Space.num, y.Space.num), cmp.Compare(x.VA, y.VA))
		})
		for _, f := range at {
			list.add(f, nil)
		}
	}
	return list, nil
}

// clash makes findings of the places of one frame or slot.
func (a *auditor) clash(places []clashPlace) []*finding {
	switch places[0].key.kind {
	case clashLink:
		return []*finding{a.linkClash(places)}
	case clashTable:
		return eachPlace(places, func(p clashPlace) *finding {
			f := p.finding(rulePageTableMapped, "this frame is a page table, and can be written here", nil)
			if !p.writable {
				f.Severity, f.Text = sevWarning, "this frame is a page table, and can be read here"
			}
			return f
		})
	case clashPage:
		return holders(places, true, ruleSharedPrivatePage, "a private page, writable here, and mapped elsewhere too")
	case clashPoison:
		return holders(places, false, ruleHWPoisonMapped, "the frame has failed, and is mapped")
	}
	return holders(places, true, ruleExclusiveSwapShared, "says that no other entry names this slot, and another does")
}

func eachPlace(places []clashPlace, make func(clashPlace) *finding) []*finding {
	var all []*finding
	for _, p := range places {
		all = append(all, make(p))
	}
	return all
}

// holders makes a finding of every place that is a holder, or is not, and names the others with it.
func holders(places []clashPlace, holder bool, r ruleID, text string) []*finding {
	var all []*finding
	for i, p := range places {
		if p.holder == holder {
			all = append(all, p.finding(r, text, slices.Delete(slices.Clone(places), i, i+1)))
		}
	}
	return all
}

// linkClash makes a finding of a table that several entries lead to.
func (a *auditor) linkClash(places []clashPlace) *finding {
	at := min(1, len(places)-1)
	rule, text := ruleTableLinkedTwice, "leads to a table that another entry leads to"
	why := ""
	if at == 0 {
		text = "leads to a table that is a root"
	}
	for i, p := range places {
		if p.Space != places[0].Space && p.Space.num > 0 && places[0].Space.num > 0 {
			at, rule, text = i, ruleTableShared, "leads to a table of another process"
			break
		}
	}
	p := places[at]
	if rule == ruleTableShared && p.Level > a.in.ABI.Paging().Root() {
		text = "runs on the root table of another process"
	}
	if rule == ruleTableShared && !slices.ContainsFunc(places, func(p clashPlace) bool { return !p.huge }) {
		why = "hugetlb: processes that map the same gigabyte of a file share its PMD table (huge_pmd_share())"
	}
	f := p.finding(rule, text, slices.Delete(slices.Clone(places), at, at+1))
	f.Text += fmt.Sprintf(", in frame %#x", uint64(p.pfn))
	f.Explained, f.HasPFN = why, false
	return f
}

// finding makes a finding of a place.
func (p *clashPlace) finding(r ruleID, text string, others []clashPlace) *finding {
	f := &finding{
		place: p.place, Rule: r, Severity: rules[r].Severity, Size: max(p.size, x86.PageSize), Count: 1,
		PFN: p.pfn, HasPFN: p.key.kind != clashSlot, Region: p.region, Text: text,
	}
	for i, o := range others {
		if i == maxPlaces {
			f.OthersMore = len(others) - maxPlaces
			break
		}
		f.Others = append(f.Others, o.place)
	}
	return f
}
