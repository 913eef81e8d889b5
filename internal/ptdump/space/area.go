package space

import (
	"sort"

	"ptemu/arch/x86"
	"ptemu/linux/proc"
)

// FindArea returns the first area that ends above va: the one that holds it, if any does.
func FindArea(areas []proc.VMA, va x86.Virt) int {
	return sort.Search(len(areas), func(i int) bool { return areas[i].End > va })
}

// AreaAt returns the area that holds va, nil if none does.
func AreaAt(areas []proc.VMA, va x86.Virt) *proc.VMA {
	if i := FindArea(areas, va); i < len(areas) && areas[i].Start <= va {
		return &areas[i]
	}
	return nil
}

// AreaName returns what /proc/PID/maps prints last: the file, or what the memory is for.
func AreaName(a *proc.VMA) string {
	if a.Name == "" && a.File != nil {
		return a.File.Path
	}
	return a.Name
}

// AreaPerms returns the rights of an area as /proc/PID/maps prints them, "????" if the meaning of its flags is not
// known.
//
// Linux: fs/proc/task_mmu.c:show_vma_header_prefix()
func AreaPerms(procs *proc.Processes, a *proc.VMA) string {
	perms := []byte("---p")
	for i, f := range [...]struct {
		code string
		char byte
	}{{"rd", 'r'}, {"wr", 'w'}, {"ex", 'x'}, {"ms", 's'}} {
		bit := procs.Flag(f.code)
		if bit == 0 {
			return "????"
		}
		if a.Flags&bit != 0 {
			perms[i] = f.char
		}
	}
	return string(perms)
}
