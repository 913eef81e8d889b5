package proc

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
)

// mmAt returns the address space whose mm_struct is at addr, nil for none.
func (f *finder) mmAt(addr x86.Virt) *MM {
	if addr == 0 {
		return nil
	}
	if mm, ok := f.mms[addr]; ok {
		return mm
	}
	mm, err := f.readMM(addr)
	if err != nil {
		f.warn("mm_struct at %v: %v", addr, err)
		f.lost = true
	}
	f.mms[addr] = mm
	return mm
}

// readMM reads an address space. Without its root it is none.
func (f *finder) readMM(addr x86.Virt) (*MM, error) {
	o, s := f.at(addr), &f.shapes.mm
	pgd := o.ptr(s.pgd)
	if o.err != nil {
		return nil, o.err
	}
	root, err := f.mem.Phys(pgd)
	if err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	if root.Offset() != 0 {
		return nil, fmt.Errorf("pgd %v is not the address of a table", pgd)
	}
	mm := &MM{Addr: addr}
	if mm.Roots, err = linux.FindRoots(f.phys, f.sys.ABI, uint64(root)); err != nil {
		return nil, fmt.Errorf("pgd %v: %w", pgd, err)
	}
	a := areaReader{
		finder: f, mm: mm, brk: o.num(s.brk), startBrk: o.num(s.startBrk), stack: o.num(s.startStack),
		end: uint64(f.sys.ABI.Paging().KernelHalf()),
	}
	a.read(o)
	return mm, nil
}

// areaReader reads the areas of one address space.
type areaReader struct {
	*finder
	mm                   *MM
	brk, startBrk, stack uint64
	end                  uint64 // of what a process may map
	problems             int
}

// problem keeps the first thing that is wrong with the areas, and counts the others.
func (a *areaReader) problem(err error) {
	a.problems++
	switch a.problems {
	case 1:
		a.mm.AreasErr = err.Error()
		a.warn("mm_struct at %v: %v", a.mm.Addr, err)
	case 2:
		a.mm.AreasErr += " (and more)"
	}
}

func (a *areaReader) read(mm *object) {
	s := &a.shapes.mm
	if !s.tree.has() {
		a.list(mm.ptr(s.list))
	} else {
		root := mm.num(s.tree)
		w := mapleWalk{
			ctx: a.ctx, mem: a.mem, shape: &a.shapes.maple, seen: map[x86.Virt]bool{}, nodes: &a.nodesLeft,
			problem: a.problem,
			visit: func(addr x86.Virt, first, last uint64) bool {
				return a.add(addr, &span{first: first, last: last})
			},
		}
		if mm.err == nil {
			w.walk(root)
		}
	}
	if mm.err != nil {
		a.problem(mm.err)
	}
}

// list follows the areas of kernels before 6.1.
func (a *areaReader) list(addr x86.Virt) {
	for addr != 0 && a.ctx.Err() == nil {
		if !a.add(addr, nil) {
			return
		}
		o := a.at(addr)
		next := o.ptr(a.shapes.vma.next)
		if o.err != nil {
			a.problem(o.err)
			return
		}
		addr = next
	}
}

// add reads the area at addr, which the tree says spans the numbers in at, and reports whether to go on.
func (a *areaReader) add(addr x86.Virt, at *span) bool {
	if a.areasLeft--; a.areasLeft < 0 {
		a.problem(fmt.Errorf("more areas than %d in all processes", maxAreas))
		return false
	}
	v, err := a.area(addr)
	if err != nil {
		a.problem(fmt.Errorf("area at %v: %w", addr, err))
		return at != nil // a list ends here
	}
	if at != nil && (uint64(v.Start) != at.first || uint64(v.End)-1 != at.last) {
		a.problem(fmt.Errorf("area at %v: it is %v-%v, the maple tree has it at %#x-%#x", addr, v.Start, v.End, at.first, at.last))
	}
	if n := len(a.mm.Areas); n > 0 && v.Start < a.mm.Areas[n-1].End {
		a.problem(fmt.Errorf("area at %v begins at %v, before the end of the one before it", addr, v.Start))
		return at != nil
	}
	a.mm.Areas = append(a.mm.Areas, v)
	return true
}

// area reads one vm_area_struct.
func (a *areaReader) area(addr x86.Virt) (VMA, error) {
	o, s := a.at(addr), &a.shapes.vma
	v := VMA{
		Addr: addr, Start: o.ptr(s.start), End: o.ptr(s.end), Flags: o.num(s.flags), Prot: x86.Prot(o.num(s.prot)),
		Anon: o.num(s.anonVMA) != 0,
	}
	owner, file, pgoff := o.ptr(s.mm), o.ptr(s.file), o.num(s.pgoff)
	switch {
	case o.err != nil:
		return v, o.err
	case v.Start >= v.End || uint64(v.End) > a.end || (v.Start|v.End).Offset() != 0:
		return v, fmt.Errorf("%v-%v is no range of pages of a process", v.Start, v.End)
	case s.mm.has() && owner != a.mm.Addr:
		return v, fmt.Errorf("it belongs to the mm_struct at %v", owner)
	}
	if file != 0 {
		v.Offset = pgoff << x86.PageShift
		v.File = a.file(file)
	}
	v.Name = a.name(o, &v)
	return v, nil
}

// name returns what the kernel calls an area.
//
// Linux: fs/proc/task_mmu.c:get_vma_name(), before 6.6 show_map_vma()
func (a *areaReader) name(o *object, v *VMA) string {
	s := &a.shapes.vma
	var own x86.Virt // the name that the program gave it
	if s.anonName.has() && (v.File == nil || s.anonName.off != s.shared.off) {
		own = o.ptr(s.anonName)
	}
	if v.File != nil {
		if own != 0 {
			return "[anon_shmem:" + a.ownName(own) + "]"
		}
		return ""
	}
	if name := a.specialName(o); name != "" {
		return name
	}
	start, end := uint64(v.Start), uint64(v.End)
	heap := start <= a.brk && end >= a.startBrk
	if a.strictHeap {
		heap = start < a.brk && end > a.startBrk
	}
	switch {
	case heap:
		return "[heap]"
	case start <= a.stack && end >= a.stack:
		return "[stack]"
	case own != 0:
		return "[anon:" + a.ownName(own) + "]"
	}
	return ""
}

// ownName reads an anon_vma_name.
func (a *areaReader) ownName(addr x86.Virt) string {
	text, err := a.mem.CString(addr+x86.Virt(a.shapes.anonNameText.off), maxAnonName)
	if err != nil {
		a.problem(fmt.Errorf("anon_vma_name: %w", err))
	}
	return text
}

// specialName returns the name of an area that the kernel made, such as [vdso]. Of the operations on areas that have a
// function for the name, only those of such areas do in kernels for x86.
//
// Linux: mm/mmap.c:special_mapping_name()
func (a *areaReader) specialName(o *object) string {
	s := &a.shapes.vma
	if !a.shapes.opsName.has() || !a.shapes.specialName.has() {
		return ""
	}
	ops := o.ptr(s.ops)
	if ops == 0 || o.err != nil {
		return ""
	}
	call := a.at(ops).ptr(a.shapes.opsName)
	if call == 0 || a.specialCall != 0 && call != a.specialCall {
		return ""
	}
	text := a.at(o.ptr(s.private)).ptr(a.shapes.specialName)
	if text == 0 {
		return ""
	}
	name, err := a.mem.CString(text, maxName)
	if err != nil {
		a.problem(fmt.Errorf("the name of a special mapping: %w", err))
	}
	return name
}
