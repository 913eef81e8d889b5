package swapentry_test

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// A PTE of a 6.1 kernel with CONFIG_DEVICE_PRIVATE: a page that was writable and dirty when its migration began.
func ExampleLayout_Decode() {
	kernel := x86.Linux6_1()
	kernel.DevicePrivate = true
	layout := swapentry.NewLayout(x86.MustABI(kernel, x86.DefaultPaging(4)))

	e := layout.Decode(x86.LevelPTE, 0xcfffe7fffdb97402)
	fmt.Println(e.Kind, e.Access, "young", e.Young, "dirty", e.Dirty, "soft-dirty", e.SoftDirty)
	fmt.Printf("type %d frame %#x\n", e.Type, uint64(e.PFN))
	fmt.Println(layout.Pagemap(e.Level, 0xcfffe7fffdb97402, 0, swapentry.PageFacts{}))
	// Output:
	// migration write young true dirty true soft-dirty true
	// type 25 frame 0x12345
	// swap type 25 offset 0x12345 soft-dirty
}
