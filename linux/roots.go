package linux

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ErrNoRoot: the capture does not say where a root table is, and none was found.
var ErrNoRoot = errors.New("no root table is known: give --cr3, and --levels if it has five levels")

// Roots are the two root tables of one address space. Without page-table isolation (PTI) they are the same.
type Roots struct {
	// Kernel is the root that the kernel runs on, User the one that the program runs on.
	Kernel, User x86.Phys
	// PTI says that the two differ.
	PTI bool
	// KernelMissing says that only the user root is in the capture; Kernel is then equal to User.
	KernelMissing bool
	// UserMissing says that the CPU runs on the user root of a pair of which only the kernel's is in the capture. User is
	// then equal to Kernel, and PTI is false. The user half is the same, but the kernel's root forbids execution there.
	UserMissing bool
	Why         string
}

// FindRoots returns the roots of the address space whose CR3 is cr3. Bits of CR3 that are no address (PCID, LAM) do
// not matter.
//
// Linux keeps a process's two roots in one block of two frames, the kernel's first; to change between them it flips
// the lowest frame bit of CR3. What tells a pair from two neighbours: the same user half in both (the kernel's with
// NX added), and in the user's, a kernel half that has nothing the kernel's lacks, lacks some that it has, and
// reaches the top of the address space through a table of its own.
//
// Linux: arch/x86/include/asm/pgtable.h:kernel_to_user_pgdp(); arch/x86/mm/pti.c
func FindRoots(mem physmem.Reader, abi *x86.ABI, cr3 uint64) (Roots, error) {
	loaded := abi.TableFrame(cr3)
	var even, odd physmem.Table
	errEven := physmem.ReadTable(mem, loaded&^1, &even)
	errOdd := physmem.ReadTable(mem, loaded|1, &odd)
	if loaded&1 == 0 && errEven != nil {
		return Roots{}, fmt.Errorf("root table: %w", errEven)
	}
	if loaded&1 == 1 && errOdd != nil {
		if errEven != nil || !kernelOfPair(mem, abi, loaded&^1, &even) {
			return Roots{}, fmt.Errorf("root table: %w", errOdd)
		}
		return Roots{
			Kernel: (loaded &^ 1).Phys(), User: (loaded &^ 1).Phys(), UserMissing: true,
			Why: fmt.Sprintf("the user root at %v is not in the capture; the frame before it maps the kernel and "+
				"forbids execution in the user half, as the kernel root of a PTI pair does", loaded.Phys()),
		}, nil
	}
	r := Roots{Kernel: loaded.Phys(), User: loaded.Phys()}
	switch {
	case errEven == nil && errOdd == nil:
		if why := isolated(abi, &even, &odd); why != "" {
			r.Why = "no PTI: " + why
			return r, nil
		}
		return Roots{
			Kernel: (loaded &^ 1).Phys(), User: (loaded | 1).Phys(), PTI: true,
			Why: "PTI: this frame and its neighbour have the same user half, and the upper one a part of the kernel half",
		}, nil
	case loaded&1 == 1 && selfConsistent(newWalker(mem, abi, layoutBudget), loaded) != nil:
		r.PTI, r.KernelMissing = true, true
		r.Why = "it does not map the whole kernel, as a user root under PTI; the frame before it, which should hold the " +
			"kernel's root, is not in the capture"
	default:
		r.Why = "no PTI seen: the neighbouring frame is not in the capture"
	}
	return r, nil
}

// isolated says why the two tables are not the kernel and the user root of one address space, "" if they are.
func isolated(abi *x86.ABI, kernel, user *physmem.Table) string {
	const top = x86.EntriesPerTable - 1
	present := func(e uint64) bool { return e&x86.PagePresent != 0 }
	if !present(kernel[top]) || !present(user[top]) {
		return "the top entry of one of the two frames is not present"
	}
	if abi.TableFrame(kernel[top]) == abi.TableFrame(user[top]) {
		return "both frames reach the top of the address space through one table"
	}
	fewer := false
	for i := range kernel {
		k, u := kernel[i], user[i]
		switch {
		case i < x86.EntriesPerTable/2 && (present(k) != present(u) || present(k) && abi.TableFrame(k) != abi.TableFrame(u)):
			return fmt.Sprintf("user entry %d of the two frames differs", i)
		case present(u) && !present(k):
			return fmt.Sprintf("kernel entry %d is in the upper frame only", i)
		case present(k) && !present(u):
			fewer = true
		}
	}
	if !fewer {
		return "the upper frame lacks no kernel entry"
	}
	return ""
}

// kernelOfPair reports whether a table is the kernel root of a pair whose other half is not there to be compared: it maps
// the kernel, and each of its user entries has NX, which Linux sets only in such roots.
//
// Linux: arch/x86/mm/pti.c:__pti_set_user_pgtbl()
func kernelOfPair(mem physmem.Reader, abi *x86.ABI, root x86.PFN, t *physmem.Table) bool {
	const program = x86.PagePresent | x86.PageUser
	used := false
	for _, e := range t[:x86.EntriesPerTable/2] {
		if e&program != program {
			continue
		}
		if used = true; e&x86.PageNX == 0 {
			return false
		}
	}
	return used && selfConsistent(newWalker(mem, abi, layoutBudget), root) == nil
}

// selfConsistent says why the table at root is not the root of a Linux kernel, nil if it is: it maps an image where
// Linux has it, it maps RAM linearly, and the two agree on where the image is.
func selfConsistent(w *walker, root x86.PFN) error {
	f := newFinder(w, root, nil)
	f.text()
	if f.l.TextFirst == 0 {
		return fmt.Errorf("it maps nothing at %v, where the kernel image lies", startKernelMap)
	}
	image, _, _ := f.w.lookup(root, f.l.TextFirst)
	for va := f.l.geo.direct; va < cpuEntryArea; va += gib {
		s, used := f.nextSlot(va, cpuEntryArea-1)
		if !used {
			break
		}
		va = s.va
		base, linear := f.base(s)
		if !linear || base&(gib-1) != 0 || base < f.l.geo.direct || base > va {
			continue
		}
		if pa, _, ok := f.w.lookup(root, base+x86.Virt(image)); ok && pa == image {
			return nil
		}
		return fmt.Errorf("its linear mapping from %v on does not hold the kernel image at %v", base, image)
	}
	if f.err != nil {
		return f.err
	}
	return errors.New("it has no linear mapping of RAM")
}

// mapsItself reports whether the kernel image that root maps contains the root's own frame, as only init_mm's does.
func mapsItself(w *walker, root x86.PFN) (x86.Virt, bool) {
	f := newFinder(w, root, nil)
	f.text()
	l := f.l
	if l.TextFirst == 0 {
		return 0, false
	}
	va := startKernelMap + x86.Virt(root.Phys()-l.PhysBase)
	if va < l.TextFirst || va > l.TextLast {
		return 0, false
	}
	pa, _, ok := f.w.lookup(root, va)
	return va, ok && pa == root.Phys()
}
