package ptdump

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

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

// spans returns what to walk, ascending and disjoint. Names that a capture has to explain are errors of p.
func (o *options) spans(p *places) ([]span, error) {
	half := span{0, lastVirt}
	switch {
	case o.user && o.kernelHalf:
		return nil, usage.Errorf("--user and --kernel-half together leave nothing out: give one or none")
	case o.user:
		half.last = lastUser
	case o.kernelHalf:
		half.first = firstKernel
	}
	var asked []span
	for _, r := range o.ranges {
		s, err := p.span(r)
		if err != nil {
			return nil, err
		}
		asked = append(asked, s)
	}
	for _, r := range o.regions {
		s, err := p.region(r)
		if err != nil {
			return nil, err
		}
		asked = append(asked, s...)
	}
	if len(o.ranges)+len(o.regions) == 0 {
		return []span{half}, nil
	}
	var spans []span
	for _, s := range asked {
		s.first, s.last = max(s.first, half.first), min(s.last, half.last)
		if s.first <= s.last {
			spans = append(spans, s)
		}
	}
	if len(spans) == 0 {
		return nil, usage.Errorf("no --range and no --region lies in the half that is asked for")
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

// span parses "A-B" (B excluded, may be missing for the end of the address space), "A+SIZE", and "A" for its page.
func (p *places) span(s string) (span, error) {
	i := strings.IndexAny(s, "-+")
	if i < 0 {
		va, err := p.address("--range", s)
		page := va &^ (x86.PageSize - 1)
		return span{page, page + (x86.PageSize - 1)}, err
	}
	first, err := p.address("--range", s[:i])
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
		case first+x86.Virt(size-1) < first:
			return span{}, usage.Errorf("--range %q: goes beyond the end of the address space", s)
		}
		return span{first, first + x86.Virt(size-1)}, nil
	}
	if rest == "" {
		return span{first, lastVirt}, nil
	}
	end, err := p.address("--range", rest)
	switch {
	case err != nil:
		return span{}, err
	case end <= first:
		return span{}, usage.Errorf("--range %q: ends where it starts, or before", s)
	}
	return span{first, end - 1}, nil
}

// matcher combines --kind and --where into one question, nil if neither is given; readsVA as in [Filter].
func (o *options) matcher(given *pflag.FlagSet) (match func(*x86.ABI) func(*tree.Leaf) bool, readsVA bool, err error) {
	var kinds map[tree.Kind]bool
	if given.Changed("kind") {
		if kinds, err = where.ParseKinds(o.kinds); err != nil {
			return nil, false, &usage.Error{Err: err}
		}
	}
	var expr *where.Expr
	if given.Changed("where") {
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
