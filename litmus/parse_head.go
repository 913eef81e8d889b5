package litmus

import "strings"

// line parses a line that has a word.
func (p *parser) line(l *line, text string) error {
	switch l.peek() {
	case "title", "source":
		return p.heading(l, text)
	case "kernels":
		l.next()
		c, err := parseCond(l)
		p.prog.Kernels = c
		return err
	case "policies":
		return p.policies(l)
	case "machine":
		return p.machine(l)
	}
	s, err := p.step(l)
	if err != nil {
		return err
	}
	p.prog.Steps = append(p.prog.Steps, s)
	return p.scope.step(&s)
}

// heading takes the rest of the line as it stands.
func (p *parser) heading(l *line, text string) error {
	key, rest := l.next(), ""
	if at := l.pos(); len(l.words) > 0 {
		rest = strings.TrimRight(text[at.Col-1:], " \t\r")
	}
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest = strings.TrimRight(rest[:i], " \t")
	}
	if rest == "" {
		return l.want("text")
	}
	if key == "source" {
		p.prog.Sources = append(p.prog.Sources, rest)
		return nil
	}
	if p.prog.Title != "" {
		return l.errorf("a second title")
	}
	p.prog.Title = rest
	return nil
}

func (p *parser) policies(l *line) error {
	l.next()
	if len(l.words) == 0 {
		return l.want("a policy")
	}
	for len(l.words) > 0 {
		pos := l.pos()
		name, kernel, at := strings.Cut(l.peek(), "@")
		if !isName(name) || at && !isRelease(kernel) {
			return l.want("a policy")
		}
		l.next()
		p.prog.Policies = append(p.prog.Policies, PolicyRun{name, kernel, pos})
	}
	return nil
}

// machineOptions is what a machine can be told to have.
var machineOptions = &verbSpec{name: "machine", options: opts(
	num("cpus", 16), num("nodes", 16), num("frames", 1<<18), num("slots", 1<<20), num("levels", 5), num("orders", 1<<9-1),
	num("shmem-order", 8), words(0, "huge-pages", "no-huge-zero", "swap-direct", "device-private", "translations-stay"))}

func (p *parser) machine(l *line) error {
	if len(p.prog.Steps) > 0 || p.prog.Machine != nil {
		return l.errorf("machine comes once, before the first step")
	}
	l.next()
	op := Op{Verb: "machine"}
	if err := parseOptions(l, machineOptions, &op); err != nil {
		return err
	}
	if len(l.words) > 0 {
		return l.want("something that a machine has")
	}
	if n := op.Num("levels", 4); n != 4 && n != 5 {
		return l.errorf("levels are 4 or 5")
	}
	p.prog.Machine = op.Options
	return nil
}
