package litmus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseArgs takes the arguments of a verb that have their place.
func parseArgs(l *line, spec *verbSpec, op *Op) (err error) {
	for _, a := range spec.args {
		switch a {
		case argPages:
			op.At, err = parsePages(l)
		case argTo:
			op.To, err = parsePages(l)
		case argRegion:
			op.Name, err = l.name("a name for the region")
		case argChild:
			op.Name, err = l.name("a name for the child")
		case argFile, argOfFile:
			op.Name, err = l.name("the name of a file")
		case argHandle, argOfHandle, argMark:
			op.Name, err = l.name("a name")
		case argCount:
			op.Count, err = parseCount(l)
		case argProt:
			op.Prot, err = parseProt(l)
		case argWordTo, argWordAs:
			word := map[argKind]string{argWordTo: "to", argWordAs: "as"}[a]
			if !l.accept(word) {
				err = l.want(strconv.Quote(word))
			}
		case argAdvice:
			if !slices.Contains(advices, l.peek()) {
				return l.want("one of " + strings.Join(advices, ", "))
			}
			op.Options = append(op.Options, Option{Name: l.next()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseCount(l *line) (int, error) {
	n, err := l.number("a number of pages", maxPages)
	return int(n), err
}

// parseProt takes none, or some of rwx.
func parseProt(l *line) (string, error) {
	w := l.peek()
	if w != "none" && (w == "" || !subsequence(w, "rwx")) {
		return "", l.want("a protection: none, or some of rwx")
	}
	return l.next(), nil
}

// subsequence reports that s is all with letters left out.
func subsequence(s, all string) bool {
	for i := 0; i < len(s); i++ {
		at := strings.IndexByte(all, s[i])
		if at < 0 {
			return false
		}
		all = all[at+1:]
	}
	return true
}

// parsePages takes REGION [FIRST[-LAST]].
func parsePages(l *line) (p Pages, err error) {
	if p.Region, err = l.name("a region"); err != nil {
		return p, err
	}
	w := l.peek()
	if w == "" || w[0] < '0' || w[0] > '9' {
		p.Whole = true
		return p, nil
	}
	first, last, ranged := strings.Cut(w, "-")
	if p.First, err = pageNumber(l, first); err != nil {
		return p, err
	}
	p.Last = p.First
	if ranged {
		if p.Last, err = pageNumber(l, last); err != nil {
			return p, err
		}
	}
	if p.Last < p.First {
		return p, l.errorf("pages %s: the last comes before the first", w)
	}
	l.next()
	return p, nil
}

func pageNumber(l *line, s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n >= maxPages {
		return 0, l.want("a page, or pages as 0-3")
	}
	return int(n), nil
}

// parseOptions takes options as long as there are some, and puts them in the grammar's order.
func parseOptions(l *line, spec *verbSpec, op *Op) error {
	taken := map[uint8]string{}
	fixed := len(op.Options)
	for len(l.words) > 0 {
		i, ok := spec.option(l.peek())
		if !ok {
			break
		}
		o := spec.options[i]
		if op.Has(o.name) {
			return l.errorf("a second %q", o.name)
		}
		if other := taken[o.group]; o.group != 0 && other != "" {
			return l.errorf("%q and %q exclude each other", other, o.name)
		}
		taken[o.group] = o.name
		l.next()
		x := Option{Name: o.name}
		var err error
		switch o.kind {
		case optNum:
			x.Num, err = l.number("a number", o.limit)
		case optFile:
			x.Arg, err = l.name("a file")
		case optRegion:
			x.Arg, err = l.name("a region")
		}
		if err != nil {
			return err
		}
		op.Options = append(op.Options, x)
	}
	slices.SortStableFunc(op.Options[fixed:], func(a, b Option) int {
		i, _ := spec.option(a.Name)
		j, _ := spec.option(b.Name)
		return i - j
	})
	return nil
}

// offers lists the options of a verb, for errors.
func (s *verbSpec) offers() string {
	var names []string
	for _, o := range s.options {
		names = append(names, o.name)
	}
	if s.outcome&outcomeAccess != 0 {
		names = append(names, "faults", "fault", "no-fault")
	}
	if s.outcome&outcomeCall != 0 {
		names = append(names, "fails")
	}
	if s.name == "expect" {
		return ": what can be expected is listed in the reference"
	}
	return fmt.Sprintf(" (which takes %s)", strings.Join(append(names, "under"), ", "))
}

// items takes what is expected.
func (p *parser) items(l *line, s *Step) error {
	for len(l.words) > 0 && l.peek() != "under" {
		it, err := parseItem(l)
		if err != nil {
			return err
		}
		s.Items = append(s.Items, it)
	}
	if len(s.Items) == 0 {
		return l.want("what is expected")
	}
	return nil
}

func parseItem(l *line) (it Item, err error) {
	it.Pos = l.pos()
	it.Name, it.Not = strings.CutPrefix(l.peek(), "!")
	spec := itemByName[it.Name]
	if spec == nil {
		return it, l.errorf("%q is nothing that an entry can have", it.Name)
	}
	l.next()
	switch spec.kind {
	case itemNum:
		it.Num, err = l.number("a number", 1<<64-1)
	case itemMark:
		it.Arg, err = l.name("a name that remember gave")
	case itemPlace:
		if strings.HasSuffix(l.peek(), ":") {
			it.Proc = strings.TrimSuffix(l.peek(), ":")
			if !isName(it.Proc) {
				return it, l.want("a process")
			}
			l.next()
		}
		it.Other, err = parsePages(l)
	case itemList:
		it.List, err = parseList(l, spec.list)
	}
	return it, err
}

// parseList takes words with commas between, each with or without "!".
func parseList(l *line, known []string) ([]string, error) {
	if len(l.words) == 0 {
		return nil, l.want("a list")
	}
	list := strings.Split(l.peek(), ",")
	for _, w := range list {
		if !slices.Contains(known, strings.TrimPrefix(w, "!")) {
			return nil, l.errorf("%q is none of %s", w, strings.Join(known, ", "))
		}
	}
	l.next()
	return list, nil
}
