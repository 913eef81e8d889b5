package linux

import (
	"fmt"
)

// maxZones is the number of memory zones that an x86-64 kernel with CONFIG_ZONE_DEVICE has: DMA, DMA32, Normal,
// Movable, Device.
//
// Linux: include/linux/mmzone.h:enum zone_type
const maxZones = 5

// zones works out MAX_NR_ZONES from the sizes in VMCOREINFO: struct pglist_data starts with the zones, then come two
// lists of zones to fall back on (16 bytes for every zone of every node, and an end), then nr_zones.
//
// Linux: include/linux/mmzone.h:struct pglist_data, struct zonelist
func (v *VMCoreInfo) zones() (int, bool) {
	zone, ok1 := v.Size("zone")
	nrZones, ok2 := v.Offset("pglist_data.nr_zones")
	start, ok3 := v.Offset("pglist_data.node_zones")
	nodes, ok4 := v.Length("node_data")
	if !ok1 || !ok2 || !ok3 || !ok4 || start != 0 || zone > 1<<20 || nodes > 1<<16 {
		return 0, false
	}
	const reference = 16 // sizeof(struct zoneref)
	for n := uint64(1); n <= maxZones; n++ {
		if n*zone+2*reference*(n*nodes+1) == nrZones {
			return int(n), true
		}
	}
	return 0, false
}

// devicePrivate decides about CONFIG_DEVICE_PRIVATE. certain says that the capture proves it.
func devicePrivate(release string, vmci *VMCoreInfo, image imageText) (on, certain bool, why string) {
	v, known := parseVersion(release)
	name, exported := "make_device_exclusive()", image.deviceExclusive
	if known && v.before(version{5, 14}) {
		name, exported = "migrate_vma_setup()", image.migrateVMA
	}
	switch {
	case image.config != nil:
		return image.config.on("DEVICE_PRIVATE"), true, "the kernel's own configuration (IKCONFIG)"
	case exported:
		return true, true, "the kernel image names " + name + ", which exists only with it"
	case image.exports && (known || !image.migrateVMA):
		return false, true, "the kernel image does not export " + name + ", as it would with it"
	}
	n, ok := vmci.zones()
	if ok && n == 2 {
		return false, true, "VMCOREINFO's sizes show two memory zones, so there is no ZONE_DEVICE, which it needs"
	}
	if ok && n < maxZones {
		return false, false, fmt.Sprintf("VMCOREINFO's sizes show %d memory zones; with ZONE_DEVICE, which it needs, "+
			"and the usual others there would be %d", n, maxZones)
	}
	if debian(release) {
		if v.before(version{6, 13}) {
			return false, false, "Debian's kernels up to 6.12 are built without it"
		}
		return true, false, "Debian's kernels are built with it (known of 6.16 to 7.3)"
	}
	return false, false, "nothing in the capture tells; some distributions have it on"
}

// SwapClass is what a swap type number stands for, as far as its offset is concerned.
type SwapClass uint8

// The classes of swap types.
const (
	SwapUnused SwapClass = iota // no type of this kernel
	SwapFile                    // a place in swap file number Type
	SwapRAM                     // the offset is a frame of RAM: migration, hwpoison, device-exclusive
	SwapDevice                  // the offset is a frame of device memory, which is no RAM
	SwapOther                   // the offset is neither: markers
)

// SwapUse is how a capture's tables use one swap type.
type SwapUse struct {
	Type uint8
	// On and Off are the classes of Type with and without CONFIG_DEVICE_PRIVATE.
	On, Off SwapClass
	// InRAM and Outside count the entries by their offset, taken as a frame: in RAM ([Layout.RAMEnd]) or above.
	InRAM, Outside uint64
}

// manySwapFiles is more swap files than machines have. Linux numbers them from 0 and uses the lowest number free.
const manySwapFiles = 16

// DevicePrivateContradicted says in what the swap types that the tables use contradict a setting of
// CONFIG_DEVICE_PRIVATE, "" if they do not. It speaks up only where the other setting makes sense of the entries.
func DevicePrivateContradicted(setting bool, uses []SwapUse) string {
	for _, u := range uses {
		now, other := u.Off, u.On
		if setting {
			now, other = u.On, u.Off
		}
		was := fmt.Sprintf("with CONFIG_DEVICE_PRIVATE=%s swap type %d", onOff(setting), u.Type)
		switch {
		case now == SwapUnused && fits(other, u):
			return was + " does not exist; with the other setting it does"
		case now == SwapFile && u.Type >= manySwapFiles && other != SwapFile && fits(other, u):
			return fmt.Sprintf("%s is swap file number %d, which hardly any machine has", was, u.Type)
		case now == SwapDevice && u.InRAM > 0 && u.Outside == 0 && other == SwapRAM:
			return fmt.Sprintf("%s means device memory, but every entry (%d) names a frame of RAM", was, u.InRAM)
		case now == SwapRAM && u.Outside > 0 && u.InRAM == 0 && other == SwapDevice:
			return fmt.Sprintf("%s means a frame of RAM, but every entry (%d) names one above it", was, u.Outside)
		}
	}
	return ""
}

// fits reports whether entries used this way can be of class c.
func fits(c SwapClass, u SwapUse) bool {
	switch c {
	case SwapUnused:
		return false
	case SwapRAM:
		return u.Outside == 0
	case SwapDevice:
		return u.InRAM == 0
	}
	return true
}

func onOff(on bool) string {
	if on {
		return "y"
	}
	return "n"
}
