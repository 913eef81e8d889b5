package who

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// maxExtents bounds what is held at a time: some 300 MiB. A capture that has more is turned around in several walks.
const maxExtents = 6 << 20

// frameRange is frames that the same address spaces map with the same rights.
type frameRange struct {
	first, end x86.PFN
	users      frameUsers
	parts      []uint32 // those that map it, ascending, each once
	more       bool     // and others
}

// frameUsers counts what maps a frame.
type frameUsers struct {
	user, kernel, notPresent uint64
	direct, takenOut         uint64 // by the direct map, and by what is not present there
	writable, executable     uint64
	rights                   extentFlags
	processes                int
	sum                      uint64 // of hashes of who and how: equal for equal users
}

func (u *frameUsers) mappings() uint64 { return u.user + u.kernel }

// EveryFrame writes the frames that are mapped, ascending.
func (s *Search) EveryFrame(ctx context.Context, to Output) error {
	parts := partsOf(s.Spaces, s.UserOnly)
	out := newFrameWriter(ctx, to, parts)
	end := uint64(maxPhys / x86.PageSize)
	ram := uint64(1)
	if r := s.Tree.Mem.Ranges(); len(r) > 0 {
		ram = uint64(r[len(r)-1].End.PFN())
	}
	sweep := newSweep(parts, out)
	first := true
	for at, last := uint64(0), end-1; at < end; {
		extents, err := s.collectExtents(ctx, parts, interval{at, last}, first)
		if errors.Is(err, errTooMany) {
			if at == last {
				return fmt.Errorf("frame %#x is mapped more than %d times", at, maxExtents)
			}
			last = halve(at, last, ram)
			continue
		}
		if err != nil {
			return err
		}
		first = false
		if err := sweep.run(ctx, extents); err != nil {
			return err
		}
		size := last - at
		at = last + 1
		if last = end - 1; at < ram {
			last = min(ram-1, at+size) // as much again
		}
	}
	if err := sweep.flush(); err != nil {
		return err
	}
	return out.close()
}

// halve returns an earlier end for frames at to last: first that of RAM, then half of it.
func halve(at, last, ram uint64) uint64 {
	if ram > at && ram-1 < last {
		return ram - 1
	}
	return at + (last-at)/2
}

// collectExtents walks all parts and returns what they map, sorted. Problems are counted if they are new.
func (s *Search) collectExtents(ctx context.Context, parts []treePart, window interval, report bool) ([]extent, error) {
	pile := &extentPile{window: window}
	pile.room.Store(cmp.Or(s.most, maxExtents))
	problems := make([][]pgtable.Problem, len(parts))
	err := s.Workers.Each(ctx, "collecting", len(parts), func(i int) (err error) {
		problems[i], err = parts[i].extents(ctx, pile, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, list := range problems {
		for i := range list {
			if report {
				s.Tally.Problem(&list[i])
			}
		}
	}
	return pile.sorted(), nil
}

// sweep goes through the frames with the extents that hold each.
type sweep struct {
	out    *frameWriter
	parts  []treePart
	active activeExtents
	users  frameUsers
	byPart []uint64 // places in processes that name the frame at hand, by part
	last   frameRange
	some   bool // last holds
	// What stands for each part, and for each combination of flags, in the sum of a frame.
	hashes     []uint64
	flagHashes [1 << 6]uint64
}

func newSweep(parts []treePart, out *frameWriter) *sweep {
	s := &sweep{parts: parts, out: out, byPart: make([]uint64, len(parts)), hashes: make([]uint64, len(parts))}
	for i := range s.hashes {
		s.hashes[i] = rand.Uint64()
	}
	for i := range s.flagHashes {
		s.flagHashes[i] = rand.Uint64() | 1
	}
	return s
}

// run goes through the extents of a window. The last range is kept, for it may go on in the next one.
func (s *sweep) run(ctx context.Context, all []extent) error {
	for n := 0; len(all) > 0 || len(s.active) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at := x86.PFN(^uint64(0))
		if len(s.active) > 0 {
			at = s.active[0].end()
		}
		if len(all) > 0 {
			at = min(at, all[0].first)
		}
		for len(s.active) > 0 && s.active[0].end() == at {
			e := s.active.pop()
			s.count(e, -uint64(e.times))
		}
		for len(all) > 0 && all[0].first == at {
			s.count(&all[0], uint64(all[0].times))
			s.active.push(&all[0])
			all = all[1:]
		}
		end := x86.PFN(^uint64(0))
		if len(s.active) > 0 {
			end = s.active[0].end()
		}
		if len(all) > 0 {
			end = min(end, all[0].first)
		}
		if err := s.frames(at, end); err != nil {
			return err
		}
	}
	return nil
}

// count adds n mappings like e to those of the frame at hand; n may be negative.
func (s *sweep) count(e *extent, n uint64) {
	u := &s.users
	part := &s.parts[e.part]
	u.sum += n * s.hashes[e.part] * s.flagHashes[e.flags]
	switch {
	case e.flags&extentDirect != 0 && part.what != "":
		if e.flags&extentNotPresent != 0 {
			u.takenOut += n
		} else {
			u.direct += n
		}
		return
	case e.flags&extentNotPresent != 0:
		u.notPresent += n
	case part.what != "":
		u.kernel += n
	default:
		u.user += n
	}
	if e.flags&extentW != 0 {
		u.writable += n
	}
	if e.flags&extentX != 0 {
		u.executable += n
	}
	if part.what != "" {
		return
	}
	before := s.byPart[e.part]
	s.byPart[e.part] += n
	if now := s.byPart[e.part]; (before == 0) != (now == 0) {
		change := len(part.Procs)
		if now == 0 {
			change = -change
		}
		u.processes += change
	}
}

// frames is told that the frames from first to end, excluded, have the present users.
func (s *sweep) frames(first, end x86.PFN) error {
	u := s.users
	if u.user+u.kernel+u.notPresent == 0 {
		return nil
	}
	if s.some && s.last.end == first && s.last.users.same(&u) {
		s.last.end = end
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.some = true
	s.last.first, s.last.end, s.last.users = first, end, u
	s.who()
	return nil
}

// same reports whether two frames have the same users, with the same rights.
func (u *frameUsers) same(o *frameUsers) bool {
	a, b := *u, *o
	a.rights, b.rights = 0, 0
	return a == b
}

// maxUsers is among how many of its mappings those of one frame are looked for. Frames that have more are few.
const maxUsers = 1 << 13

// who fills in who the users of the last range are, and their rights together.
func (s *sweep) who() {
	r := &s.last
	r.parts, r.more, r.users.rights = r.parts[:0], false, 0
	for i, e := range s.active {
		if i == maxUsers {
			r.more = true
			break
		}
		if e.flags&extentDirect != 0 && s.parts[e.part].what != "" {
			continue
		}
		r.users.rights |= e.flags
		r.parts = append(r.parts, e.part)
	}
	slices.Sort(r.parts)
	r.parts = slices.Compact(r.parts)
}

func (s *sweep) flush() error {
	if !s.some {
		return nil
	}
	s.some = false
	return s.out.write(&s.last)
}
