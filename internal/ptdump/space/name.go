package space

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/linux/proc"
)

// Name is how the command line names a process: by its PID, by its root table as "0x…", or by the name that ps prints.
type Name struct {
	pid  int // -1 if it is one of the others
	root *x86.Phys
	comm string
}

// ParseName reads a name. Digits alone are a PID.
func ParseName(s string) (Name, error) {
	if strings.HasPrefix(s, "0x") {
		v, err := strconv.ParseUint(s[2:], 16, 64)
		if err != nil {
			return Name{}, fmt.Errorf("process %q: want a PID, a root table as 0x… in hex, or a name that ps prints", s)
		}
		root := x86.Phys(v)
		return Name{pid: -1, root: &root}, nil
	}
	if s == "" {
		return Name{}, errors.New(`process "": want a PID, a root table as 0x…, or a name that ps prints`)
	}
	if strings.Trim(s, "0123456789") == "" {
		pid, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return Name{}, fmt.Errorf("process %q: no PID is that large", s)
		}
		return Name{pid: int(pid)}, nil
	}
	return Name{pid: -1, comm: s}, nil
}

// Named returns the process of a name, and its address space, which is nil if it has none. Of several processes of one name,
// none is chosen; kernel threads count only where no other has the name.
func (m *Machine) Named(n Name) (*proc.Process, *Space, error) {
	switch {
	case n.root != nil:
		for _, s := range m.User {
			if s.Root == *n.root {
				return s.Procs[0], s, nil
			}
		}
		return nil, nil, fmt.Errorf("no process has its root table at %v: ptdump ps lists them", *n.root)
	case n.comm == "":
		return m.Find(n.pid)
	}
	var found []*proc.Process
	for _, p := range m.Procs.List {
		if p.Comm != n.comm {
			continue
		}
		if len(found) > 0 && found[0].Kernel && !p.Kernel {
			found = nil
		}
		if len(found) == 0 || found[0].Kernel == p.Kernel {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil, fmt.Errorf("the capture has no process named %s: ptdump ps lists them", report.QuoteName(n.comm))
	case 1:
		return m.Find(found[0].PID)
	}
	const most = 16
	var pids []string
	for i, p := range found {
		if i == most {
			pids = append(pids, fmt.Sprintf("and %d more", len(found)-most))
			break
		}
		pids = append(pids, strconv.Itoa(p.PID))
	}
	return nil, nil, fmt.Errorf("%d processes are named %s: give a PID, of %s", len(found), report.QuoteName(n.comm), strings.Join(pids, ", "))
}
