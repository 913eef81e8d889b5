package space

import (
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
)

// TestNamed: a name stands for one process, or for none.
func TestNamed(t *testing.T) {
	m := &Machine{Procs: &proc.Processes{}}
	add := func(pid int, comm string, root x86.Phys) {
		p := &proc.Process{PID: pid, Comm: comm, Kernel: root == 0}
		if root != 0 {
			p.MM = &proc.MM{}
			m.User = append(m.User, &Space{Tree: &tree.Tree{Root: root}, MM: p.MM, Procs: []*proc.Process{p}})
		}
		m.Procs.List = append(m.Procs.List, p)
	}
	add(1, "init", 0x1000)
	add(2, "kthreadd", 0)
	add(3, "sh", 0x2000)
	add(4, "sh", 0x3000)
	add(5, "odd", 0)
	add(6, "odd", 0x4000)
	add(7, "0x", 0x5000)
	for i := range 40 {
		add(100+i, "many", x86.Phys(0x10000+i<<12))
	}
	for _, c := range []struct {
		name string
		pid  int
		err  string
	}{
		{"1", 1, ""}, {"init", 1, ""}, {"0x2000", 3, ""}, {"2", 2, ""}, {"kthreadd", 2, ""},
		{"odd", 6, ""}, // rather than the kernel thread
		{"sh", 0, "PID, of 3, 4"}, {"many", 0, "114, 115, and 24 more"},
		{"99", 0, "no process 99"}, {"0x9000", 0, "root table"}, {"nobody", 0, "no process named nobody"},
		{"a\x1bb", 0, `named "a\x1bb"`},
	} {
		n, err := ParseName(c.name)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := m.Named(n)
		if c.err == "" && (err != nil || p.PID != c.pid) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
	for _, bad := range []string{"", "0x", "0xzz", "99999999999"} {
		if n, err := ParseName(bad); err == nil || strings.Contains(err.Error(), "strconv") {
			t.Errorf("%q: %+v, %v", bad, n, err)
		}
	}
}
