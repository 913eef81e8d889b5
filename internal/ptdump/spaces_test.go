package ptdump

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// machineOf is a captured machine of one's own making: four levels, Linux 6.12. Its processes are known, so that nothing
// has to be found.
type machineOf struct {
	mem    *pttree.Mem
	kernel x86.PFN // root of init_mm
	procs  proc.Processes
	next   int
}

// The flags of areas of such a machine.
const (
	vmRead = 1 << iota
	vmWrite
	vmExec
	vmMayShare = 1 << 7
)

func newMachine() *machineOf {
	m := &machineOf{mem: pttree.New(0x1000), next: 10}
	m.kernel = m.mem.Table()
	flags := `{"Flags":[{"Mask":1,"Code":"rd"},{"Mask":2,"Code":"wr"},{"Mask":4,"Code":"ex"},{"Mask":128,"Code":"ms"},` +
		`{"Mask":4194304,"Code":"ht"}]}`
	if err := json.Unmarshal([]byte(flags), &m.procs); err != nil {
		panic(err) // the text above
	}
	return m
}

// user and inKernel put entries into the tree of a root.
func (m *machineOf) user(root x86.PFN, va x86.Virt, l x86.Level, e uint64) {
	m.mem.Map(root, 4, va, l, e, userTable)
}

func (m *machineOf) inKernel(va x86.Virt, l x86.Level, e uint64) {
	m.mem.Map(m.kernel, 4, va, l, e, kernelTable)
}

// process adds a process with an address space of its own.
func (m *machineOf) process(comm string, areas ...proc.VMA) (*proc.Process, x86.PFN) {
	root := m.mem.Table()
	mm := &proc.MM{Roots: linux.Roots{Kernel: root.Phys(), User: root.Phys()}, Areas: areas}
	return m.on(comm, mm), root
}

// on adds a process on an address space, or on none.
func (m *machineOf) on(comm string, mm *proc.MM) *proc.Process {
	p := &proc.Process{PID: m.next, TGID: m.next, PPID: 1, Comm: comm, Kernel: mm == nil, MM: mm}
	m.next++
	m.procs.List = append(m.procs.List, p)
	return p
}

// find stands in for [proc.Find].
func (m *machineOf) find(context.Context, physmem.Reader, *linux.System, proc.Options) (*proc.Processes, error) {
	return &m.procs, nil
}

// write writes the machine's memory as an ELF core, whose CPU runs on root; 0 for the kernel's.
func (m *machineOf) write(t testing.TB, root x86.PFN) string {
	t.Helper()
	if root == 0 {
		root = m.kernel
	}
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: uint64(root.Phys()), CR4: 0x750ef0, CS: 0x10}
	info := "OSRELEASE=6.12.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n" +
		"NUMBER(sme_mask)=0\nNUMBER(PG_hwpoison)=22\nNUMBER(KERNEL_IMAGE_SIZE)=1073741824\nKERNELOFFSET=0\n"
	var b bytes.Buffer
	err := elfcore.Write(&b, m.mem, m.mem.Ranges(), []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte(info))})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "machine")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a command line on the written machine.
func (m *machineOf) run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	o := &options{stdout: &out, stderr: &errs, find: m.find}
	code = o.main(context.Background(), args)
	return code, out.String(), errs.String()
}

// area makes an area from its addresses and its flags.
func area(start, end x86.Virt, flags uint64) proc.VMA {
	return proc.VMA{Start: start, End: end, Flags: flags}
}
