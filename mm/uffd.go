package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// UffdFeatures are what a userfaultfd is asked to do beyond the default.
//
// Linux: include/uapi/linux/userfaultfd.h:UFFD_FEATURE_EVENT_FORK and the following
type UffdFeatures uint32

// The features that matter here.
const (
	// UffdEventFork: a child's areas stay registered, with a userfaultfd of the child's own.
	UffdEventFork UffdFeatures = 1 << 1
	// UffdEventRemap: areas that mremap moves stay registered.
	UffdEventRemap UffdFeatures = 1 << 2
	// UffdSigbus: accesses raise SIGBUS in place of waiting.
	UffdSigbus UffdFeatures = 1 << 7
	// UffdWPUnpopulated: write protection leaves markers in empty slots of anonymous areas, too (6.12 on).
	UffdWPUnpopulated UffdFeatures = 1 << 13
	// UffdWPAsync: write faults end the protection of their page without asking (6.12 on). It implies
	// UffdWPUnpopulated.
	UffdWPAsync UffdFeatures = 1 << 15
)

// UffdMode says which accesses userfaultfd hears of.
//
// Linux: include/uapi/linux/userfaultfd.h:UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP
type UffdMode uint8

// The modes of [Uffd.Register].
const (
	UffdMissing UffdMode = 1 << iota // accesses to pages that are not there
	UffdWP                           // writes to pages that are write-protected through it
)

// ErrSrch: the space of a userfaultfd has exited.
var ErrSrch = errors.New("ESRCH")

// Uffd is a userfaultfd: it hears of accesses to areas of one address space, and resolves them. Its methods are the
// monitor's calls; the CPU that makes them may run another space.
//
// Linux: fs/userfaultfd.c:struct userfaultfd_ctx
type Uffd struct {
	space    *Space
	features UffdFeatures
	forked   []*Uffd
	closed   bool
}

// Userfaultfd opens a userfaultfd for the space that the CPU runs.
//
// Linux: fs/userfaultfd.c:new_userfaultfd(), userfaultfd_api()
func (c *CPU) Userfaultfd(f UffdFeatures) (*Uffd, error) {
	if f&^c.m.Policy.uffdFeatures() != 0 {
		return nil, &CallError{"UFFDIO_API", 0, ErrInval}
	}
	if f&UffdWPAsync != 0 {
		f |= UffdWPUnpopulated
	}
	return &Uffd{space: c.space, features: f}, nil
}

// uffdFeatures returns the features that the kernel has.
func (p *Policy) uffdFeatures() UffdFeatures {
	f := UffdEventFork | UffdEventRemap | UffdSigbus
	if p.UffdWPUnpopulated {
		f |= UffdWPUnpopulated
	}
	if p.UffdWPAsync {
		f |= UffdWPAsync
	}
	return f
}

// Space returns the address space that is watched.
func (u *Uffd) Space() *Space { return u.space }

// Features returns the features that were asked for, and those that they imply.
func (u *Uffd) Features() UffdFeatures { return u.features }

// Forked returns the userfaultfds of children, oldest first, that [UffdEventFork] made.
//
// Linux: include/uapi/linux/userfaultfd.h:UFFD_EVENT_FORK
func (u *Uffd) Forked() []*Uffd { return append([]*Uffd(nil), u.forked...) }

func (u *Uffd) has(f UffdFeatures) bool { return u != nil && u.features&f != 0 }

func (u *Uffd) sigbus() bool { return u.has(UffdSigbus) }

// wpAsync is userfaultfd_wp_async().
func (u *Uffd) wpAsync() bool { return u.has(UffdWPAsync) }

// wpUnpopulated is userfaultfd_wp_unpopulated().
func (u *Uffd) wpUnpopulated() bool { return u.has(UffdWPUnpopulated) }

func (u *Uffd) remapEvents() bool { return u.has(UffdEventRemap) }

// checkRange checks the range of a call. Linux: fs/userfaultfd.c:validate_range()
func (u *Uffd) checkRange(call string, va x86.Virt, length uint64) (pgtable.Range, error) {
	switch {
	case u.space.exited:
		return pgtable.Range{}, &CallError{call, va, ErrSrch}
	case u.closed || length%x86.PageSize != 0:
		return pgtable.Range{}, &CallError{call, va, ErrInval}
	}
	return u.space.checkPages(call, va, length)
}

// dropUffd takes v, which goes away, from its userfaultfd.
func (v *VMA) dropUffd() { v.uffd = nil }

// dupUffd says what the userfaultfd of v means for the copy that a child gets: with fork events the child has one of
// its own, else its area is not registered.
//
// Linux: fs/userfaultfd.c:dup_userfaultfd()
func (v *VMA) dupUffd(child *VMA) {
	switch {
	case v.uffd == nil:
	case v.uffd.has(UffdEventFork):
		child.uffd = v.uffd.duplicate(child.space)
	default:
		child.setUffdFlags(0, nil)
	}
}

// duplicate returns the userfaultfd of the child: one for all areas of u.
func (u *Uffd) duplicate(child *Space) *Uffd {
	if n := len(u.forked); n > 0 && u.forked[n-1].space == child {
		return u.forked[n-1]
	}
	d := &Uffd{space: child, features: u.features}
	u.forked = append(u.forked, d)
	return d
}
