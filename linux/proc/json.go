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
		out.Processes = append(out.Processes, processJSON{process.named(packName), spaces.number(process.MM)})
	}
	for _, m := range spaces.list {
		s := spaceJSON{MM: m}
		for i := range m.Areas {
			a := m.Areas[i]
			a.Name = packName(a.Name)
			s.Areas = append(s.Areas, areaJSON{&a, files.number(a.File)})
		}
		out.Spaces = append(out.Spaces, s)
	}
	for _, file := range files.list {
		packed := *file
		packed.Path = packName(file.Path)
		out.Files = append(out.Files, &packed)
	}
	if p.flags != nil {
		for _, c := range p.flags.codes {
			out.Flags = append(out.Flags, flagJSON{c.mask, c.code})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON replaces p by what the text says. What no search finds, such as areas that overlap, is an error.
func (p *Processes) UnmarshalJSON(text []byte) error {
	var in processesJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*p = Processes{Facts: in.Facts, Assumptions: in.Assumptions, Warnings: in.Warnings, flags: &flagSet{}}
	for _, f := range in.Flags {
		if !flagName(f.Code) {
			return fmt.Errorf("%.40q is no name of a flag", f.Code)
		}
		p.flags.codes = append(p.flags.codes, flagCode{f.Mask, f.Code})
	}
	spaces, err := in.spaces()
	if err != nil {
		return err
	}
	pids := map[int]bool{}
	for i, process := range in.Processes {
		if process.Process == nil || process.MM < 0 || process.MM > len(spaces) {
			return fmt.Errorf("process %d: no address space %d", i, process.MM)
		}
		one := process.named(unpackName)
		if err := one.check(); err != nil {
			return fmt.Errorf("process %d: %w", i, err)
		}
		if one.PID >= 0 && pids[one.PID] {
			return fmt.Errorf("process %d: PID %d is already that of another", i, one.PID)
		}
		pids[one.PID] = true
		one.MM = nil
		if process.MM > 0 {
			one.MM = spaces[process.MM-1]
		}
		p.List = append(p.List, one)
	}
	return nil
}

func (in *processesJSON) spaces() ([]*MM, error) {
	for i, file := range in.Files {
		if file == nil {
			return nil, fmt.Errorf("file %d: is none", i+1)
		}
		file.Path = unpackName(file.Path)
	}
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
			a.VMA.Name = unpackName(a.VMA.Name)
			s.MM.Areas = append(s.MM.Areas, *a.VMA)
		}
		if err := s.MM.check(); err != nil {
			return nil, fmt.Errorf("address space %d: %w", i+1, err)
		}
		spaces = append(spaces, s.MM)
	}
	return spaces, nil
}
