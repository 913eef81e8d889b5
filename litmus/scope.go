package litmus

import "fmt"

// scope is what lines so far have given names to.
type scope struct {
	regions   map[string]int // pages
	processes map[string]bool
	files     map[string]bool
	handles   map[string]bool
	marks     map[string]mark
}

// mark is pages whose frames are remembered.
type mark struct {
	region       string
	begin, pages int
}

// first returns which remembered page is to be compared with the first of p, n pages: pages are compared with themselves
// where they were remembered, and row by row where they are as many.
func (m mark) first(p Pages, n int) (int, bool) {
	if p.Region == m.region && p.First >= m.begin && p.First+n <= m.begin+m.pages {
		return p.First - m.begin, true
	}
	return 0, n == m.pages
}

func newScope() *scope {
	return &scope{
		regions: map[string]int{}, processes: map[string]bool{DefaultProcess: true}, files: map[string]bool{}, handles: map[string]bool{},
		marks: map[string]mark{},
	}
}

// step checks the names that a step uses, and adds those that it gives.
func (c *scope) step(s *Step) error {
	fail := func(format string, args ...any) error { return &Error{s.Pos, fmt.Sprintf(format, args...)} }
	if !c.processes[s.Proc()] {
		return fail("there is no process %s", s.Proc())
	}
	for _, p := range []Pages{s.Op.At, s.Op.To} {
		if err := c.pages(s.Pos, p); err != nil {
			return err
		}
	}
	if o, ok := s.Op.Option("of"); ok && !c.files[o.Arg] {
		return fail("there is no file %s", o.Arg)
	}
	if o, ok := s.Op.Option("behind"); ok && c.regions[o.Arg] == 0 {
		return fail("there is no region %s", o.Arg)
	}
	for i := range s.Items {
		if err := c.item(s, &s.Items[i]); err != nil {
			return err
		}
	}
	spec := verbByName[s.Op.Verb]
	for _, a := range spec.args {
		if err := c.give(s, a, fail); err != nil {
			return err
		}
	}
	return nil
}

// give checks or adds the name of an argument.
func (c *scope) give(s *Step, a argKind, fail func(string, ...any) error) error {
	name := s.Op.Name
	switch a {
	case argCount:
		if s.Op.Count == 0 && (s.Op.Verb == "map" || s.Op.Verb == "file") {
			return fail("%s of no pages", s.Op.Verb)
		}
		if s.Op.Verb == "map" {
			c.regions[name] = s.Op.Count
		}
	case argRegion:
		if s.Op.Verb == "remap" {
			c.regions[name] = int(s.Op.Num("pages", uint64(c.count(s.Op.At))))
		}
		if c.regions[name] == 0 && s.Op.Verb == "remap" {
			return fail("remap to no pages")
		}
	case argChild:
		if _, cpu := cpuNumber(name); cpu {
			return fail("%s is a processor", name)
		}
		c.processes[name] = true
	case argFile:
		c.files[name] = true
	case argOfFile:
		if !c.files[name] {
			return fail("there is no file %s", name)
		}
	case argHandle:
		c.handles[name] = true
	case argOfHandle:
		if !c.handles[name] {
			return fail("nothing was taken as %s", name)
		}
	case argMark:
		c.marks[name] = mark{s.Op.At.Region, s.Op.At.First, c.count(s.Op.At)}
	case argTo:
		if c.count(s.Op.At) != c.count(s.Op.To) {
			return fail("%d pages and %d", c.count(s.Op.At), c.count(s.Op.To))
		}
	}
	return nil
}

func (c *scope) count(p Pages) int {
	if p.Whole {
		return c.regions[p.Region]
	}
	return p.Last - p.First + 1
}

func (c *scope) pages(pos Pos, p Pages) error {
	if p.Region == "" {
		return nil
	}
	n := c.regions[p.Region]
	if n == 0 {
		return &Error{pos, fmt.Sprintf("there is no region %s", p.Region)}
	}
	if p.Last >= n {
		return &Error{pos, fmt.Sprintf("region %s has %d pages: 0 to %d", p.Region, n, n-1)}
	}
	return nil
}

func (c *scope) item(s *Step, it *Item) error {
	if it.Arg != "" {
		m, ok := c.marks[it.Arg]
		if !ok {
			return &Error{it.Pos, fmt.Sprintf("nothing is remembered as %s", it.Arg)}
		}
		n := c.count(s.Op.At)
		if _, ok := m.first(s.Op.At, n); !ok && m.pages != 1 {
			return &Error{it.Pos, fmt.Sprintf("%d pages are remembered as %s, and these %d are not among them", m.pages, it.Arg, n)}
		}
	}
	if it.Other.Region == "" {
		return nil
	}
	if it.Proc != "" && !c.processes[it.Proc] {
		return &Error{it.Pos, fmt.Sprintf("there is no process %s", it.Proc)}
	}
	if err := c.pages(it.Pos, it.Other); err != nil {
		return err
	}
	if n := c.count(it.Other); n != c.count(s.Op.At) && n != 1 {
		return &Error{it.Pos, fmt.Sprintf("%d pages are compared with %d", c.count(s.Op.At), n)}
	}
	return nil
}
