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
	as7_2 := func(k x86.Kernel) bool {
		k.Release = "7.2"
		return k == x86.Linux7_2()
	}
	for _, c := range []struct {
		release string
		label   string
		known   bool
		why     string
		check   func(x86.Kernel) bool
	}{
		{"4.19.0-27-amd64", "5.10", false, "predates", func(k x86.Kernel) bool { return k.MarkerMask == 0 && !k.MigrationExclusive }},
		{"5.10.0-46-amd64", "5.10", true, "6.1 without", func(k x86.Kernel) bool {
			return k.DeviceExclusiveTypes == 0 && k.MarkerMask == 0 && !k.MigrationExclusive && !k.SwapinErrorType && k.DevmapBit == 58
		}},
		{"5.15.0-1-amd64", "5.15", true, "markers", func(k x86.Kernel) bool { return k.DeviceExclusiveTypes == 2 && k.MarkerMask == 0 }},
		{"5.19.17", "5.19", true, "A and D", func(k x86.Kernel) bool {
			return k.MarkerMask == 1 && k.MigrationExclusive && k.SwapinErrorType && !k.MigrationAD
		}},
		{"6.1.192", "6.1", true, "a known kernel", func(k x86.Kernel) bool { return k == x86.Linux6_1() }},
		{"6.2.16", "6.2", true, "6.1 with", func(k x86.Kernel) bool { return !k.SwapinErrorType && k.DevmapBit == 58 }},
		{"6.6.1-arch1-1", "6.6", true, "SAVED_DIRTY", func(k x86.Kernel) bool {
			return k.SavedDirty && k.DevmapBit == 57 && !k.HugeSpecial && k.MarkerMask == 3 && k.DeviceExclusiveTypes == 2
		}},
		{"6.14.0", "6.14", true, "guard", func(k x86.Kernel) bool { return k.MarkerMask == 7 && k.DevmapBit == 57 }},
		{"6.18.1", "6.18", true, "no DEVMAP", func(k x86.Kernel) bool { return k.DevmapBit == 0 && !k.Softleaf && !k.Kernel4K }},
		{"6.17.13+deb13-amd64", "6.17", true, "6.12 with", func(k x86.Kernel) bool {
			return k.MarkerMask == 7 && k.DeviceExclusiveTypes == 1 && k.DevmapBit == 0 && !k.Softleaf
		}},
		{"7.0-rc1", "7.0", true, "softleaf", func(k x86.Kernel) bool { return k.Softleaf && !k.Kernel4K }},
		{"7.2.13+deb14-amd64", "7.2", true, "a known kernel", func(k x86.Kernel) bool { return k == x86.Linux7_2() }},
		{"7.3.4+deb13-amd64", "7.3", true, "7.2 with", as7_2},
		{"8.1.0", "7.3", false, "newer", as7_2},
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

// TestVendor: a distribution's release decides nothing for sure, and its known changes are taken in.
func TestVendor(t *testing.T) {
	for _, c := range []struct {
		release string
		markers uint64
		known   bool
	}{
		{"5.14.0-70.13.1.el9_0.x86_64", 0, false},
		{"5.14.0-362.8.1.el9_3.x86_64", 1, false},
		{"5.14.0-503.11.1.el9_5.x86_64", 3, false},
		{"5.14.21-150500.55.7-default", 0, true},
		{"6.12.0-55.9.1.el10_0.x86_64", 3, false},
		{"6.12.107+deb13-amd64", 3, true},
	} {
		v, _ := parseVersion(c.release)
		k, _, _ := features(v)
		why := vendor(c.release, &k)
		if k.MarkerMask != c.markers || k.MigrationExclusive != (c.markers != 0) || (why == "") != c.known {
			t.Errorf("%s: %q, %+v", c.release, why, k)
		}
	}
}
