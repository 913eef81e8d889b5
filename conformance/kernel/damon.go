//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
)

const damonFolder = "/sys/kernel/mm/damon/admin/kdamonds/"

// damonContext is the one that is set up: it watches all memory, and applies its scheme to what the filters leave.
const (
	damonContext = damonFolder + "0/contexts/0/"
	damonScheme  = damonContext + "schemes/0/"
	damonBelow   = damonScheme + "filters/0/"
	damonAbove   = damonScheme + "filters/1/"
)

// damonSetUp asks for one scheme: page out what is at some physical addresses, soon. DAMON clears the accessed bit of a
// page here and there to see who uses it; in all of memory it seldom meets one of the program's.
//
// Linux: Documentation/admin-guide/mm/damon/usage.rst
var damonSetUp = []struct{ file, text string }{
	{damonFolder + "nr_kdamonds", "1"},
	{damonFolder + "0/contexts/nr_contexts", "1"},
	{damonContext + "operations", "paddr"},
	{damonContext + "monitoring_attrs/intervals/sample_us", "4000"},
	{damonContext + "monitoring_attrs/intervals/aggr_us", "4000"},
	{damonContext + "targets/nr_targets", "1"},
	{damonContext + "targets/0/regions/nr_regions", "1"},
	{damonContext + "targets/0/regions/0/end", strconv.Itoa(vm.MemoryBytes)},
	{damonContext + "schemes/nr_schemes", "1"},
	{damonScheme + "action", "pageout"},
	{damonScheme + "apply_interval_us", "200000"}, // slow enough to be stopped after the look that counts
	{damonScheme + "access_pattern/sz/max", "1000000000"},
	{damonScheme + "access_pattern/nr_accesses/max", "1000000000"},
	{damonScheme + "access_pattern/age/max", "1000000000"},
	{damonScheme + "filters/nr_filters", "2"},
	{damonBelow + "type", "addr"},
	{damonBelow + "matching", "Y"},
	{damonBelow + "addr_start", "0"},
	{damonAbove + "type", "addr"},
	{damonAbove + "matching", "Y"},
	{damonAbove + "addr_end", strconv.Itoa(vm.MemoryBytes)},
}

// pageOut has DAMON take a frame out of memory. It leaves a page alone that was used since it looked last, so it is the
// second look that counts.
func (k *Kernel) pageOut(pfn x86.PFN) error {
	for _, s := range damonSetUp {
		if err := k.write(s.file, s.text); err != nil {
			return fmt.Errorf("%s: %v", s.file, err)
		}
	}
	const looks = 2
	start := uint64(pfn) * x86.PageSize
	err := errors.Join(k.write(damonBelow+"addr_end", fmt.Sprint(start)), k.write(damonAbove+"addr_start", fmt.Sprint(start+x86.PageSize)),
		k.write(damonFolder+"0/state", "on"))
	if err != nil {
		return fmt.Errorf("DAMON: %v", err)
	}
	err = k.until("DAMON's turn", func() (bool, error) {
		if err := k.write(damonFolder+"0/state", "update_schemes_stats"); err != nil {
			return false, err
		}
		n, err := k.number(damonScheme + "stats/nr_tried")
		return n >= looks, err
	})
	return errors.Join(err, k.write(damonFolder+"0/state", "off"), k.write(damonFolder+"nr_kdamonds", "0"))
}
