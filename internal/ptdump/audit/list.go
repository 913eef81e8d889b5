package audit

// findingList collects the findings of one walk. Neighbours that break a rule alike become one finding.
type findingList struct {
	rules   *[ruleCount]bool
	all     []*finding
	last    [ruleCount]*finding   // of each rule
	area    [ruleCount]*auditArea // that the last lies in
	count   [ruleCount]int
	dropped map[ruleID]uint64
}

func (a *auditor) newList() *findingList { return &findingList{rules: &a.opt.Rules} }

// on reports whether a rule is looked for.
func (l *findingList) on(r ruleID) bool { return l.rules[r] }

// add takes a finding, which is merged with the last of its rule if that is its neighbour: it ends where this begins, or
// lies in the same area. area may be nil.
func (l *findingList) add(f *finding, area *auditArea) {
	if !l.rules[f.Rule] {
		return
	}
	if f.Explained != "" {
		f.Severity = sevNote
	}
	if last := l.last[f.Rule]; last != nil && alike(last, f) && f.VA >= last.VA &&
		(last.end()+1 == f.VA || area != nil && area == l.area[f.Rule]) {
		last.Size = uint64(f.VA-last.VA) + f.Size
		last.Count += f.Count
		return
	}
	if l.count[f.Rule] >= maxSpaceRule || len(l.all) >= maxSpaceAll {
		if l.dropped == nil {
			l.dropped = map[ruleID]uint64{}
		}
		l.dropped[f.Rule] += f.Count
		return
	}
	kept := *f
	l.all = append(l.all, &kept)
	l.last[f.Rule], l.area[f.Rule] = &kept, area
	l.count[f.Rule]++
}

// alike reports whether two findings of one rule say the same of different addresses.
func alike(a, b *finding) bool {
	if a.Space != b.Space || a.Level != b.Level || a.Severity != b.Severity || a.Text != b.Text || a.Explained != b.Explained ||
		a.Region != b.Region || a.Size == 0 || len(a.Others) != len(b.Others) {
		return false
	}
	for i := range a.Others {
		if a.Others[i].Space != b.Others[i].Space || a.Others[i].Level != b.Others[i].Level {
			return false
		}
	}
	return true
}
