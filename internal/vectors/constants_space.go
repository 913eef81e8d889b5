package vectors

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/physmem"
)

// imageSize is KERNEL_IMAGE_SIZE of a kernel without CONFIG_RANDOMIZE_BASE, as all that made vectors.
//
// Linux: arch/x86/include/asm/page_64_types.h:KERNEL_IMAGE_SIZE
const imageSize = 512 << 20

// spaceConstants are addresses. What package linux takes a capture for that shows nothing is where the areas lie
// without KASLR.
var spaceConstants = map[string]constant{
	"FIRST_USER_ADDRESS": start(linux.RegionUser),
	"TASK_SIZE_MAX":      func(c *Config) uint64 { return uint64(c.ABI.Paging().TaskSizeMax()) },
	"PAGE_OFFSET":        start(linux.RegionDirectMap),
	"VMALLOC_START":      start(linux.RegionVMalloc),
	"VMEMMAP_START":      start(linux.RegionVMemmap),
	"__START_KERNEL_map": start(linux.RegionText),
	"MODULES_VADDR":      start(linux.RegionModules),
	// The last page, not the end.
	"FIXADDR_TOP": func(c *Config) uint64 { return uint64(c.Space[len(c.Space)-1].Addr) - x86.PageSize },
}

func start(r linux.Region) constant {
	return func(c *Config) uint64 {
		for _, m := range c.Space {
			if m.Region == r {
				return uint64(m.Addr)
			}
		}
		return ^uint64(0) // no constant: a difference
	}
}

// emptySpace returns the regions of a kernel whose tables map nothing.
func emptySpace(abi *x86.ABI) ([]linux.Marker, error) {
	info, err := linux.ParseVMCoreInfo(fmt.Appendf(nil, "NUMBER(KERNEL_IMAGE_SIZE)=%d\n", imageSize))
	if err != nil {
		return nil, err
	}
	l, _ := linux.FindLayout(zeroes{}, abi, 0, info)
	return l.Markers(), nil
}

// zeroes is a memory of one frame, all zero.
type zeroes struct{}

func (zeroes) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	*dst = physmem.Frame{}
	return nil
}

func (zeroes) Ranges() []physmem.Range { return []physmem.Range{{End: x86.PageSize}} }
