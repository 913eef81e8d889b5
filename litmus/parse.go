package litmus

import (
	"fmt"
	"slices"
	"strings"
)

// maxSteps is the number of steps that a file has at most.
const maxSteps = 10000

// Parse reads a program. file is what errors call it. The error is an *Error.
func Parse(file, text string) (*Program, error) {
	p := &parser{prog: &Program{Name: baseName(file)}, scope: newScope()}
	no := 0
	for text := range strings.SplitSeq(text, "\n") {
		no++
		if len(text) > maxLine {
			return nil, &Error{Pos{file, no, maxLine}, "the line is too long"}
		}
		l := splitLine(file, no, text)
		if len(l.words) == 0 {
			continue
		}
		if err := p.line(&l, text); err != nil {
			return nil, err
		}
		if len(p.prog.Steps) > maxSteps {
			return nil, &Error{Pos{file, no, 1}, fmt.Sprintf("more than %d steps", maxSteps)}
		}
	}
	if !slices.ContainsFunc(p.prog.Steps, func(s Step) bool { return s.expects() }) {
		return nil, &Error{Pos{file, no, 1}, "nothing is expected"}
	}
	return p.prog, nil
}

// baseName is the file's name without folder and extension.
func baseName(file string) string {
	file = file[strings.LastIndexByte(file, '/')+1:]
	return strings.TrimSuffix(file, Ext)
}

// expects reports that the step can fail because something is not as expected.
func (s *Step) expects() bool {
	read := s.Op.Verb == "read" || s.Op.Verb == "device-read" || s.Op.Verb == "file-read"
	return s.Op.Verb == "expect" || s.Faults != "" || s.Fails != "" || s.Taken != Whatever || read && s.Op.Has("=")
}

type parser struct {
	prog  *Program
	scope *scope
}

// step parses [cpuN:] [PROCESS:] [start] VERB ... .
func (p *parser) step(l *line) (Step, error) {
	s := Step{CPU: NoCPU}
	for strings.HasSuffix(l.peek(), ":") {
		if err := s.prefix(l); err != nil {
			return s, err
		}
	}
	s.Pos = l.pos()
	s.Start = l.accept("start")
	spec := verbByName[l.peek()]
	if spec == nil {
		return s, l.errorf("%q is no operation%s", l.peek(), suggest(l.peek()))
	}
	if s.Start && !spec.mayStop {
		return s, l.errorf("%s cannot be stopped", spec.name)
	}
	l.next()
	s.Op.Verb = spec.name
	if err := parseArgs(l, spec, &s.Op); err != nil {
		return s, err
	}
	if spec.name == "expect" {
		if err := p.items(l, &s); err != nil {
			return s, err
		}
	}
	if err := parseOptions(l, spec, &s.Op); err != nil {
		return s, err
	}
	if err := s.tail(l, spec); err != nil {
		return s, err
	}
	if len(l.words) > 0 {
		return s, l.errorf("%q does not belong to %s%s", l.peek(), spec.name, spec.offers())
	}
	return s, nil
}

// prefix takes "cpu1:" or "q:".
func (s *Step) prefix(l *line) error {
	name := strings.TrimSuffix(l.peek(), ":")
	if n, ok := cpuNumber(name); ok {
		if s.CPU != NoCPU {
			return l.errorf("a second processor")
		}
		s.CPU = n
	} else {
		if s.Process != "" || !isName(name) {
			return l.want("a process")
		}
		s.Process = name
	}
	l.next()
	return nil
}

// cpuNumber reads "cpu0" to "cpu15".
func cpuNumber(s string) (n int, ok bool) {
	digits, is := strings.CutPrefix(s, "cpu")
	if !is || digits == "" || len(digits) > 2 || len(digits) == 2 && digits[0] == '0' {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n < 16
}

// tail takes what comes of the operation, where it stops, and when the line counts.
func (s *Step) tail(l *line, spec *verbSpec) error {
	for {
		switch word := l.peek(); {
		case word == "faults" && spec.outcome&outcomeAccess != 0 && s.Faults == "":
			l.next()
			if s.Faults = l.peek(); !slices.Contains(faultNames, s.Faults) {
				return l.want("one of " + strings.Join(faultNames, ", "))
			}
			l.next()
		case (word == "fault" || word == "no-fault") && spec.outcome&outcomeAccess != 0 && s.Taken == Whatever:
			s.Taken = Wanted
			if l.next() == "no-fault" {
				s.Taken = Unwanted
			}
		case word == "fails" && spec.outcome&outcomeCall != 0 && s.Fails == "":
			l.next()
			if s.Fails = l.peek(); !slices.Contains(errnoNames, s.Fails) {
				return l.want("one of " + strings.Join(errnoNames, ", "))
			}
			l.next()
		case word == "until" && (s.Start || spec.name == "continue") && s.Until == "":
			l.next()
			name, err := l.name("a point")
			if err != nil {
				return err
			}
			s.Until = name
		case word == "under":
			l.next()
			c, err := parseCond(l)
			s.Under = c
			return err
		default:
			return s.complete(l)
		}
	}
}

// complete checks what belongs together.
func (s *Step) complete(l *line) error {
	switch {
	case s.Start && s.Until == "":
		return l.want("until POINT")
	case s.Faults != "" && s.Fails != "":
		return l.errorf("faults and fails exclude each other")
	case s.Fails+s.Faults != "" && s.Taken != Whatever:
		return l.errorf("an access is refused, or it succeeds with or without a fault")
	}
	return nil
}
