//go:build linux && amd64

package peers

import (
	"testing"

	"gvisor.dev/gvisor/pkg/cpuid"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

// rights are the rights of a user page that may be read.
type rights uint8

const (
	write rights = 1 << iota
	exec
	rightsCount = 4
)

// span is a range of pages, and the consecutive frames that it is or will be mapped to.
type span struct {
	first x86.Virt
	pages int
	frame x86.PFN
}

// at returns the frame of the page at va.
func (s span) at(va x86.Virt) x86.PFN { return s.frame + x86.PFN((va-s.first)/x86.PageSize) }

// page returns the address of page i.
func (s span) page(i int) x86.Virt { return s.first + x86.Virt(i)*x86.PageSize }

// part returns n pages from page i on.
func (s span) part(i, n int) span { return span{s.page(i), n, s.frame + x86.PFN(i)} }

// small reports that no part of s can be mapped by a larger page.
func (s span) small() bool {
	return (uint64(s.first)/x86.PageSize-uint64(s.frame))%x86.EntriesPerTable != 0
}

// side is one implementation of page tables. A failure ends the test.
type side interface {
	name() string
	mapAll(s span, r rights) // nothing is mapped there
	unmap(s span)
	protect(s span, r rights) // ptemu ignores s.frame, and pages that are not mapped
	lookup(va x86.Virt) (x86.PFN, rights, bool)

	// Operations on single pages come in lists, so that the call of an interface method does not count.
	lookups(at []x86.Virt) (sum uint64) // of frames and rights
	protectPages(s span, at []x86.Virt, r rights)
	setPages(s span, at []x86.Virt, r rights)

	// each calls f for every page that is mapped, ascending.
	each(f func(va x86.Virt, pfn x86.PFN, r rights))
	// unit returns a processor that uses the tables, and its memory.
	unit() (*mmu.MMU, physmem.Reader)
}

// levels returns how deep gVisor makes its tables on this host.
func levels() int {
	cpuid.Initialize()
	if fs := cpuid.HostFeatureSet(); fs.HasFeature(cpuid.X86FeatureLA57) {
		return 5
	}
	return 4
}

// newUnit returns a processor that uses the tables at cr3.
func newUnit(tb testing.TB, cr3 uint64) *mmu.MMU {
	tb.Helper()
	regs := mmu.LinuxRegs(cr3, levels())
	unit, err := mmu.New(regs, regs.Paging(52, 0))
	if err != nil {
		tb.Fatal(err)
	}
	return unit
}
