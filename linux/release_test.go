package linux

import (
	"strings"
	"testing"

	"ptemu/arch/x86"
)

// TestFeaturesOfKnownKernels: what the changes add up to is what arch/x86 says of each kernel that it knows.
func TestFeaturesOfKnownKernels(t *testing.T) {
	for _, want := range x86.Kernels() {
		v, ok := parseVersion(want.Release)
		if got, _, known := features(v); !ok || !known || got != want {
			t.Errorf("%s: %+v, want %+v", want.Release, got, want)
		}
	}
	for i := 1; i < len(changes); i++ {
		if !changes[i-1].since.before(changes[i].since) {
			t.Errorf("changes out of order at %q", changes[i].what)
		}
	}
}

func TestFeatures(t *testing.T) {
	for _, c := range []struct {
		release string
		label   string
		known   bool
		why     string
		check   func(x86.Kernel) bool
	}{
		{"5.15.0-1-amd64", "6.1", false, "predates", func(k x86.Kernel) bool { return k == x86.Linux6_1() }},
		{"6.1.192", "6.1", true, "a known kernel", func(k x86.Kernel) bool { return k == x86.Linux6_1() }},
		{"6.2.16", "6.2", true, "between", func(k x86.Kernel) bool { return !k.SwapinErrorType && k.DevmapBit == 58 }},
		{"6.6.1-arch1-1", "6.6", true, "SAVED_DIRTY", func(k x86.Kernel) bool {
			return k.SavedDirty && k.DevmapBit == 57 && !k.HugeSpecial && k.MarkerMask == 3 && k.DeviceExclusiveTypes == 2
		}},
		{"6.14.0", "6.14", true, "guard", func(k x86.Kernel) bool { return k.MarkerMask == 7 && k.DevmapBit == 57 }},
		{"6.18.1", "6.18", true, "no DEVMAP", func(k x86.Kernel) bool { return k.DevmapBit == 0 && !k.Softleaf && !k.Kernel4K }},
		{"7.0-rc1", "7.0", true, "softleaf", func(k x86.Kernel) bool { return k.Softleaf && !k.Kernel4K }},
		{"7.2.13+deb14-amd64", "7.2", true, "a known kernel", func(k x86.Kernel) bool { return k == x86.Linux7_2() }},
		{"8.1.0", "7.2", false, "newer", func(k x86.Kernel) bool { return k == x86.Linux7_2() }},
	} {
		v, ok := parseVersion(c.release)
		k, why, known := features(v)
		if !ok || k.Release != c.label || known != c.known || !strings.Contains(why, c.why) || !c.check(k) {
			t.Errorf("%s: %v, %q, %+v", c.release, known, why, k)
		}
		if _, err := x86.NewABI(k, x86.DefaultPaging(4)); err != nil {
			t.Errorf("%s: %v", c.release, err)
		}
	}
	for _, bad := range []string{"", "6", "six.one", "6.", ".1", "-6.1", "99999999.1", "6.x"} {
		if v, ok := parseVersion(bad); ok {
			t.Errorf("%q is taken for %v", bad, v)
		}
	}
}
