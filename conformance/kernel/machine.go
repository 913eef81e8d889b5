//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"

	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// NotHereError is why the machine is not one that a program can run on.
type NotHereError string

func (e NotHereError) Error() string { return "not on this machine: " + string(e) }

// NotHere returns the reason.
func (e NotHereError) NotHere() string { return string(e) }

const hugeFolder = "/sys/kernel/mm/transparent_hugepage/"

// maxOrder is the highest order of a large folio below a huge page.
const maxOrder = 8

// machine sets up what the program wants of the machine. The swap device is a RAM disk, read without the swap cache,
// whether the program says so or not.
func (t *Target) machine(p *litmus.Program) error {
	if otherNode(p) {
		return NotHereError("all processors are on one node")
	}
	huge, zero, orders := "madvise", "1", uint64(0)
	for _, o := range p.Machine {
		switch o.Name {
		case "huge-pages":
			huge = "always"
		case "no-huge-zero":
			zero = "0"
		case "orders":
			orders = o.Num
		case "frames", "slots", "shmem-order":
			return NotHereError("its memory cannot be made scarce or large: " + o.Name)
		case "device-private":
			if !t.k.abi.Kernel().DevicePrivate {
				return NotHereError("no device-private memory")
			}
		case "levels":
			if int(o.Num) != t.k.abi.Paging().Levels {
				return NotHereError(fmt.Sprintf("its page tables have %d levels", t.k.abi.Paging().Levels))
			}
		}
	}
	return errors.Join(t.k.write(hugeFolder+"enabled", huge), t.k.write(hugeFolder+"use_zero_page", zero), t.orders(orders))
}

// Expects implements [litmus.Particular]: why what the program expects does not hold here although the kernel does as it should: it depends on the
// swap device, on the kernel's configuration, or on what processors keep. "" if it does not.
func (t *Target) Expects(p *litmus.Program) string {
	said := map[string]bool{}
	for _, o := range p.Machine {
		said[o.Name] = true
	}
	if said["translations-stay"] {
		return "a guest's processors forget translations whenever processes change"
	}
	for i := range p.Steps {
		value, numbered := false, false
		for _, it := range p.Steps[i].Items {
			switch it.Name {
			case "swap-cached":
				if !said["swap-direct"] {
					return "its swap device is a RAM disk, which the swap cache is not kept for"
				}
			case "value":
				value = true
			case "hwpoison", "migration", "migration-read", "migration-read-exclusive", "migration-write":
				numbered = true
			}
		}
		if value && numbered && t.k.abi.Kernel().DevicePrivate && !said["device-private"] {
			return "CONFIG_DEVICE_PRIVATE numbers its swap types otherwise than the values expected"
		}
	}
	return ""
}

// otherNode reports that the program has NUMA hints, and processors of both nodes.
func otherNode(p *litmus.Program) bool {
	const first = 2 // processor of the second node
	hints, other := false, false
	for i := range p.Steps {
		hints = hints || p.Steps[i].Op.Verb == "numa"
		other = other || p.Steps[i].CPU >= first
	}
	return hints && other
}

// orders says which large folios anonymous faults take. Kernels before 6.8 take none.
func (t *Target) orders(orders uint64) error {
	if orders == t.k.orders {
		return nil
	}
	t.k.orders = orders
	for order := range uint64(maxOrder + 1) {
		on := "never"
		if orders>>order&1 != 0 {
			on = "always"
		}
		err := t.k.write(fmt.Sprintf("%shugepages-%dkB/enabled", hugeFolder, 4<<order), on)
		// A file that is not there cannot be made either: this order, or this kernel, has none.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			return err
		}
	}
	return nil
}
