package linux

import (
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// version is the part of a release that decides about features: major and minor number.
type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) before(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// parseVersion reads the start of a release such as "6.12.107+deb13-amd64".
func parseVersion(release string) (version, bool) {
	major, rest, ok := strings.Cut(release, ".")
	if !ok {
		return version{}, false
	}
	digits := len(rest)
	for i, c := range rest {
		if c < '0' || c > '9' {
			digits = i
			break
		}
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(rest[:digits], 10, 16)
	return version{int(a), int(b)}, errA == nil && errB == nil
}

// change is what a release brought, as far as the page tables are concerned. Distributions move changes to older
// releases; none of these is known to have been.
type change struct {
	since version
	what  string
	apply func(*x86.Kernel)
}

// changes leads from the features of 6.1 to those of 7.2, in order. What is only known to lie between 6.12 and 7.2
// stands at 7.2: none of it moves a bit or a type number.
var changes = []change{
	{version{6, 2}, "poisoned marker in place of the swap-in error type", func(k *x86.Kernel) {
		k.SwapinErrorType, k.MarkerMask = false, k.MarkerMask|2
	}},
	{version{6, 3}, "uffd-wp takes the write bit away", func(k *x86.Kernel) { k.UffdWPProtects = true }},
	{version{6, 6}, "SAVED_DIRTY in bit 58, DEVMAP in bit 57", func(k *x86.Kernel) {
		k.SavedDirty, k.DevmapBit, k.KernelRODirty, k.PMDModifyDropsDirty = true, 57, false, true
	}},
	{version{6, 9}, "pud_leaf() without P", func(k *x86.Kernel) { k.PUDLeafNeedsPresent = false }},
	{version{6, 12}, "SPECIAL in huge entries, NOPTISHADOW, pagemap without the exclusive bit of swap entries",
		func(k *x86.Kernel) {
			k.HugeSpecial, k.NoPTIShadow, k.PagemapSwapExclusive = true, true, false
			// Known to lie between 6.1 and 6.12; how the kernel changes entries, not how it reads them.
			k.ProtectStops, k.ProtectRetries, k.HugeUpgrade, k.RestoreTrustsWrite = true, true, true, true
			k.SplitKeepsDirty, k.CollapseSeesMarkers, k.ProtectPUDs = true, true, true
		}},
	{version{6, 13}, "guard marker", func(k *x86.Kernel) { k.MarkerMask |= 4 }},
	{version{6, 15}, "one device-exclusive swap type", func(k *x86.Kernel) { k.DeviceExclusiveTypes = 1 }},
	{version{6, 17}, "no DEVMAP", func(k *x86.Kernel) { k.DevmapBit = 0 }},
	{version{6, 19}, "softleaf: a zero entry is no swap entry", func(k *x86.Kernel) { k.Softleaf = true }},
	{version{7, 2}, "KERNEL_4K in bit 11 of kernel entries", func(k *x86.Kernel) {
		k.Kernel4K, k.WriteCombineReplaces, k.PMDModifyDropsDirty = true, true, false
		k.ProtectBatches, k.HugeZeroSpecial, k.CollapseNeedsWrite = true, true, false
	}},
}

// features returns the features of a release, and why: those of the oldest known kernel, with what arrived up to the
// release. Of the three releases that x86 knows the result is exactly theirs. Releases outside the known ones get the
// nearest.
func features(v version) (k x86.Kernel, why string, known bool) {
	known3 := x86.Kernels()
	oldest, newest := known3[0], known3[len(known3)-1]
	first, _ := parseVersion(oldest.Release)
	last, _ := parseVersion(newest.Release)
	switch {
	case v.before(first):
		return oldest, fmt.Sprintf("release %v predates the oldest known kernel; %v is the nearest", v, first), false
	case last.before(v):
		return newest, fmt.Sprintf("release %v is newer than the newest known kernel; %v is the nearest", v, last), false
	}
	k = oldest
	k.Release = v.String()
	var arrived []string
	for _, c := range changes {
		if !v.before(c.since) {
			c.apply(&k)
			arrived = append(arrived, c.what)
		}
	}
	if _, err := x86.KernelNamed(k.Release); err == nil {
		return k, "a known kernel", true
	}
	why = fmt.Sprintf("between known kernels: %v with what arrived up to %v", first, v)
	if len(arrived) > 0 {
		why += " (" + strings.Join(arrived, "; ") + ")"
	}
	return k, why, true
}

// debian reports whether a release looks like one of Debian's amd64 kernels.
func debian(release string) bool {
	return strings.HasSuffix(release, "-amd64")
}

// distribution reports whether a release carries a suffix, as distributions' kernels do and plain ones do not.
func distribution(release string) bool { return strings.ContainsAny(release, "-+_") }
