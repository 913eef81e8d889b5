package proc

import (
	"errors"
	"fmt"
	"strings"

	"ptemu/arch/x86"
	"ptemu/linux"
)

// byRoots finds address spaces by their root tables alone.
func (f *finder) byRoots() (*Processes, error) {
	f.out.List, f.out.flags = nil, nil
	clear(f.mms)
	err := f.addRoots()
	if f.ctx.Err() != nil {
		return nil, f.ctx.Err()
	}
	if len(f.out.List) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, errors.Join(err, f.why()))
	}
	return f.out, nil
}

// addRoots adds the address spaces of which nothing but the root table is known, by searching RAM for them.
func (f *finder) addRoots() error {
	all, err := linux.FindAllRoots(f.ctx, f.phys, f.sys, f.opt.Progress)
	if all == nil || f.ctx.Err() != nil {
		return err
	}
	if err != nil {
		f.warn("the search for root tables: %v", err)
	}
	known := map[x86.Phys]bool{}
	for _, mm := range f.mms {
		if mm != nil {
			known[mm.Roots.Kernel] = true
		}
	}
	if pa, ok := f.pokingRoot(); ok {
		known[pa] = true
	}
	n := 0
	for _, r := range all.Roots {
		if !known[r.Kernel] {
			n++
			f.out.List = append(f.out.List, &Process{PID: -1, TGID: -1, PPID: -1, MM: &MM{Roots: r}})
		}
	}
	f.fact("address spaces", fmt.Sprint(n), fmt.Sprintf("root tables found in %d frames of RAM; who runs on them is not known", all.Frames))
	return err
}

// pokingRoot returns the root of the address space with which the kernel changes its own code: no process runs on it.
//
// Linux: arch/x86/mm/init.c:poking_init()
func (f *finder) pokingRoot() (x86.Phys, bool) {
	if f.shapes == nil {
		return 0, false
	}
	for _, name := range []string{"text_poke_mm", "poking_mm"} { // the latter before 6.16
		if va, ok := f.symbol(name); ok {
			mm := f.at(va).ptr(member{0, 8})
			pa, err := f.mem.Phys(f.at(mm).ptr(f.shapes.mm.pgd))
			return pa, err == nil
		}
	}
	return 0, false
}

// why returns why the lists were of no use, nil if they were not looked at.
func (f *finder) why() error {
	if len(f.out.Warnings) == 0 {
		return errors.New("no root table in RAM")
	}
	return errors.New(strings.Join(f.out.Warnings, "; "))
}
