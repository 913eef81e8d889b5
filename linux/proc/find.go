package proc

import (
	"context"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
	"ptemu/linux/ktype"
	"ptemu/physmem"
)

// ErrNotFound is in the chain of errors that say that a capture has no processes that could be found.
var ErrNotFound = errors.New("no processes found")

// Options bound and direct the search.
type Options struct {
	// RootsOnly skips symbols and types, and searches RAM for root tables.
	RootsOnly bool
	// CPUs is what the capture says of the processors, for a kernel whose symbols lack init_task: what a processor runs
	// leads to it too.
	CPUs []linux.CPU
	// Progress, if not nil, is told now and then how much of the work is done, from 0 to 1.
	Progress func(float64)
}

// Find finds the processes of the kernel in mem. The error wraps [ErrNotFound] if there is no way to any, or is ctx's.
func Find(ctx context.Context, mem physmem.Reader, sys *linux.System, opt Options) (*Processes, error) {
	f := newFinder(ctx, mem, sys, opt)
	if !opt.RootsOnly {
		if err := f.byLists(); err == nil {
			return f.out, nil
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else {
			f.warn("the kernel's lists cannot be used: %v", err)
		}
	}
	return f.byRoots()
}

// finder is a search under way.
type finder struct {
	ctx  context.Context
	phys physmem.Reader
	mem  *linux.KernelMemory
	sys  *linux.System
	opt  Options
	out  *Processes

	syms   *kallsyms.Symbols // nil if there are none
	types  *ktype.Types      // dropped after the offsets were taken
	shapes *shapes

	mms      map[x86.Virt]*MM // nil for those that cannot be used
	files    map[x86.Virt]*File
	sameFile map[File]*File
	byTask   map[x86.Virt]role
	pids     map[int]bool
	root     path // of process 1
	lost     bool // a process or an address space could not be read

	areasLeft, nodesLeft int
	stepsLeft            int
	blobBytesLeft        uint64
	warned               int
	longWorkers          bool     // workers of workqueues may have long names
	strictHeap           bool     // an area that only touches the heap is none
	backing              uint64   // the bit FMODE_BACKING
	specialCall          x86.Virt // special_mapping_name(), 0 if not known
}

func newFinder(ctx context.Context, mem physmem.Reader, sys *linux.System, opt Options) *finder {
	return &finder{
		ctx: ctx, phys: mem, sys: sys, opt: opt, out: &Processes{},
		mms: map[x86.Virt]*MM{}, files: map[x86.Virt]*File{}, sameFile: map[File]*File{},
		byTask: map[x86.Virt]role{}, pids: map[int]bool{}, areasLeft: maxAreas, nodesLeft: maxNodes, blobBytesLeft: maxBlobBytes,
		stepsLeft: maxSteps,
	}
}

func (f *finder) fact(what, value, why string) {
	f.out.Facts = append(f.out.Facts, linux.Finding{What: what, Value: value, Why: why})
}

func (f *finder) assume(what, value, why string) {
	f.out.Assumptions = append(f.out.Assumptions, linux.Finding{What: what, Value: value, Why: why})
}

func (f *finder) warn(format string, args ...any) {
	switch f.warned++; {
	case f.warned < maxWarnings:
		f.out.Warnings = append(f.out.Warnings, fmt.Sprintf(format, args...))
	case f.warned == maxWarnings:
		f.out.Warnings = append(f.out.Warnings, "more warnings were left out")
	}
}

// progress tells that one more process is done. How many there are is not known before the end.
func (f *finder) progress() {
	if n := len(f.out.List); f.opt.Progress != nil && n%64 == 0 {
		f.opt.Progress(1 - 1/(1+float64(n)/1024))
	}
}

// ready reads the symbols, and takes from the types what the search needs.
func (f *finder) ready() error {
	var err error
	if f.mem, err = f.sys.Memory(f.phys); err != nil {
		return err
	}
	f.symbols()
	if err := f.findTypes(); err != nil {
		return err
	}
	if f.shapes, err = findShapes(f.types); err != nil {
		return err
	}
	f.release()
	f.out.flags = f.flagSet()
	return nil
}

// byLists finds the processes by the kernel's own lists.
func (f *finder) byLists() error {
	if err := f.ready(); err != nil {
		return err
	}
	initTask, why, err := f.initTask()
	if err != nil {
		return err
	}
	f.types = nil
	f.rootOf(initTask)
	if err := f.tasks(initTask); err != nil {
		return err
	}
	if len(f.out.List) == 0 {
		return errors.New("the list of processes is empty")
	}
	threads, spaces := 0, 0
	for _, p := range f.out.List {
		threads += len(p.Threads)
	}
	for _, mm := range f.mms {
		if mm != nil {
			spaces++
		}
	}
	f.fact("processes", fmt.Sprintf("%d, with %d more threads and %d address spaces", len(f.out.List), threads, spaces),
		"task list from "+why)
	return nil
}

// symbols reads the kernel's symbols: where VMCOREINFO says, else where they are found in the kernel image. Without them
// there are other ways.
func (f *finder) symbols() {
	how := "kallsyms tables that VMCOREINFO names"
	syms, err := kallsyms.Parse(f.mem, f.sys.VMCoreInfo)
	if l := f.sys.Layout; errors.Is(err, kallsyms.ErrNoTables) && l.TextFirst != 0 {
		stext, _ := f.sys.VMCoreInfo.Symbol("_stext")
		syms, err = kallsyms.Search(f.mem, l.TextFirst, l.TextLast, stext)
		how = "kallsyms tables found in the kernel image by their shape"
	}
	if err != nil {
		f.warn("no symbols: %v", err)
		return
	}
	f.syms = syms
	f.fact("symbols", fmt.Sprintf("%d, %s", syms.Len(), syms.Encoding()), how)
	f.specialCall, _ = f.symbol("special_mapping_name")
}

func (f *finder) symbol(name string) (x86.Virt, bool) {
	if f.syms == nil {
		return 0, false
	}
	return f.syms.Lookup(name)
}

// rootOf notes the root directory of process 1, to which paths are relative, or else that of init_task.
func (f *finder) rootOf(initTask x86.Virt) {
	s := &f.shapes.task
	first := f.at(initTask).ptr(s.tasks) - x86.Virt(s.tasks.off)
	for _, task := range []x86.Virt{first, initTask} {
		fs := f.at(task).ptr(s.fs)
		if fs == 0 {
			continue
		}
		o := f.at(fs)
		f.root = path{o.ptr(f.shapes.file.rootDentry), o.ptr(f.shapes.file.rootMnt)}
		if o.err == nil && f.root.dentry != 0 {
			return
		}
	}
	f.root = path{}
}
