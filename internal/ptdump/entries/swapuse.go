package entries

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/swapentry"
)

// swapUses counts how the tables use each swap type, to see in the end whether CONFIG_DEVICE_PRIVATE, which moves the
// numbers, was assumed right.
type swapUses struct {
	layout *swapentry.Layout
	ramEnd x86.PFN // 0 if not known: then nothing is counted
	types  [32]linux.SwapUse
}

// add counts n entries like l.
func (u *swapUses) add(l *tree.Leaf, n uint64) {
	if u.ramEnd == 0 || l.IsPage() || int(l.Swap.Type) >= len(u.types) {
		return
	}
	t := &u.types[l.Swap.Type]
	if swapentry.MkSwp(l.Swap.Type, l.Swap.Offset).PFN(u.layout) < u.ramEnd {
		t.InRAM += n
	} else {
		t.Outside += n
	}
}

// doubt says what speaks against the assumption about CONFIG_DEVICE_PRIVATE, "" if nothing does or nothing was
// assumed.
func (u *swapUses) doubt(sys *linux.System) string {
	const what = "CONFIG_DEVICE_PRIVATE"
	assumed := false
	for _, a := range sys.Assumptions {
		assumed = assumed || a.What == what
	}
	if !assumed {
		return ""
	}
	kernel := sys.ABI.Kernel()
	on, off := kernel, kernel
	on.DevicePrivate, off.DevicePrivate = true, false
	layoutOn := swapentry.NewLayout(x86.MustABI(on, sys.ABI.Paging()))
	layoutOff := swapentry.NewLayout(x86.MustABI(off, sys.ABI.Paging()))
	var uses []linux.SwapUse
	for i, t := range u.types {
		if t.InRAM+t.Outside > 0 {
			t.Type, t.On, t.Off = uint8(i), swapClass(layoutOn, uint8(i)), swapClass(layoutOff, uint8(i))
			uses = append(uses, t)
		}
	}
	return linux.DevicePrivateContradicted(kernel.DevicePrivate, uses)
}

// swapClass returns what a swap type stands for.
func swapClass(l *swapentry.Layout, t uint8) linux.SwapClass {
	switch l.Decode(x86.LevelPTE, uint64(swapentry.MkSwp(t, 1).PTE())).Kind {
	case swapentry.KindSwap:
		return linux.SwapFile
	case swapentry.KindMigration, swapentry.KindHWPoison, swapentry.KindDeviceExclusive:
		return linux.SwapRAM
	case swapentry.KindDevicePrivate:
		return linux.SwapDevice
	case swapentry.KindUnknown:
		return linux.SwapUnused
	}
	return linux.SwapOther
}
