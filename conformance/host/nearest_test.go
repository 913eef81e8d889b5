//go:build linux && amd64

package host

import (
	"slices"
	"testing"
)

// TestNearest: a release is held against itself or its neighbours.
func TestNearest(t *testing.T) {
	for release, want := range map[string][]string{
		"6.1.0-18-amd64": {"6.1"}, "6.12.107": {"6.12"}, "6.18.44-fc": {"7.2", "6.12"}, "6.6.1": {"6.12", "6.1"},
		"7.2.13": {"7.2"}, "7.4-rc1": {"7.2"}, "5.10.3": {"6.1"},
	} {
		if got, err := nearest(release); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, want %v", release, got, err, want)
		}
	}
	if _, err := nearest("none"); err == nil {
		t.Error("a release without numbers has neighbours")
	}
}
