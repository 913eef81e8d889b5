package linux

import (
	"fmt"
	"regexp"
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
// releases; see [vendor].
type change struct {
	since version
	what  string
	apply func(*x86.Kernel)
}

// oldest and newest are the first and the last release whose entries were looked into: all that came between is in
// changes.
var oldest, newest = version{5, 10}, version{7, 3}

// firstFeatures returns the features of the oldest release: those of 6.1 less what arrived up to there.
func firstFeatures() x86.Kernel {
	k := x86.Linux6_1()
	k.MarkerMask, k.SwapinErrorType, k.DeviceExclusiveTypes = 0, false, 0
	k.MigrationExclusive, k.MigrationAD, k.PagemapSwapExclusive, k.PagemapUffdWP = false, false, false, false
	return k
}

// changes leads from the features of 5.10 to those of 7.3, in order. What is only known to lie between two known releases
// stands at the later: none of it moves a bit or a type number.
var changes = []change{
	{version{5, 14}, "device-exclusive swap types, pagemap with the uffd-wp bit", func(k *x86.Kernel) {
		k.DeviceExclusiveTypes, k.PagemapUffdWP = 2, true
	}},
	{version{5, 19}, "exclusive swap entries, migration type of exclusive pages, markers, swap-in error type", func(k *x86.Kernel) {
		k.MigrationExclusive, k.PagemapSwapExclusive, k.MarkerMask, k.SwapinErrorType = true, true, 1, true
	}},
	{version{6, 1}, "A and D in migration entries", func(k *x86.Kernel) { k.MigrationAD = true }},
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
	{version{6, 18}, "the huge zero page is SPECIAL", func(k *x86.Kernel) { k.HugeZeroSpecial = true }},
	{version{6, 19}, "softleaf: a zero entry is no swap entry", func(k *x86.Kernel) { k.Softleaf = true }},
	{version{7, 2}, "KERNEL_4K in bit 11 of kernel entries", func(k *x86.Kernel) {
		k.Kernel4K, k.WriteCombineReplaces, k.PMDModifyDropsDirty = true, true, false
		k.ProtectBatches, k.CollapseNeedsWrite = true, false
	}},
	{version{7, 3}, "UFFD_WP also marks pages that userfaultfd protects from reading, with PROT_NONE", func(*x86.Kernel) {}},
}

// features returns the features of a release, and why: those of the oldest, with what arrived up to the release. Of the
// three releases that x86 knows the result is exactly theirs. Releases before the oldest and after the newest get the
// nearest.
func features(v version) (k x86.Kernel, why string, known bool) {
	switch {
	case v.before(oldest):
		why = fmt.Sprintf("release %v predates the oldest whose entries are known; %v is the nearest", v, oldest)
		k, _ = featuresOf(oldest)
		return k, why, false
	case newest.before(v):
		why = fmt.Sprintf("release %v is newer than the newest whose entries are known; %v is the nearest", v, newest)
		k, _ = featuresOf(newest)
		return k, why, false
	}
	k, why = featuresOf(v)
	return k, why, true
}

// featuresOf is features between the oldest and the newest.
func featuresOf(v version) (x86.Kernel, string) {
	k := firstFeatures()
	k.Release = v.String()
	near, missing := nearest(v)
	var differ []string
	for _, c := range changes {
		if !v.before(c.since) {
			c.apply(&k)
		}
		if v.before(c.since) != near.before(c.since) {
			differ = append(differ, c.what)
		}
	}
	switch list := strings.Join(differ, "; "); {
	case v == near:
		return k, "a known kernel"
	case list == "":
		return k, fmt.Sprintf("as %v, as far as entries are concerned", near)
	case missing:
		return k, fmt.Sprintf("%v without what arrived after %v (%s)", near, v, list)
	default:
		return k, fmt.Sprintf("%v with what arrived up to %v (%s)", near, v, list)
	}
}

// nearest returns the last kernel that x86 knows up to v, or the first, which has what is missing in v.
func nearest(v version) (near version, missing bool) {
	missing = true
	for i, k := range x86.Kernels() {
		known, _ := parseVersion(k.Release)
		if i == 0 || !v.before(known) {
			near, missing = known, v.before(known)
		}
	}
	return near, missing
}

// redHat is a kernel of Red Hat Enterprise Linux: el is the distribution's number, build its own of the kernel.
var redHat = regexp.MustCompile(`^\d+\.\d+\.\d+-(\d+)[0-9.]*\.el(\d+)`)

// vendor takes in what a distribution has moved to an older release, and says why not all of it is known; "" where
// nothing is known to have been moved.
//
// The builds: Linux Test Project, libs/swap/libswap.c:tst_max_swapfiles().
func vendor(release string, k *x86.Kernel) string {
	m := redHat.FindStringSubmatch(release)
	if m == nil {
		return ""
	}
	what := ""
	if build, _ := strconv.Atoi(m[1]); m[2] == "9" && build >= 179 {
		k.MigrationExclusive, k.PagemapSwapExclusive, k.MarkerMask = true, true, 1
		what = "; read with the swap types of 5.19, as in 5.14.0-179.el9 and later"
		if build >= 441 {
			k.MarkerMask |= 2
			what = "; read with the swap types of 6.2, as in 5.14.0-441.el9 and later"
		}
	}
	return "kernels of Red Hat Enterprise Linux have changes of much later releases" + what
}

// debian reports whether a release looks like one of Debian's amd64 kernels.
func debian(release string) bool {
	return strings.HasSuffix(release, "-amd64")
}

// distribution reports whether a release carries a suffix, as distributions' kernels do and plain ones do not.
func distribution(release string) bool { return strings.ContainsAny(release, "-+_") }
