package proc

import (
	"bytes"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
	"ptemu/physmem"
)

// maxIdleNames bounds how many places that hold init_task's name are looked at.
const maxIdleNames = 1 << 12

// initTask finds init_task, at which the list of processes begins, and says how.
func (f *finder) initTask() (x86.Virt, string, error) {
	var errs []error
	try := func(task x86.Virt, why string) bool {
		err := f.checkInitTask(task)
		if err != nil {
			errs = append(errs, fmt.Errorf("init_task at %v (%s): %w", task, why, err))
		}
		return err == nil
	}
	if task, ok := f.symbol("init_task"); ok && try(task, "kallsyms") {
		return task, "init_task (kallsyms)", nil
	}
	if task, ok := f.exported("init_task"); ok && try(task, "export table") {
		return task, "init_task (export table)", nil
	}
	for _, c := range f.running() {
		if task := f.ancestor(c.task); task != 0 && try(task, c.why) {
			return task, "the first ancestor of " + c.why, nil
		}
	}
	for _, task := range f.idleTasks() {
		if f.checkInitTask(task) == nil {
			return task, fmt.Sprintf("the task at %v, found by its name swapper/0", task), nil
		}
	}
	errs = append(errs, errors.New("no task in RAM is named as it is"))
	return 0, "", fmt.Errorf("init_task not found: %w", errors.Join(errs...))
}

// checkInitTask says why there is no init_task at an address, nil if there is: it is the idle task, its own parent, and the
// list of processes leads from it and back.
func (f *finder) checkInitTask(task x86.Virt) error {
	s := &f.shapes.task
	pid, tgid, err := f.taskHead(task)
	if err != nil {
		return err
	}
	o := f.at(task)
	comm, parent := o.text(s.comm), o.ptr(s.parent)
	if o.err != nil {
		return o.err
	}
	if pid != 0 || tgid != 0 || parent != task {
		return fmt.Errorf("PID %d, parent at %v", pid, parent)
	}
	if comm != "swapper/0" && comm != "swapper" {
		return fmt.Errorf("its name is %q", comm)
	}
	node := task + x86.Virt(s.tasks.off)
	next, prev := f.at(node).ptr(listNext), f.at(node).ptr(listPrev)
	if f.at(next).ptr(listPrev) != node && f.at(prev).ptr(listNext) != node {
		return errors.New("it is not in the list of processes")
	}
	return nil
}

// current is a task that a processor ran.
type current struct {
	task x86.Virt
	why  string
}

// running returns what the processors ran, by the per-CPU variable current_task. A processor in user mode keeps the base of
// its variables in the other of the two GS bases. Until 6.14 the variables' area begins at address 0, then at
// __per_cpu_start.
//
// Linux: arch/x86/include/asm/current.h; arch/x86/kernel/vmlinux.lds.S
func (f *finder) running() []current {
	off, ok := f.types.PerCPU("current_task")
	if !ok {
		hot, okHot := f.types.PerCPU("pcpu_hot")
		in, err := f.types.Offset("pcpu_hot", "current_task")
		if off, ok = hot+in, okHot && err == nil; !ok {
			return nil
		}
	}
	starts := []x86.Virt{0}
	if va, ok := f.symbol("__per_cpu_start"); ok && va != 0 {
		starts = append(starts, va)
	}
	var out []current
	for i, c := range f.opt.CPUs {
		for _, base := range []x86.Virt{c.GSBase, c.KernelGSBase} {
			for _, start := range starts {
				task, err := f.mem.Uint64(base + start + x86.Virt(off))
				if err == nil && int64(task) < 0 {
					out = append(out, current{x86.Virt(task), fmt.Sprintf("what CPU %d ran", i)})
				}
			}
		}
	}
	return out
}

// ancestor follows the parents of a task to the first, which is its own; 0 if that fails.
func (f *finder) ancestor(task x86.Virt) x86.Virt {
	for range maxParents {
		parent := f.at(task).ptr(f.shapes.task.parent)
		if parent == 0 || parent == task {
			return parent
		}
		task = parent
	}
	return 0
}

// idleTasks searches RAM for tasks that are named as init_task is. It lies in the kernel image.
func (f *finder) idleTasks() []x86.Virt {
	name := []byte("swapper/0\x00")
	places, err := linux.FindBytes(f.ctx, f.phys, name, 1, maxIdleNames, f.opt.Progress)
	if err != nil && !errors.Is(err, linux.ErrTooManyPlaces) {
		return nil
	}
	comm := f.shapes.task.comm.off
	var out []x86.Virt
	for _, pa := range places {
		if pa -= x86.Phys(comm); pa%8 == 0 {
			out = append(out, f.imageAddr(pa))
		}
	}
	return out
}

// imageAddr returns the address of a byte of the kernel image.
func (f *finder) imageAddr(pa x86.Phys) x86.Virt {
	l := f.sys.Layout
	text, err := f.mem.Phys(l.TextFirst)
	if err != nil {
		return 0
	}
	return l.TextFirst + x86.Virt(pa-text)
}

// readPhys reads physical memory.
func (f *finder) readPhys(b []byte, pa x86.Phys) error {
	var frame physmem.Frame
	for len(b) > 0 {
		if err := f.phys.ReadFrame(pa.PFN(), &frame); err != nil {
			return err
		}
		n := copy(b, frame[pa.Offset():])
		b, pa = b[n:], pa+x86.Phys(n)
	}
	return nil
}

// headersIn yields where in b type information may begin.
func headersIn(b []byte) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; ; at += 4 {
			i := bytes.Index(b[at:], btfMagic)
			if i < 0 || !yield(at+i) {
				return
			}
			at += i
		}
	}
}

// exported returns the address of a symbol that modules may use.
func (f *finder) exported(name string) (x86.Virt, bool) {
	l := f.sys.Layout
	if l.TextFirst == 0 {
		return 0, false
	}
	va, err := kallsyms.FindExport(f.mem, l.TextFirst, l.TextLast, name)
	return va, err == nil
}
