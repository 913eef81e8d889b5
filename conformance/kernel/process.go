//go:build linux && amd64

package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
	"ptemu/conformance/wire"
	"ptemu/litmus"
	"ptemu/swapentry"
)

// OnThis returns the kernel that the calling program itself runs on, with the agent as a process of it. Its page tables
// cannot be read: of entries there is what /proc/pid/pagemap tells. Nothing of the machine is set up or changed. The
// caller closes m.
func OnThis(m *vm.Machine, abi *x86.ABI) *Kernel {
	return &Kernel{m: m, abi: abi, layout: swapentry.NewLayout(abi), init: m.Slot(0), this: true}
}

// FreshOnThis ends what the program before left and makes the first process. Unlike [Kernel.Fresh] it leaves the machine
// as it is, and protection keys too: the processor may have none.
func (k *Kernel) FreshOnThis() (*Target, error) {
	t := newTarget(context.Background(), k)
	const first = 1
	if err := k.ring(wire.OpReset); err != nil {
		return nil, err
	}
	if err := k.ring(wire.OpSpawn, first); err != nil {
		return nil, err
	}
	pid := k.init.Word(wire.Result)
	if err := errnoError(pid); err != nil {
		return nil, fmt.Errorf("no process: %w", err)
	}
	return t, t.meet(&process{name: litmus.DefaultProcess, n: first, pid: int(pid)})
}

// PID returns the id of a process of the program, 0 if there is none.
func (t *Target) PID(name string) int {
	if p := t.processes[name]; p != nil {
		return p.pid
	}
	return 0
}

// SetFile tells that a file of the program is at a path. A target with processes of this machine makes no files itself.
func (t *Target) SetFile(name, path string) { t.files[name] = path }

// ReadPagemap reads words of /proc/pid/pagemap for the pages from va on. A process that has ended has none: zeros.
func ReadPagemap(pid int, va x86.Virt, words []swapentry.Pagemap) error {
	const size = 8
	f, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return err
	}
	defer f.Close()
	raw := make([]byte, len(words)*size)
	if _, err := f.ReadAt(raw, int64(va/x86.PageSize)*size); err != nil {
		return err
	}
	for i := range words {
		words[i] = swapentry.Pagemap(binary.LittleEndian.Uint64(raw[i*size:]))
	}
	return nil
}

// entryOfThis makes an entry of what pagemap tells: whether a page is present, and which.
func entryOfThis(p *process, va x86.Virt) (litmus.Entry, error) {
	e := litmus.Entry{Level: x86.LevelPTE}
	var word [1]swapentry.Pagemap
	if err := ReadPagemap(p.pid, va, word[:]); err != nil {
		return e, err
	}
	if parts := word[0].Parts(); parts.Present {
		e.Raw = x86.PagePresent
	}
	return e, nil
}
