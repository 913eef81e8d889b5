package mm

import (
	"fmt"
	"strconv"
	"strings"
)

// stable are the changes that came within a release, from one of its stable updates on. The profiles are those of
// [Linux6_1], [Linux6_12] and [Linux7_2], which say which update they describe.
var stable = []struct {
	release string
	update  int
	apply   func(p *Profile)
}{
	// "x86/mm: Fix user-space data loss with MADV_FREE and THP"
	{"6.12", 111, func(p *Profile) { p.Kernel.PMDModifyDropsDirty = false }},
	// "mm/mremap: reset unfaulted VMA page offset for MREMAP_DONTUNMAP"
	{"6.12", 112, func(p *Profile) { p.Policy.DontUnmapResets = true }},
	// "mm/rmap: don't discard lazyfree THPs at PMD level"
	{"6.12", 117, func(p *Profile) { p.Policy.DiscardsHuge = false }},
}

// ProfileNamed returns the release called name: "6.1", "6.12" or "7.2". With a third number, as in "6.12.117", whatever
// follows that, it is the release with what has changed up to this update.
func ProfileNamed(name string) (Profile, error) {
	release, update := stableRelease(name)
	for _, p := range Profiles() {
		if p.Kernel.Release != release {
			continue
		}
		for _, s := range stable {
			if s.release == release && s.update <= update {
				s.apply(&p)
			}
		}
		return p, nil
	}
	return Profile{}, fmt.Errorf("mm: no release %q (there are 6.1, 6.12, 7.2)", name)
}

// stableRelease takes "6.12.117+deb13-amd64" apart: "6.12" and 117. Without a third number that is 0.
func stableRelease(name string) (release string, update int) {
	parts := strings.SplitN(name, ".", 3)
	if len(parts) < 3 {
		return name, 0
	}
	digits := strings.IndexFunc(parts[2], func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(parts[2])
	}
	update, err := strconv.Atoi(parts[2][:digits])
	if err != nil {
		return name, 0
	}
	return parts[0] + "." + parts[1], update
}
