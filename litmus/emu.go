package litmus

import (
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/mm"
)

// Emulator is package mm's machine as a [Target].
type Emulator struct {
	m       *mm.Machine
	spaces  map[string]*process
	files   map[string]*mm.File
	handles map[string]*mm.Pages

	tasks  map[int]*standing
	nodes  int
	faults map[int]int // page faults that each CPU has taken
	watch  func(mm.Event)
}

// process is an address space and the CPU that runs it.
type process struct {
	space *mm.Space
	cpu   int
	uffd  *mm.Uffd
	pkru  map[int]uint32 // by CPU: the register is switched with the process
}

// standing is an operation under way.
type standing struct {
	task *mm.Task
	out  Outcome
}

// NewEmulator makes the machine that the program asks for, with the first process.
func NewEmulator(p *Program, kernel, policy string) (*Emulator, error) {
	profile, err := mm.ProfileNamed(kernel)
	if err != nil {
		return nil, err
	}
	if policy != "" {
		h, err := mm.HistoricNamed(policy)
		if err != nil {
			return nil, err
		}
		h.Apply(&profile.Policy)
	}
	c := p.config(profile)
	m, err := mm.New(c)
	if err != nil {
		return nil, fmt.Errorf("%s: its machine cannot be made: %w", p.Name, err)
	}
	e := &Emulator{
		m: m, spaces: map[string]*process{}, files: map[string]*mm.File{}, handles: map[string]*mm.Pages{}, tasks: map[int]*standing{},
		faults: map[int]int{}, nodes: c.Nodes,
	}
	m.Watch(e.event)
	m.SetSwapDirect((&Op{Options: p.Machine}).Has("swap-direct"))
	s, err := m.NewSpace()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	e.spaces[DefaultProcess] = &process{space: s, pkru: map[int]uint32{}}
	return e, nil
}

// config is the machine that the program asks for.
func (p *Program) config(profile mm.Profile) mm.Config {
	c := mm.Config{Profile: profile, Nodes: 2}
	for _, o := range p.Machine {
		switch o.Name {
		case "cpus":
			c.CPUs = int(o.Num)
		case "nodes":
			c.Nodes = int(o.Num)
		case "frames":
			c.Frames = o.Num
		case "slots":
			c.Slots = o.Num
		case "levels":
			c.Paging = x86.DefaultPaging(int(o.Num))
		case "orders":
			c.Orders = uint(o.Num)
		case "shmem-order":
			c.ShmemOrder = uint8(o.Num)
		case "huge-pages":
			c.HugePages = true
		case "device-private":
			c.Profile.Kernel.DevicePrivate = true
		case "no-huge-zero":
			c.NoHugeZero = true
		}
	}
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Op.Verb == "device-exclusive" }) {
		c.Profile.Kernel.DevicePrivate = true // without, there are no such entries
	}
	return c
}

// Machine returns the machine.
func (e *Emulator) Machine() *mm.Machine { return e.m }

// Process returns the address space of a process, nil if there is none.
func (e *Emulator) Process(name string) *mm.Space {
	if p := e.spaces[name]; p != nil {
		return p.space
	}
	return nil
}

// Watch has f hear of the machine's events.
func (e *Emulator) Watch(f func(mm.Event)) { e.watch = f }

func (e *Emulator) event(ev mm.Event) {
	if ev.Kind == mm.EventFault {
		e.faults[ev.CPU]++
	}
	if e.watch != nil {
		e.watch(ev)
	}
}

// Close implements [Target].
func (e *Emulator) Close() error { return e.m.Close() }

// ABI implements [Target].
func (e *Emulator) ABI() *x86.ABI { return e.m.ABI() }

// on makes the process run on the CPU of a call.
func (e *Emulator) on(c *Call) (*process, *mm.CPU, error) {
	p := e.spaces[c.Process]
	if p == nil {
		return nil, nil, fmt.Errorf("there is no process %s any more", c.Process)
	}
	n := p.cpu
	if c.CPU != NoCPU {
		n = c.CPU
	}
	if n >= e.m.CPUs() {
		return nil, nil, fmt.Errorf("the machine has %d processors: say machine cpus %d", e.m.CPUs(), n+1)
	}
	cpu := e.m.CPU(n)
	if cpu.PKRU() != p.pkru[n] {
		if err := cpu.SetPKRU(p.pkru[n]); err != nil {
			return nil, nil, err
		}
	}
	if cpu.Space() == p.space {
		return p, cpu, nil
	}
	return p, cpu, cpu.Run(p.space)
}

// Do implements [Target].
func (e *Emulator) Do(c *Call) Outcome {
	p, cpu, err := e.on(c)
	if err != nil {
		return Outcome{Err: err}
	}
	before := e.faults[cpu.ID()]
	out := e.run(c, p, cpu)
	out.Taken = e.faults[cpu.ID()] - before
	return out
}

// Start implements [Target].
func (e *Emulator) Start(c *Call, until string) (bool, Outcome, error) {
	point, err := mm.PointNamed(until)
	if err != nil {
		return false, Outcome{}, err
	}
	p, cpu, err := e.on(c)
	if err != nil {
		return false, Outcome{}, err
	}
	s := &standing{}
	s.task = e.m.Go(cpu, func() {
		before := e.faults[cpu.ID()]
		out := e.run(c, p, cpu)
		out.Taken = e.faults[cpu.ID()] - before
		s.out = out
	})
	if s.task.RunTo(point) {
		e.tasks[cpu.ID()] = s
		return true, Outcome{}, nil
	}
	return false, s.out, nil
}

// Continue implements [Target].
func (e *Emulator) Continue(cpu int, until string) (bool, Outcome, error) {
	s := e.tasks[cpu]
	if s == nil {
		return false, Outcome{}, fmt.Errorf("nothing stands on cpu%d", cpu)
	}
	point := mm.PointNone
	if until != "" {
		p, err := mm.PointNamed(until)
		if err != nil {
			return false, Outcome{}, err
		}
		point = p
	}
	if point != mm.PointNone && !s.task.Done() && s.task.RunTo(point) {
		return true, Outcome{}, nil
	}
	s.task.Finish()
	delete(e.tasks, cpu)
	return false, s.out, nil
}
