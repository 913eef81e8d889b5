//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// faultError is that pages were refused, and by whom, in the language's words.
type faultError string

func (e faultError) Error() string { return "faults " + string(e) }

// gupError says more of err, with which a call ended that takes the pages of c: who has refused the first one that is
// refused. The kernel itself has one number for all: EFAULT.
func (t *Target) gupError(c *litmus.Call, p *process, err error) error {
	if !errors.Is(err, unix.EFAULT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EHWPOISON) {
		return err
	}
	for i := range c.At.Pages {
		who, looking := t.refuses(p, c.At.VA+x86.Virt(i)*x86.PageSize, c.Op.Has("write"), c.Op.Has("force"))
		if looking != nil {
			return looking
		}
		if who != "" {
			return faultError(who)
		}
	}
	return unix.EFAULT
}

// refuses says by whom a page is refused.
func (t *Target) refuses(p *process, va x86.Virt, write, force bool) (string, error) {
	area, ok, err := t.Area(p.name, va)
	if err != nil {
		return "", err
	}
	right := "rd"
	if write {
		right = "wr"
	}
	switch {
	case !ok:
		return "segv-map", nil
	case !force && !slices.Contains(area.Flags, right):
		return "segv-access", nil
	}
	e, err := t.entry(p, va)
	d := t.k.layout.Decode(e.Level, e.Raw)
	protected := d.UffdWP
	if d.Kind == swapentry.KindPresent {
		protected = x86.PTE(e.Raw).UffdWP()
	}
	switch {
	case err != nil:
		return "", err
	case d.Kind == swapentry.KindHWPoison || d.Kind == swapentry.KindSwapinError || d.Marker&swapentry.MarkerPoisoned != 0:
		return "hwpoison", nil
	case d.Marker&swapentry.MarkerGuard != 0:
		return "segv-map", nil
	case write && protected && d.Kind == swapentry.KindPresent:
		return "uffd-wp", nil
	case d.Kind == swapentry.KindNone && slices.Contains(area.Flags, "um"):
		return "uffd-missing", nil
	}
	return "", nil
}

// swappedByte returns the first byte of a page on the swap device, 0 where there is none.
func (t *Target) swappedByte(e *litmus.Entry) (byte, error) {
	d := t.k.layout.Decode(e.Level, e.Raw)
	if d.Kind != swapentry.KindSwap {
		return 0, nil
	}
	fd, err := t.k.open(swapDevice, unix.O_RDONLY|unix.O_DIRECT)
	if err != nil {
		return 0, err
	}
	_, err = t.k.call(unix.SYS_PREAD64, fd, t.k.at(0), x86.PageSize, d.Offset*x86.PageSize)
	_, closing := t.k.call(unix.SYS_CLOSE, fd)
	return t.k.init.Data()[0], errors.Join(err, closing)
}

// More bits of /proc/kpageflags. Linux: include/uapi/linux/kernel-page-flags.h
const (
	kpfLRU       = 1 << 5
	kpfAnon      = 1 << 12
	kpfSwapCache = 1 << 13
)

// word reads what a file of /proc with a word for each frame says of one.
func (k *Kernel) word(name string, pfn x86.PFN) (uint64, error) {
	w, err := k.words(name, uint64(pfn), 1)
	if err == nil && len(w) == 0 {
		err = fmt.Errorf("%s ends before frame %#x", name, uint64(pfn))
	}
	if err != nil {
		return 0, err
	}
	return w[0], nil
}
