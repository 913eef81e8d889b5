//go:build linux && amd64

package vm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
)

// ErrDied: the process has ended.
var ErrDied = errors.New("the process has ended")

// ErrStuck: the process does not answer.
var ErrStuck = errors.New("the process does not answer")

// hear waits for a bell.
func (m *Machine) hear(deadline time.Time) (byte, error) {
	if err := m.bell.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	var b [1]byte
	_, err := m.bell.Read(b[:])
	return b[0], err
}

// Slot is what the host sees of a slot of package wire.
type Slot struct {
	m           *Machine
	n           int
	words, data []byte
}

// Slot returns slot n.
func (m *Machine) Slot(n int) *Slot {
	at := n * wire.SlotPages
	return &Slot{m, n, m.Frame(m.block[at]), m.Frame(m.block[at+1])}
}

// Word returns a word of the slot.
func (s *Slot) Word(i int) uint64 { return binary.LittleEndian.Uint64(s.words[i*8:]) }

// SetWord changes a word.
func (s *Slot) SetWord(i int, v uint64) { binary.LittleEndian.PutUint64(s.words[i*8:], v) }

// Data returns the data of the slot.
func (s *Slot) Data() []byte { return s.data }

// patience is how long the agent may take for an answer, itself giving up on its processes much earlier.
const patience = 30 * time.Second

// Ring has the agent perform op with the arguments, and waits until it has. The error wraps ErrDied or ErrStuck where
// those are the answer.
func (s *Slot) Ring(op uint64, args ...uint64) error {
	s.post(op, args)
	return s.answer()
}

func (s *Slot) post(op uint64, args []uint64) {
	s.SetWord(wire.Op, op)
	for i, a := range args {
		s.SetWord(wire.Arg+i, a)
	}
	for i := len(args); i < 8; i++ {
		s.SetWord(wire.Arg+i, 0)
	}
	_ = s.m.bell.SetWriteDeadline(time.Now().Add(patience))
	// An error shows when no answer comes.
	_, _ = s.m.bell.Write([]byte{byte(s.n)})
}

func (s *Slot) answer() error {
	b, err := s.m.hear(time.Now().Add(patience))
	switch {
	case err != nil:
		return s.m.failed(fmt.Errorf("slot %d: %w", s.n, err))
	case b == wire.Died:
		return fmt.Errorf("slot %d: %w", s.n, ErrDied)
	case b == wire.Stuck:
		return fmt.Errorf("slot %d: %w", s.n, ErrStuck)
	case b != wire.Done:
		return fmt.Errorf("slot %d: the agent answers %q", s.n, b)
	}
	return nil
}

var (
	levelPattern = regexp.MustCompile(`CPL=(\d)`)
	signPattern  = regexp.MustCompile(`R12=([0-9a-f]+)`)
	rootPattern  = regexp.MustCompile(`CR3=([0-9a-f]+)`)
)

// Root has the slot's process spin in user mode and reads its root table from CR3.
func (s *Slot) Root(ctx context.Context) (x86.PFN, error) {
	s.SetWord(wire.Spin, 0)
	s.post(wire.OpSpin, nil)
	root, err := s.spinning(ctx)
	s.SetWord(wire.Spin, 0)
	return root, errors.Join(err, s.answer())
}

// spinPatience is how long a process may take until it spins: somewhat more than the agent waits for it.
const spinPatience = 12 * time.Second

func (s *Slot) spinning(ctx context.Context) (x86.PFN, error) {
	for start := time.Now(); s.Word(wire.Spin) != 1; {
		if time.Since(start) > spinPatience {
			return 0, fmt.Errorf("slot %d does not spin", s.n)
		}
		time.Sleep(50 * time.Microsecond)
	}
	const tries = 200
	for range tries {
		text, err := s.m.monitor.Human(ctx, "info registers", 0)
		if err != nil {
			return 0, err
		}
		level, sign, root := levelPattern.FindStringSubmatch(text), signPattern.FindStringSubmatch(text), rootPattern.FindStringSubmatch(text)
		if level == nil || sign == nil || root == nil {
			return 0, fmt.Errorf("no registers: %s", text)
		}
		if level[1] != "3" || sign[1] != fmt.Sprintf("%016x", wire.SpinSign(s.n)) {
			continue // the kernel, or another process
		}
		cr3, err := strconv.ParseUint(root[1], 16, 64)
		if err != nil {
			return 0, err
		}
		return x86.Phys(cr3).PFN(), nil
	}
	return 0, fmt.Errorf("slot %d: no instant in user mode in %d tries", s.n, tries)
}
