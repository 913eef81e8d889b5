package proc

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"ptemu/arch/x86"
)

// packedName marks a name that is kept as hex: JSON has no bytes that are not UTF-8, names may have any but NUL.
const packedName = "\x00"

func packName(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, packedName) {
		return s
	}
	return packedName + hex.EncodeToString([]byte(s))
}

func unpackName(s string) string {
	packed, ok := strings.CutPrefix(s, packedName)
	if b, err := hex.DecodeString(packed); ok && err == nil {
		return string(b)
	}
	return s
}

// named returns a copy of a process with its names changed.
func (p *Process) named(change func(string) string) *Process {
	out := *p
	out.Comm = change(p.Comm)
	out.Threads = nil
	for _, t := range p.Threads {
		t.Comm = change(t.Comm)
		out.Threads = append(out.Threads, t)
	}
	return &out
}

// check says why no search finds such a process.
func (p *Process) check() error {
	for _, pid := range []int{p.PID, p.TGID} {
		if pid < -1 || pid > maxPID {
			return fmt.Errorf("PID %d, TGID %d", p.PID, p.TGID)
		}
	}
	for _, t := range p.Threads {
		if t.PID < 0 || t.PID > maxPID {
			return fmt.Errorf("a thread with PID %d", t.PID)
		}
	}
	return nil
}

// check says why no search finds such an address space.
func (m *MM) check() error {
	for _, root := range []x86.Phys{m.Roots.Kernel, m.Roots.User} {
		if root.Offset() != 0 {
			return fmt.Errorf("%v is not the address of a table", root)
		}
	}
	end := x86.Virt(0)
	for i := range m.Areas {
		a := &m.Areas[i]
		switch {
		case a.Start >= a.End || int64(a.End) < 0 || (a.Start|a.End).Offset() != 0:
			return fmt.Errorf("area %d: %v-%v is no range of pages of a process", i+1, a.Start, a.End)
		case a.Start < end:
			return fmt.Errorf("area %d begins at %v, before the end of the one before it", i+1, a.Start)
		}
		end = a.End
	}
	return nil
}

// flagName reports whether a text is as all names of flags in smaps are: two characters, or none.
func flagName(s string) bool {
	return s == "" || len(s) == 2 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
