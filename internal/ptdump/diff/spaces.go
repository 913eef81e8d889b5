package diff

import (
	"cmp"
	"context"
	"slices"

	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
)

// Pair is an address space of one capture and what it is in the other.
type Pair struct {
	Before, After *space.Space
	// Process is nil for the kernel's own space and where only root tables are known.
	Process *proc.Process
	// Kernel says that it is the kernel's.
	Kernel bool
	// Event is "new", "gone" or "exited" for a process that one of the captures does not have, or only its remains; there is
	// nothing to compare then.
	Event string
}

// processKey tells processes apart: a process whose PID another one has taken has another task.
type processKey struct {
	task uint64
	pid  int
}

func keyOfProcess(p *proc.Process) processKey {
	if p.Task == 0 && p.MM != nil {
		return processKey{uint64(p.MM.Roots.Kernel), p.PID}
	}
	return processKey{uint64(p.Task), p.PID}
}

// Pairs finds for every process what it is in the other capture. The kernel comes first, then processes by PID.
func Pairs(before, after *space.Machine, user, kernelHalf bool) []Pair {
	var pairs []Pair
	if !user && before.Kernel != nil && after.Kernel != nil {
		pairs = append(pairs, Pair{Before: before.Kernel, After: after.Kernel, Kernel: true})
	}
	if kernelHalf {
		return pairs
	}
	later := map[processKey]*proc.Process{}
	for _, p := range after.Procs.List {
		later[keyOfProcess(p)] = p
	}
	was, is := spacesByMM(before), spacesByMM(after)
	type both struct{ before, after *space.Space }
	done := map[both]bool{}
	var processes []Pair
	for _, p := range before.Procs.List {
		q := later[keyOfProcess(p)]
		delete(later, keyOfProcess(p))
		pair := Pair{Process: p}
		switch {
		case q == nil:
			pair.Event = "gone"
		case p.MM == nil && q.MM == nil:
			continue
		case q.MM == nil:
			pair.Event = "exited"
		case p.MM == nil:
			pair.Event = "new"
		default:
			pair.Before, pair.After = was[p.MM], is[q.MM]
			if done[both{pair.Before, pair.After}] {
				continue
			}
			done[both{pair.Before, pair.After}] = true
		}
		processes = append(processes, pair)
	}
	for _, p := range later {
		processes = append(processes, Pair{Process: p, Event: "new"})
	}
	slices.SortStableFunc(processes, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.Process.Task, b.Process.Task))
	})
	return append(pairs, processes...)
}

func spacesByMM(m *space.Machine) map[*proc.MM]*space.Space {
	of := map[*proc.MM]*space.Space{}
	for _, s := range m.User {
		of[s.MM] = s
	}
	return of
}

// spaceDiff is what is different in one space: neighbours that changed alike are one.
type spaceDiff struct {
	Pair
	Differences []difference
	// Counts is how many entries changed in each way.
	Counts [changeCount]uint64
	// Entries is how many changed at all; Problems, how many parts could not be compared.
	Entries, Problems uint64
}

// Options say what counts as a change.
type Options struct {
	Ignore, Only change // only 0: all; a process that came or went is a change of its own
	Filters      []tree.Filter
	Entries      bool // do not merge
}

// diff compares a pair. What is merged is kept; with opt.entries each is handed to sink.
func (p Pair) diff(ctx context.Context, opt Options, sink func(*spaceDiff, *difference) error) (*spaceDiff, error) {
	out := &spaceDiff{Pair: p}
	if p.Event != "" {
		if c := changeProcess &^ opt.Ignore; c == 0 || opt.Only != 0 && c&opt.Only == 0 {
			out.Event = ""
		}
		return out, nil
	}
	for _, f := range opt.Filters {
		switch {
		case p.Process != nil:
			f.Last = min(f.Last, p.Before.UserHalf().Last)
		case p.Kernel:
			f.First = max(f.First, p.Before.ABI.Paging().KernelHalf())
		}
		if f.First > f.Last {
			continue
		}
		err := diffTrees(p.Before.Tree, p.After.Tree, f, opt.Ignore, func(d *difference) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if d.Problem == nil && opt.Only != 0 && d.Changes&opt.Only == 0 {
				return nil
			}
			out.count(d)
			if opt.Entries {
				return sink(out, d)
			}
			out.merge(d)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *spaceDiff) count(d *difference) {
	if d.Problem != nil {
		s.Problems++
		return
	}
	s.Entries++
	for i := range changeNames {
		if d.Changes>>i&1 != 0 {
			s.Counts[i]++
		}
	}
}

// merge adds a difference, to the last one if it continues that.
func (s *spaceDiff) merge(d *difference) {
	if n := len(s.Differences); n > 0 {
		last := &s.Differences[n-1]
		if last.Problem == nil && d.Problem == nil && uint64(last.VA)+last.Size == uint64(d.VA) && last.Changes == d.Changes &&
			changedAlike(&last.Before, &d.Before) && changedAlike(&last.After, &d.After) {
			last.Size += d.Size
			last.Entries++
			return
		}
	}
	s.Differences = append(s.Differences, *d)
}

// changedAlike reports whether two entries look the same to a reader, but for where they point.
func changedAlike(a, b *tree.Leaf) bool {
	return a.Kind == b.Kind && a.Level == b.Level && a.Rights == b.Rights && a.Swap.Marker == b.Swap.Marker && a.Swap.Type == b.Swap.Type
}
