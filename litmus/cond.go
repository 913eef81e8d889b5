package litmus

import (
	"slices"
	"strconv"
	"strings"
)

// anyRelease is the condition that no historic policy is in force.
const anyRelease = "releases"

// parseCond takes the rest of the line: alternatives, with commas or spaces between.
func parseCond(l *line) (Cond, error) {
	var c Cond
	for len(l.words) > 0 {
		pos := l.pos()
		w := strings.TrimSuffix(l.peek(), ",")
		for part := range strings.SplitSeq(w, ",") {
			t, ok := parseTerm(part)
			if !ok {
				return nil, l.want("a release, releases, or a policy")
			}
			t.Pos = pos
			pos.Col += len(part) + 1
			c = append(c, t)
		}
		l.next()
	}
	if len(c) == 0 {
		return nil, l.want("a release or policy")
	}
	return c, nil
}

func parseTerm(s string) (t Term, ok bool) {
	for _, op := range []string{">=", "<=", ">", "<"} {
		if rest, found := strings.CutPrefix(s, op); found {
			return Term{Op: op, Name: rest}, isRelease(rest)
		}
	}
	if isRelease(s) || s == anyRelease {
		return Term{Name: s}, true
	}
	return Term{Name: s, policy: true}, isName(s)
}

// isRelease recognises "6.12", and "6.12.111", a stable update.
func isRelease(s string) bool {
	parts := strings.Split(s, ".")
	return (len(parts) == 2 || len(parts) == 3) && !slices.ContainsFunc(parts, func(s string) bool { return !isNumber(s) })
}

// isUpdate recognises "6.12.111".
func isUpdate(s string) bool { return strings.Count(s, ".") == 2 }

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// compareReleases orders "6.1" before "6.12", and that before "6.12.111".
func compareReleases(a, b string) int {
	split := func(s string) (v [3]int) {
		for i, part := range strings.SplitN(s, ".", len(v)) {
			v[i], _ = strconv.Atoi(part)
		}
		return v
	}
	x, y := split(a), split(b)
	return slices.Compare(x[:], y[:])
}

// Release returns the numbers of a kernel's full release: "6.12.117" of "6.12.117+deb13-amd64".
func Release(full string) string {
	end := strings.IndexFunc(full, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		return full
	}
	return full[:end]
}

// holds reports whether one of the alternatives holds; none at all do.
func (c Cond) holds(kernel, policy string) bool {
	return len(c) == 0 || slices.ContainsFunc(c, func(t Term) bool { return t.holds(kernel, policy) })
}

func (t Term) holds(kernel, policy string) bool {
	switch {
	case t.Name == anyRelease:
		return policy == ""
	case t.policy:
		return t.Name == policy
	}
	if isUpdate(t.Name) && t.Op == "" { // this update of the release, and later ones
		return minor(kernel) == minor(t.Name) && compareReleases(kernel, t.Name) >= 0
	}
	if !isUpdate(t.Name) {
		kernel = minor(kernel)
	}
	d := compareReleases(kernel, t.Name)
	switch t.Op {
	case ">=":
		return d >= 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	case "<":
		return d < 0
	}
	return d == 0
}

// minor returns "6.12" of "6.12.111".
func minor(release string) string {
	parts := strings.SplitN(release, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// isFor reports whether the condition holds because it names an update that the kernel has.
func (c Cond) isFor(kernel string) bool {
	return slices.ContainsFunc(c, func(t Term) bool { return t.Op == "" && isUpdate(t.Name) && t.holds(kernel, "") })
}

// names reports whether the condition names the policy.
func (c Cond) names(policy string) bool {
	return slices.ContainsFunc(c, func(t Term) bool { return t.policy && t.Name == policy })
}

func (c Cond) String() string {
	var s []string
	for _, t := range c {
		s = append(s, t.Op+t.Name)
	}
	return strings.Join(s, ",")
}

// Applies reports for each step whether it counts on a kernel, with a historic policy in force or "".
//
// Lines that follow one another and do the same to the same place are a group. Where a line of the group names the
// policy in force, those that do not name it do not count. Where one names a stable update that the kernel has, lines with
// other conditions do not. All others count if their condition holds.
func (p *Program) Applies(kernel, policy string) []bool {
	counts := make([]bool, len(p.Steps))
	for i := 0; i < len(p.Steps); {
		end := i + 1
		for end < len(p.Steps) && p.Steps[i].sameGroup(&p.Steps[end]) {
			end++
		}
		named := policy != "" && slices.ContainsFunc(p.Steps[i:end], func(s Step) bool { return s.Under.names(policy) })
		updated := !named && slices.ContainsFunc(p.Steps[i:end], func(s Step) bool { return s.Under.isFor(kernel) })
		for ; i < end; i++ {
			u := p.Steps[i].Under
			counts[i] = u.holds(kernel, policy) && (!named || u.names(policy)) && (!updated || len(u) == 0 || u.isFor(kernel))
		}
	}
	return counts
}

// sameGroup reports that two steps do the same to the same place.
func (s *Step) sameGroup(o *Step) bool {
	return s.Op.Verb == o.Op.Verb && s.CPU == o.CPU && s.Proc() == o.Proc() && s.Op.At == o.Op.At && s.Op.Name == o.Op.Name
}
