package proc

import (
	"encoding/json"
	"fmt"

	"ptemu/linux"
)

// What follows is [Processes] as JSON. Address spaces and files that are shared are listed once and named by number.

type processesJSON struct {
	Processes   []processJSON
	Spaces      []spaceJSON
	Files       []*File
	Flags       []flagJSON
	Facts       []linux.Finding
	Assumptions []linux.Finding
	Warnings    []string
}

type processJSON struct {
	*Process
	MM int `json:",omitempty"` // number of the space, from 1
}

type spaceJSON struct {
	*MM
	Areas []areaJSON
}

type areaJSON struct {
	*VMA
	File int `json:",omitempty"` // number of the file, from 1
}

type flagJSON struct {
	Mask uint64
	Code string
}

// numbering gives pointers numbers from 1, nil 0.
type numbering[T any] struct {
	of   map[*T]int
	list []*T
}

func (n *numbering[T]) number(p *T) int {
	if p == nil {
		return 0
	}
	i, ok := n.of[p]
	if !ok {
		if n.of == nil {
			n.of = map[*T]int{}
		}
		n.list = append(n.list, p)
		i = len(n.list)
		n.of[p] = i
	}
	return i
}

// MarshalJSON makes a text from which [Processes.UnmarshalJSON] makes the same.
func (p *Processes) MarshalJSON() ([]byte, error) {
	out := processesJSON{Facts: p.Facts, Assumptions: p.Assumptions, Warnings: p.Warnings}
	var spaces numbering[MM]
	var files numbering[File]
	for _, process := range p.List {
		out.Processes = append(out.Processes, processJSON{process, spaces.number(process.MM)})
	}
	for _, m := range spaces.list {
		s := spaceJSON{MM: m}
		for i := range m.Areas {
			s.Areas = append(s.Areas, areaJSON{&m.Areas[i], files.number(m.Areas[i].File)})
		}
		out.Spaces = append(out.Spaces, s)
	}
	out.Files = files.list
	if p.flags != nil {
		for _, c := range p.flags.codes {
			out.Flags = append(out.Flags, flagJSON{c.mask, c.code})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON replaces p by what the text says.
func (p *Processes) UnmarshalJSON(text []byte) error {
	var in processesJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*p = Processes{Facts: in.Facts, Assumptions: in.Assumptions, Warnings: in.Warnings, flags: &flagSet{}}
	for _, f := range in.Flags {
		p.flags.codes = append(p.flags.codes, flagCode{f.Mask, f.Code})
	}
	spaces, err := in.spaces()
	if err != nil {
		return err
	}
	for i, process := range in.Processes {
		if process.Process == nil || process.MM < 0 || process.MM > len(spaces) {
			return fmt.Errorf("process %d: no address space %d", i, process.MM)
		}
		process.Process.MM = nil
		if process.MM > 0 {
			process.Process.MM = spaces[process.MM-1]
		}
		p.List = append(p.List, process.Process)
	}
	return nil
}

func (in *processesJSON) spaces() ([]*MM, error) {
	spaces := make([]*MM, 0, len(in.Spaces))
	for i, s := range in.Spaces {
		if s.MM == nil {
			s.MM = &MM{}
		}
		s.MM.Areas = make([]VMA, 0, len(s.Areas))
		for _, a := range s.Areas {
			if a.VMA == nil || a.File < 0 || a.File > len(in.Files) {
				return nil, fmt.Errorf("address space %d: no file %d", i+1, a.File)
			}
			a.VMA.File = nil
			if a.File > 0 {
				a.VMA.File = in.Files[a.File-1]
			}
			s.MM.Areas = append(s.MM.Areas, *a.VMA)
		}
		spaces = append(spaces, s.MM)
	}
	return spaces, nil
}
