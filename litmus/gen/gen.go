// Package gen makes random litmus programs.
//
// A program is a row of operations on a few regions, in one process and what it forks. It expects nothing: it is run on
// two machines, and what they do is compared. Names are always of things that exist; whether an operation succeeds
// is for the machines to say, and often it does not.
//
// What must always hold: the same seed and the same options give the same program.
package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"ptemu/litmus"
)

// Options say what programs are made of.
type Options struct {
	Steps int // operations after those that make regions; 0: 24
	// Has tells operations that the kernel offers; nil: all.
	Has func(op *litmus.Op) bool
	// Without names verbs, and advices as "advise cold", that are left out.
	Without []string
	Topic   Topic
}

// Topic is what a program is mostly about.
type Topic uint8

// The topics.
const (
	Mixed  Topic = iota
	Small        // small anonymous pages, fork, protections
	Huge         // huge pages
	Uffd         // userfaultfd
	Swap         // swapping, migration, aging
	Shared       // shared memory and files
	topics
)

var topicNames = [topics]string{"mixed", "small", "huge", "uffd", "swap", "shared"}

func (t Topic) String() string { return topicNames[t] }

// Topics returns all topics.
func Topics() (all []Topic) {
	for t := range topics {
		all = append(all, t)
	}
	return all
}

const (
	defaultSteps = 24
	smallPages   = 6
	hugePages    = 512
	maxProcesses = 3
	maxRegions   = 4
)

// region is a region as it was made, whatever became of it.
type region struct {
	name  string
	pages int
	huge  bool
}

// maker makes one program.
type maker struct {
	r         *rand.Rand
	o         Options
	prog      *litmus.Program
	regions   []region
	processes []string
	files     []string
	named     int
	uffd      map[string]bool
}

// Program makes the program of a seed.
func Program(seed uint64, o Options) *litmus.Program {
	if o.Steps == 0 {
		o.Steps = defaultSteps
	}
	m := &maker{
		r: rand.New(rand.NewPCG(seed, uint64(o.Topic))), o: o, processes: []string{litmus.DefaultProcess}, uffd: map[string]bool{},
		prog: &litmus.Program{Name: fmt.Sprintf("%v-%d", o.Topic, seed), Title: fmt.Sprintf("random program %d about %v", seed, o.Topic)},
	}
	m.prog.Machine = []litmus.Option{{Name: "swap-direct"}}
	m.begin()
	for made := 0; made < o.Steps; {
		if m.step() {
			made++
		}
	}
	return m.prog
}

// begin makes the first regions.
func (m *maker) begin() {
	n := 1 + m.r.IntN(2)
	for range n {
		m.newRegion()
	}
	if m.o.Topic == Uffd {
		m.openUffd(litmus.DefaultProcess)
		m.register(litmus.DefaultProcess, m.regions[0])
	}
}

// add appends a step, unless the kernel does not offer it.
func (m *maker) add(process string, op litmus.Op) bool {
	if m.o.Has != nil && !m.o.Has(&op) || slices.Contains(m.o.Without, op.Verb) {
		return false
	}
	if process == litmus.DefaultProcess {
		process = ""
	}
	line := len(m.prog.Steps) + 1
	m.prog.Steps = append(m.prog.Steps, litmus.Step{Pos: litmus.Pos{File: m.prog.Name, Line: line, Col: 1}, CPU: litmus.NoCPU, Process: process, Op: op})
	return true
}

func (m *maker) chance(percent int) bool { return m.r.IntN(100) < percent }

func pick[T any](m *maker, from []T) T { return from[m.r.IntN(len(from))] }

// name returns a name that is new.
func (m *maker) name(prefix string) string {
	m.named++
	return fmt.Sprintf("%s%d", prefix, m.named)
}

// word makes an option without a value.
func word(name string) litmus.Option { return litmus.Option{Name: name} }

// number makes an option with one.
func number(name string, n uint64) litmus.Option { return litmus.Option{Name: name, Num: n} }
