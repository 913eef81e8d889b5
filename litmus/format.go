package litmus

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns the program as text that Parse reads back: one line a step, in canonical form.
func (p *Program) String() string {
	var b strings.Builder
	head := func(key, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-8s %s\n", key, text)
		}
	}
	head("title", p.Title)
	for _, s := range p.Sources {
		head("source", s)
	}
	head("kernels", p.Kernels.String())
	var runs []string
	for _, r := range p.Policies {
		if r.Kernel != "" {
			r.Policy += "@" + r.Kernel
		}
		runs = append(runs, r.Policy)
	}
	head("policies", strings.Join(runs, " "))
	if len(p.Machine) > 0 {
		head("machine", strings.Join(appendOptions(nil, machineOptions, p.Machine), " "))
	}
	for i := range p.Steps {
		b.WriteString(p.Steps[i].String())
		b.WriteByte('\n')
	}
	return b.String()
}

// String returns the step as a line.
func (s *Step) String() string {
	var w []string
	if s.CPU != NoCPU {
		w = append(w, fmt.Sprintf("cpu%d:", s.CPU))
	}
	if s.Process != "" {
		w = append(w, s.Process+":")
	}
	if s.Start {
		w = append(w, "start")
	}
	w = append(w, fmt.Sprintf("%-7s", s.Op.Verb))
	w = s.Op.appendWords(w)
	for i := range s.Items {
		w = s.Items[i].appendWords(w)
	}
	for _, x := range []struct{ key, value string }{{"faults", s.Faults}, {"fails", s.Fails}, {"until", s.Until}} {
		if x.value != "" {
			w = append(w, x.key, x.value)
		}
	}
	switch s.Taken {
	case Wanted:
		w = append(w, "fault")
	case Unwanted:
		w = append(w, "no-fault")
	}
	if len(s.Under) > 0 {
		w = append(w, "under", s.Under.String())
	}
	return strings.TrimRight(strings.Join(w, " "), " ")
}

func (p Pages) String() string {
	switch {
	case p.Whole:
		return p.Region
	case p.First == p.Last:
		return fmt.Sprintf("%s %d", p.Region, p.First)
	}
	return fmt.Sprintf("%s %d-%d", p.Region, p.First, p.Last)
}

func (o *Op) appendWords(w []string) []string {
	spec := verbByName[o.Verb]
	for _, a := range spec.args {
		switch a {
		case argPages:
			w = append(w, o.At.String())
		case argTo:
			w = append(w, o.To.String())
		case argCount:
			w = append(w, strconv.Itoa(o.Count))
		case argProt:
			w = append(w, o.Prot)
		case argWordTo:
			w = append(w, "to")
		case argWordAs:
			w = append(w, "as")
		case argAdvice: // among the options
		default:
			w = append(w, o.Name)
		}
	}
	return appendOptions(w, spec, o.Options)
}

func appendOptions(w []string, spec *verbSpec, options []Option) []string {
	for _, o := range options {
		w = append(w, o.Name)
		i, ok := spec.option(o.Name)
		if !ok {
			continue
		}
		switch spec.options[i].kind {
		case optNum:
			w = append(w, strconv.FormatUint(o.Num, 10))
		case optFile, optRegion:
			w = append(w, o.Arg)
		}
	}
	return w
}

func (it *Item) appendWords(w []string) []string {
	name := it.Name
	if it.Not {
		name = "!" + name
	}
	w = append(w, name)
	switch itemByName[it.Name].kind {
	case itemNum:
		if it.Name == "value" || it.Name == "vm-page-prot" {
			return append(w, fmt.Sprintf("0x%016x", it.Num))
		}
		return append(w, strconv.FormatUint(it.Num, 10))
	case itemMark:
		return append(w, it.Arg)
	case itemPlace:
		if it.Proc != "" {
			w = append(w, it.Proc+":")
		}
		return append(w, it.Other.String())
	case itemList:
		return append(w, strings.Join(it.List, ","))
	}
	return w
}
