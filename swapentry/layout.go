package swapentry

import "ptemu/arch/x86"

// The arch-independent form. It leaves the top bit clear, so that an XArray can hold it as a number.
//
// Linux: include/linux/swapops.h:SWP_TYPE_SHIFT; include/linux/swap.h:MAX_SWAPFILES_SHIFT;
// include/linux/xarray.h:BITS_PER_XA_VALUE
const (
	typeBits    = 5
	xaValueBits = 63
	typeShift   = xaValueBits - typeBits
	offsetMask  = 1<<typeShift - 1
)

// The form in a page table. Linux: arch/x86/include/asm/pgtable_64.h:SWP_TYPE_BITS, SWP_OFFSET_FIRST_BIT
const (
	rawTypeShift   = 64 - typeBits
	rawOffsetFirst = x86.PageBitProtnone + 1
	rawOffsetShift = rawOffsetFirst + typeBits
	rawOffsetBits  = 64 - rawOffsetShift
)

// genericMaxSize is the number of slots that the offset field of a page-table entry can name.
//
// Linux: mm/swapfile.c:generic_max_swapfile_size()
const genericMaxSize = 1 << rawOffsetBits

// NoType stands in [Types] for a kind that the kernel does not have. No swap type is that large.
const NoType = 0xff

// Types holds the swap type number of every kind. Types below MaxSwapfiles are swap devices.
//
// Linux: include/linux/swap.h:MAX_SWAPFILES, SWP_HWPOISON, SWP_MIGRATION_READ and the others;
// include/linux/swapops.h
type Types struct {
	MaxSwapfiles uint8

	HWPoison               uint8
	MigrationRead          uint8
	MigrationReadExclusive uint8 // NoType before 5.19
	MigrationWrite         uint8
	DevicePrivateWrite     uint8 // NoType without CONFIG_DEVICE_PRIVATE
	DevicePrivateRead      uint8
	DeviceExclusiveWrite   uint8 // NoType without CONFIG_DEVICE_PRIVATE; in 7.2 the one exclusive type
	DeviceExclusiveRead    uint8 // NoType also in 7.2
	Marker                 uint8 // NoType before 5.19
	SwapinError            uint8 // 6.1 only
}

// Layout is how one kernel on one machine lays out its non-present entries. It is immutable; share it freely.
type Layout struct {
	abi      *x86.ABI
	types    Types
	kinds    [1 << typeBits]Kind
	softleaf bool
	markers  Marker

	pfnBits  uint
	young    uint64 // offset bit
	dirty    uint64
	ad       bool
	maxSlots uint64
}

// NewLayout derives the layout of abi's kernel and machine: CONFIG_SWAP, CONFIG_MIGRATION and
// CONFIG_MEMORY_FAILURE are on, as in every distribution's kernel.
func NewLayout(abi *x86.ABI) *Layout {
	k, p := abi.Kernel(), abi.Paging()
	l := &Layout{abi: abi, softleaf: k.Softleaf, markers: Marker(k.MarkerMask)}
	l.types = assignTypes(k)
	for i := range l.kinds {
		l.kinds[i] = l.types.kind(uint8(i))
	}
	l.pfnBits = maxPhysmemBits(p) - x86.PageShift
	l.young = 1 << l.pfnBits
	l.dirty = l.young << 1
	l.maxSlots = maxSwapfileSize(p)
	l.ad = k.MigrationAD && l.maxSlots >= l.dirty<<1
	return l
}

// maxPhysmemBits is MAX_PHYSMEM_BITS: the physical addresses that the kernel's memory model reaches.
//
// Linux: arch/x86/include/asm/sparsemem.h:MAX_PHYSMEM_BITS
func maxPhysmemBits(p x86.Paging) uint {
	if p.Levels == 5 {
		return 52
	}
	return 46
}

// maxSwapfileSize is the number of slots that a swap device can have. On a CPU with the L1 terminal fault the
// inverted offset must stay an address that no cache holds.
//
// Linux: arch/x86/mm/init.c:arch_max_swapfile_size()
func maxSwapfileSize(p x86.Paging) uint64 {
	if !p.L1TF {
		return genericMaxSize
	}
	pfnLimit := uint64(1) << (p.CacheBits - 1 - x86.PageShift)
	return min(genericMaxSize, pfnLimit<<(x86.PageShift-rawOffsetFirst))
}

