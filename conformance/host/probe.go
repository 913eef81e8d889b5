//go:build linux && amd64

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/conformance/kernel"
	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// features is what the running kernel has, as far as it shows.
type features struct {
	softDirty bool        // CONFIG_MEM_SOFT_DIRTY
	scan      mm.Category // what PAGEMAP_SCAN tells; 0: there is none
	guards    bool        // MADV_GUARD_INSTALL
	uffd      uint64      // UFFDIO_API's answer; 0: no userfaultfd
	pkeys     bool        // protection keys
	huge      string      // transparent_hugepage/enabled
	hugeZero  bool        // transparent_hugepage/use_zero_page
	hugeShmem string      // transparent_hugepage/shmem_enabled
	small     string      // a size of large folios other than 2 MiB that anonymous memory may get
	// between: the release is none that the emulator knows, but between two.
	between bool
	// memoryFailure is CONFIG_MEMORY_FAILURE.
	memoryFailure bool
	// oldGuards: userfaultfd takes guards for markers of its own: fills them, and sees their protection (before 6.19).
	oldGuards bool
}

// probe finds out, with a page of our own.
func probe(release string) (f features, err error) {
	page, err := unix.Mmap(-1, 0, x86.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return f, err
	}
	defer unix.Munmap(page) //nolint:errcheck // nothing could be done
	page[0] = 1
	var word [1]swapentry.Pagemap
	if err := kernel.ReadPagemap(os.Getpid(), addressOf(page), word[:]); err != nil {
		return f, err
	}
	parts := word[0].Parts()
	if !parts.Present || parts.PFN == 0 {
		return f, fmt.Errorf("%w: /proc/self/pagemap shows no frames (CAP_SYS_ADMIN)", ErrNotHere)
	}
	f.softDirty = parts.SoftDirty // a new area is
	f.scan = probeScan(addressOf(page))
	const guardInstall, guardRemove = 102, 103
	if f.guards = unix.Madvise(page, guardInstall) == nil; f.guards {
		err = unix.Madvise(page, guardRemove)
	}
	f.uffd, _ = uffdFeatures() // without any there is none
	f.pkeys = cpuHas("ospke")
	const folder = "/sys/kernel/mm/transparent_hugepage/"
	f.huge, f.hugeShmem = chosen(folder+"enabled"), chosen(folder+"shmem_enabled")
	f.hugeZero = chosen(folder+"use_zero_page") == "1"
	f.small = smallFolios(folder)
	_, err2 := os.Stat("/proc/sys/vm/memory_failure_recovery")
	f.memoryFailure = err2 == nil
	return f, errors.Join(err, f.ofRelease(release))
}

// ofRelease adds what shows only in the release.
func (f *features) ofRelease(release string) error {
	const v6_19 = 6_019
	at, err := version(release)
	f.oldGuards = at < v6_19
	return err
}

// smallFolios returns a size of large folios that is switched on, "" if none but 2 MiB is.
func smallFolios(folder string) string {
	paths, _ := filepath.Glob(folder + "hugepages-*/enabled") // the pattern is not malformed
	for _, path := range paths {
		size := filepath.Base(filepath.Dir(path))
		if set := chosen(path); size != "hugepages-2048kB" && set != "never" {
			return size + " " + set
		}
	}
	return ""
}

// probeScan returns the categories that PAGEMAP_SCAN knows.
func probeScan(va x86.Virt) mm.Category {
	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	const upTo612 = mm.PageSoftDirty<<1 - 1
	for _, all := range []mm.Category{upTo612 | mm.PageGuard, upTo612, upTo612 &^ mm.PageSoftDirty} {
		if scan(fd, va, make([]mm.Category, 1), all) == nil {
			return all
		}
	}
	return 0
}

func cpuHas(flag string) bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && slices.Contains(strings.Fields(string(text)), flag)
}

// chosen returns a setting of sysfs: the word in brackets, or all of it.
func chosen(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "" // a kernel without it
	}
	s := strings.TrimSpace(string(text))
	if _, after, ok := strings.Cut(s, "["); ok {
		s, _, _ = strings.Cut(after, "]")
	}
	return s
}

// nearest returns the releases that the emulator knows around one: itself, or the one before and the one after, newest first.
func nearest(release string) ([]string, error) {
	at, err := version(release)
	if err != nil {
		return nil, err
	}
	var around []string
	for _, k := range litmus.Kernels() {
		v, err := version(k)
		switch {
		case err != nil:
			return nil, err
		case v == at:
			return []string{k}, nil
		case v < at:
			around = []string{k}
		default:
			return append([]string{k}, around...), nil
		}
	}
	return around, nil
}

// version makes a number of the first two parts of a release.
func version(release string) (int, error) {
	major, rest, _ := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(rest)
	const minors = 1000
	return a*minors + b, errors.Join(err1, err2)
}
