package ptdump

import (
	"cmp"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/ptdump/where"
)

// span is a range of virtual addresses, both ends included.
type span struct{ first, last x86.Virt }

const (
	lastVirt             = ^x86.Virt(0)
	lastUser             = lastVirt / 2
	firstKernel x86.Virt = lastUser + 1
)

// spans returns what to walk, ascending and disjoint.
func (o *options) spans() ([]span, error) {
	half := span{0, lastVirt}
	switch {
	case o.user && o.kernelHalf:
		return nil, usage.Errorf("--user and --kernel-half together leave nothing out: give one or none")
	case o.user:
		half.last = lastUser
	case o.kernelHalf:
		half.first = firstKernel
	}
	if len(o.ranges) == 0 {
		return []span{half}, nil
	}
	var spans []span
	for _, r := range o.ranges {
		s, err := parseSpan(r)
		if err != nil {
			return nil, err
		}
		s.first, s.last = max(s.first, half.first), min(s.last, half.last)
		if s.first <= s.last {
			spans = append(spans, s)
		}
	}
	if len(spans) == 0 {
		return nil, usage.Errorf("no --range lies in the half that is asked for")
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	merged := spans[:1]
	for _, s := range spans[1:] {
		if last := &merged[len(merged)-1]; s.first <= last.last || s.first == last.last+1 {
			last.last = max(last.last, s.last)
		} else {
			merged = append(merged, s)
		}
	}
	return merged, nil
}

// parseSpan parses "A-B" (B excluded, may be missing for the end of the address space) and "A+SIZE".
func parseSpan(s string) (span, error) {
	i := strings.IndexAny(s, "-+")
	if i < 0 {
		return span{}, usage.Errorf("--range %q: want A-B or A+SIZE", s)
	}
	first, err := usage.Hex("--range", s[:i])
	if err != nil {
		return span{}, err
	}
	rest := s[i+1:]
	if s[i] == '+' {
		size, err := usage.Size(rest)
		switch {
		case err != nil:
			return span{}, err
		case size == 0:
			return span{}, usage.Errorf("--range %q: is empty", s)
		case first+(size-1) < first:
			return span{}, usage.Errorf("--range %q: goes beyond the end of the address space", s)
		}
		return span{x86.Virt(first), x86.Virt(first + (size - 1))}, nil
	}
	if rest == "" {
		return span{x86.Virt(first), lastVirt}, nil
	}
	end, err := usage.Hex("--range", rest)
	switch {
	case err != nil:
		return span{}, err
	case end <= first:
		return span{}, usage.Errorf("--range %q: ends where it starts, or before", s)
	}
	return span{x86.Virt(first), x86.Virt(end - 1)}, nil
}

// matcher combines --kind and --where into one question, nil if neither is given; readsVA as in [Filter].
func (o *options) matcher() (match func(*x86.ABI) func(*tree.Leaf) bool, readsVA bool, err error) {
	kinds := map[tree.Kind]bool{}
	for _, k := range o.kinds {
		if !slices.Contains(kindNames(), k) {
			return nil, false, usage.Errorf("--kind %q: want %s", k, strings.Join(kindNames(), ", "))
		}
		kinds[tree.Kind(k)] = true
	}
	var expr *where.Expr
	if o.where != "" {
		if expr, err = where.Parse(o.where); err != nil {
			return nil, false, &usage.Error{Err: err}
		}
		readsVA = expr.ReadsVA()
	}
	if expr == nil && len(kinds) == 0 {
		return func(*x86.ABI) func(*tree.Leaf) bool { return nil }, false, nil
	}
	return func(abi *x86.ABI) func(*tree.Leaf) bool {
		if expr == nil {
			return func(l *tree.Leaf) bool { return kinds[l.Kind] }
		}
		match := expr.Compile(abi)
		if len(kinds) == 0 {
			return match
		}
		return func(l *tree.Leaf) bool { return kinds[l.Kind] && match(l) }
	}, readsVA, nil
}