// assignTypes numbers the special types upward from MAX_SWAPFILES, which is what they leave of the 32.
//
// Linux: include/linux/swap.h:SWP_DEVICE_NUM, SWP_MIGRATION_NUM, SWP_HWPOISON_NUM, SWP_PTE_MARKER_NUM
func assignTypes(k x86.Kernel) Types {
	t := Types{
		DevicePrivateWrite: NoType, DevicePrivateRead: NoType,
		DeviceExclusiveWrite: NoType, DeviceExclusiveRead: NoType, SwapinError: NoType,
		MigrationReadExclusive: NoType, Marker: NoType,
	}
	var order []*uint8
	add := func(exists bool, types ...*uint8) {
		if exists {
			order = append(order, types...)
		}
	}
	add(true, &t.HWPoison, &t.MigrationRead)
	add(k.MigrationExclusive, &t.MigrationReadExclusive)
	add(true, &t.MigrationWrite)
	add(k.DevicePrivate, &t.DevicePrivateWrite, &t.DevicePrivateRead)
	add(k.DevicePrivate && k.DeviceExclusiveTypes > 0, &t.DeviceExclusiveWrite)
	add(k.DevicePrivate && k.DeviceExclusiveTypes > 1, &t.DeviceExclusiveRead)
	add(k.MarkerMask != 0, &t.Marker)
	add(k.SwapinErrorType, &t.SwapinError)
	t.MaxSwapfiles = uint8(1<<typeBits - len(order))
	for i, p := range order {
		*p = t.MaxSwapfiles + uint8(i)
	}
	return t
}

func (t *Types) kind(n uint8) Kind {
	switch n {
	case t.HWPoison:
		return KindHWPoison
	case t.MigrationRead, t.MigrationReadExclusive, t.MigrationWrite:
		return KindMigration
	case t.DevicePrivateWrite, t.DevicePrivateRead:
		return KindDevicePrivate
	case t.DeviceExclusiveWrite, t.DeviceExclusiveRead:
		return KindDeviceExclusive
	case t.Marker:
		return KindMarker
	case t.SwapinError:
		return KindSwapinError
	}
	return KindSwap
}

// ABI returns the ABI that the layout was made from.
func (l *Layout) ABI() *x86.ABI { return l.abi }

// Types returns the type numbers.
func (l *Layout) Types() Types { return l.types }

// PFNBits returns the width of a frame number in an offset: 34 with four levels, 40 with five.
//
// Linux: include/linux/swapops.h:SWP_PFN_BITS
func (l *Layout) PFNBits() uint { return l.pfnBits }

// MigrationYoungMask returns the bit of a migration entry's offset that keeps A.
//
// Linux: include/linux/swapops.h:SWP_MIG_YOUNG
func (l *Layout) MigrationYoungMask() uint64 { return l.young }

// MigrationDirtyMask returns the bit of a migration entry's offset that keeps D.
//
// Linux: include/linux/swapops.h:SWP_MIG_DIRTY
func (l *Layout) MigrationDirtyMask() uint64 { return l.dirty }

// MigrationAD reports whether migration entries keep A and D at all: false where the L1TF limit leaves no room.
//
// Linux: include/linux/swapops.h:migration_entry_supports_ad()
func (l *Layout) MigrationAD() bool { return l.ad }

// MaxSwapfileSize returns the number of slots that a swap device can have.
//
// Linux: mm/swapfile.c:swapfile_maximum_size
func (l *Layout) MaxSwapfileSize() uint64 { return l.maxSlots }

// MarkerMask returns the marker bits that the kernel knows.
//
// Linux: include/linux/swapops.h:PTE_MARKER_MASK
func (l *Layout) MarkerMask() Marker { return l.markers }

func (l *Layout) pfnMask() uint64 { return 1<<l.pfnBits - 1 }
