package proc

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// flagSet says what the bits of vm_flags mean in one kernel.
type flagSet struct {
	codes []flagCode // ascending by bit
}

type flagCode struct {
	mask uint64
	code string // as the line VmFlags of /proc/pid/smaps prints it; "" for bits that it does not print
}

// unnamed is how smaps prints a bit that it has no code for.
const unnamed = "??"

// FlagNames returns the two-letter codes of the bits that are set, as the line VmFlags of /proc/pid/smaps prints them, in
// its order. A bit that the kernel has no code for is "??" there, and here.
//
// Linux: fs/proc/task_mmu.c:show_smap_vma_flags()
func (p *Processes) FlagNames(flags uint64) []string {
	var names []string
	if p.flags == nil {
		return nil
	}
	for _, c := range p.flags.codes {
		if flags&c.mask != 0 && c.code != "" {
			names = append(names, c.code)
		}
	}
	return names
}

// Flag returns the bit of vm_flags with a code, 0 if this kernel has none: "rd", "wr", "ex", "sh", "mw" (VM_MAYWRITE), "um" and "uw"
// (userfaultfd missing and write-protect), "sd" (VM_SOFTDIRTY), "ht" (hugetlb), "pf" (PFN map), "mm" (mixed map), "io".
func (p *Processes) Flag(code string) uint64 {
	if p.flags == nil || code == unnamed {
		return 0
	}
	for _, c := range p.flags.codes {
		if c.code == code {
			return c.mask
		}
	}
	return 0
}

// flagBits are the flags that have a code: the constant of enum vma_flag_bits, without VMA_ and _BIT, and the bit where
// kernels without that enumeration have it. SOFTDIRTY is never set in a kernel without CONFIG_MEM_SOFT_DIRTY, and so it is with
// the others that need an option.
//
// Linux: include/linux/mm.h
var flagBits = []struct {
	name, code string
	bit        uint
}{
	{"READ", "rd", 0}, {"WRITE", "wr", 1}, {"EXEC", "ex", 2}, {"SHARED", "sh", 3},
	{"MAYREAD", "mr", 4}, {"MAYWRITE", "mw", 5}, {"MAYEXEC", "me", 6}, {"MAYSHARE", "ms", 7},
	{"GROWSDOWN", "gd", 8}, {"UFFD_MISSING", "um", 9}, {"PFNMAP", "pf", 10}, {"UFFD_WP", "uw", 12},
	{"LOCKED", "lo", 13}, {"IO", "io", 14}, {"SEQ_READ", "sr", 15}, {"RAND_READ", "rr", 16},
	{"DONTCOPY", "dc", 17}, {"DONTEXPAND", "de", 18}, {"ACCOUNT", "ac", 20}, {"NORESERVE", "nr", 21},
	{"HUGETLB", "ht", 22}, {"SYNC", "sf", 23}, {"ARCH_1", "ar", 24}, {"WIPEONFORK", "wf", 25},
	{"DONTDUMP", "dd", 26}, {"SOFTDIRTY", "sd", 27}, {"MIXEDMAP", "mm", 28}, {"HUGEPAGE", "hg", 29},
	{"NOHUGEPAGE", "nh", 30}, {"MERGEABLE", "mg", 31},
	{"PKEY_BIT0", "", 32}, {"PKEY_BIT1", "", 33}, {"PKEY_BIT2", "", 34}, {"PKEY_BIT3", "", 35},
}

// laterBits are those that not all releases have, with the releases in which the bit is where it says: from the first to
// before the second. {} is no bound.
var laterBits = []struct {
	name, code  string
	bit         uint
	since, till version
	certain     bool
}{
	{"DENYWRITE", "dw", 11, version{}, version{5, 15}, true},
	{"UFFD_MINOR", "ui", 37, version{5, 13}, version{6, 6}, true},
	{"UFFD_MINOR", "ui", 38, version{6, 6}, version{6, 13}, true},
	{"UFFD_MINOR", "ui", 38, version{6, 13}, version{6, 16}, false}, // moved by updates of these, too
	{"UFFD_MINOR", "ui", 41, version{6, 16}, version{}, true},
	{"LOCKONFAULT", "lf", 19, version{6, 12}, version{}, true},
	{"SHADOW_STACK", "ss", 37, version{6, 6}, version{}, true},
	{"DROPPABLE", "dp", 40, version{6, 11}, version{}, true},
	{"SEALED", "sl", 63, version{6, 10}, version{6, 17}, true},
	{"SEALED", "sl", 42, version{6, 17}, version{}, true},
	{"MAYBE_GUARD", "gu", 11, version{6, 19}, version{}, true},
	{"UFFD_RWP", "ur", 43, version{7, 3}, version{}, true},
}

// flagSet decides what the bits mean: by the kernel's own enumeration since 6.19, before that by its release.
func (f *finder) flagSet() *flagSet {
	codes := map[uint64]string{}
	for i := range uint(64) {
		codes[1<<i] = unnamed
	}
	own := f.types.Constants("VMA_")
	v := f.version()
	set := func(name, code string, bit uint) {
		if n, ok := own["VMA_"+name+"_BIT"]; ok && n < 64 {
			bit = uint(n)
		}
		codes[1<<bit] = code
	}
	_, enum := own["VMA_READ_BIT"]
	absent := func(name string) bool {
		_, ok := own["VMA_"+name+"_BIT"]
		return enum && !ok
	}
	for _, b := range flagBits {
		if !absent(b.name) {
			set(b.name, b.code, b.bit)
		}
	}
	for _, b := range laterBits {
		there := !v.before(b.since.major, b.since.minor) && (b.till == version{} || v.before(b.till.major, b.till.minor))
		if !there || absent(b.name) {
			continue
		}
		set(b.name, b.code, b.bit)
		if !enum && !b.certain {
			f.assume("vm_flags "+b.code, fmt.Sprintf("bit %d", b.bit), "the kernel's types do not say, and the bit moved within this release")
		}
	}
	if enum {
		f.fact("vm_flags", fmt.Sprintf("%d bits have a code", len(named(codes))), "the kernel's own constants VMA_*_BIT")
	} else {
		f.assume("vm_flags", fmt.Sprintf("as in %d.%d", v.major, v.minor), "the kernel's types do not name the bits; the release decides")
	}
	out := &flagSet{}
	for _, mask := range slices.Sorted(maps.Keys(codes)) {
		out.codes = append(out.codes, flagCode{mask, codes[mask]})
	}
	return out
}

// named returns the bits with a code.
func named(codes map[uint64]string) []int {
	var out []int
	for mask, code := range codes {
		if code != unnamed && code != "" {
			out = append(out, bits.TrailingZeros64(mask))
		}
	}
	return out
}
