package capturetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// Workers is a machine with n processes that map so many PTE tables each, 4096 MiB times n times tables in all. The
// first half of each process's memory is its own, the other shared by all. Frames follow one another in runs of so many
// pages, and attributes differ from run to run.
func Workers(n, tables, run int) *Machine {
	m := NewMachine()
	rng := rand.New(rand.NewPCG(1, 2))
	next := uint64(1 << 20)
	for i := range n {
		_, root := m.Process(fmt.Sprintf("worker-%d", i))
		shared := uint64(1 << 19)
		for j := range tables {
			base := x86.Virt(0x7f0000000000) + x86.Virt(j)<<21
			var e uint64
			for k := range x86.EntriesPerTable {
				if k%run == 0 {
					e = 0x8000000000000025 | rng.Uint64N(2)*0x42
					if j < tables/2 {
						e |= next << 12
						next += uint64(run)
					} else {
						e = 0x8000000000000025 | shared<<12
						shared += uint64(run)
					}
				} else {
					e += 1 << 12
				}
				if k == 0 {
					m.User(root, base, x86.LevelPTE, e)
				}
				m.lastTable(root, base)[k] = e
			}
		}
	}
	return m
}

// lastTable returns the PTE table that translates va.
func (m *Machine) lastTable(root x86.PFN, va x86.Virt) *physmem.Table {
	f := root
	for at := x86.LevelP4D; at > x86.LevelPTE; at-- {
		f = ABI.TableFrame(m.Mem.At(f)[va.Index(at)])
	}
	return m.Mem.At(f)
}

// Machine is a captured machine of one's own making: four levels, Linux 6.12. Its processes are known, so that nothing
// has to be found.
type Machine struct {
	Mem    *pttree.Mem
	Kernel x86.PFN // root of init_mm
	Procs  proc.Processes
	Next   int
}

// The flags of areas of such a machine.
const (
	VMRead = 1 << iota
	VMWrite
	VMExec
	VMMayShare = 1 << 7
)

// NewMachine returns a machine without processes.
func NewMachine() *Machine {
	m := &Machine{Mem: pttree.New(0x1000), Next: 10}
	m.Kernel = m.Mem.Table()
	flags := `{"Flags":[{"Mask":1,"Code":"rd"},{"Mask":2,"Code":"wr"},{"Mask":4,"Code":"ex"},{"Mask":128,"Code":"ms"},` +
		`{"Mask":4194304,"Code":"ht"}]}`
	if err := json.Unmarshal([]byte(flags), &m.Procs); err != nil {
		panic(err) // the text above
	}
	return m
}

// User and inKernel put entries into the tree of a root.
func (m *Machine) User(root x86.PFN, va x86.Virt, l x86.Level, e uint64) {
	m.Mem.Map(root, 4, va, l, e, UserTable)
}

func (m *Machine) InKernel(va x86.Virt, l x86.Level, e uint64) {
	m.Mem.Map(m.Kernel, 4, va, l, e, KernelTable)
}

// Process adds a process with an address space of its own.
func (m *Machine) Process(comm string, areas ...proc.VMA) (*proc.Process, x86.PFN) {
	root := m.Mem.Table()
	mm := &proc.MM{Roots: linux.Roots{Kernel: root.Phys(), User: root.Phys()}, Areas: areas}
	return m.On(comm, mm), root
}

// On adds a process on an address space, or on none.
func (m *Machine) On(comm string, mm *proc.MM) *proc.Process {
	p := &proc.Process{PID: m.Next, TGID: m.Next, PPID: 1, Comm: comm, Kernel: mm == nil, MM: mm}
	m.Next++
	m.Procs.List = append(m.Procs.List, p)
	return p
}

// Find stands in for [proc.Find].
func (m *Machine) Find(context.Context, physmem.Reader, *linux.System, proc.Options) (*proc.Processes, error) {
	return &m.Procs, nil
}

// Write writes the machine's memory as an ELF core, whose CPU runs on root; 0 for the kernel's.
func (m *Machine) Write(t testing.TB, root x86.PFN) string {
	t.Helper()
	if root == 0 {
		root = m.Kernel
	}
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: uint64(root.Phys()), CR4: 0x750ef0, CS: 0x10}
	info := "OSRELEASE=6.12.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n" +
		"NUMBER(sme_mask)=0\nNUMBER(PG_hwpoison)=22\nNUMBER(KERNEL_IMAGE_SIZE)=1073741824\nKERNELOFFSET=0\n"
	var b bytes.Buffer
	err := elfcore.Write(&b, m.Mem, m.Mem.Ranges(), []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte(info))})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "machine")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Open opens the written machine, and finds its processes.
func (m *Machine) Open(t testing.TB, path string) (*session.Session, *space.Machine) {
	t.Helper()
	in, err := session.OpenForProcesses(t.Context(), path, &session.Options{CPU: -1, Root: session.RootNames[0], Find: m.Find})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	spaces, err := in.Processes(t.Context(), proc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return in, spaces
}

// Area makes an area from its addresses and its flags.
func Area(start, end x86.Virt, flags uint64) proc.VMA {
	return proc.VMA{Start: start, End: end, Flags: flags}
}
