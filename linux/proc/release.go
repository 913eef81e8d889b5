package proc

import (
	"strconv"
	"strings"
)

// release decides what depends on the release and is not in the types.
func (f *finder) release() {
	v := f.version()
	// Linux: include/linux/mm.h:vma_is_initial_heap(), strict since 6.11
	f.strictHeap = !v.before(6, 11)
	f.longWorkers = !v.before(6, 11)
	// Linux: include/linux/fs.h:FMODE_BACKING
	switch {
	case !f.shapes.file.userDentry.has():
	case v.before(6, 12):
		f.backing = 1 << 25
	default:
		f.backing = 1 << 24
	}
}

// version is a release's major and minor number.
type version struct{ major, minor int }

func (v version) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

// version returns that of the kernel, or of the known one that is nearest.
func (f *finder) version() version {
	for _, s := range []string{f.sys.Release, f.sys.ABI.Kernel().Release} {
		major, rest, _ := strings.Cut(s, ".")
		digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if digits < 0 {
			digits = len(rest)
		}
		a, errA := strconv.Atoi(major)
		b, errB := strconv.Atoi(rest[:digits])
		if errA == nil && errB == nil {
			return version{a, b}
		}
	}
	return version{}
}
