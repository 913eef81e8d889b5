//go:build linux && amd64

package kernel

import (
	"errors"
	"slices"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

const (
	khugepagedFolder = hugeFolder + "khugepaged/"
	// khugepagedSleeps is how long it sleeps between its passes: for ever. Setting the time wakes it for one pass.
	khugepagedSleeps = "100000000"
)

// opKhugepaged lets khugepaged look at everything once, which is the program's pages: nothing else has advice. What it
// leaves as it was is EAGAIN.
//
// Linux: mm/khugepaged.c:khugepaged_do_scan(), scan_sleep_millisecs_store()
func opKhugepaged(t *Target, c *litmus.Call, p *process) error {
	huge, err := t.huge(p, c.At.VA)
	if err != nil {
		return err
	}
	if huge {
		return unix.EAGAIN
	}
	const none, swap, shared = 511, 64, 256
	number := func(name string, def uint64) string { return strconv.FormatUint(c.Op.Num(name, def), 10) }
	err = errors.Join(
		t.k.write(khugepagedFolder+"max_ptes_none", number("none", none)),
		t.k.write(khugepagedFolder+"max_ptes_swap", number("swap", swap)),
		t.k.write(khugepagedFolder+"max_ptes_shared", number("shared", shared)),
		t.k.write(khugepagedFolder+"pages_to_scan", "1000000"))
	if err != nil {
		return err
	}
	area, _, err := t.Area(p.name, c.At.VA)
	if err != nil {
		return err
	}
	if !slices.Contains(area.Flags, "hg") {
		return NotHereError("khugepaged looks at areas with MADV_HUGEPAGE only, lest it take the agent's own")
	}
	if err := errors.Join(t.k.khugepagedPass(), t.k.khugepagedStrict()); err != nil {
		return err
	}
	if huge, err = t.huge(p, c.At.VA); err == nil && !huge {
		return unix.EAGAIN
	}
	return err
}

// khugepagedStrict lets khugepaged take nothing but areas that are all there: a process's first MADV_HUGEPAGE wakes it, whether it is
// asked for or not.
//
// Linux: mm/khugepaged.c:__khugepaged_enter(), khugepaged_wait_work()
func (k *Kernel) khugepagedStrict() error {
	var errs []error
	for _, name := range []string{"max_ptes_none", "max_ptes_swap", "max_ptes_shared"} {
		errs = append(errs, k.write(khugepagedFolder+name, "0"))
	}
	return errors.Join(errs...)
}

// huge reports that a huge page is mapped at va.
func (t *Target) huge(p *process, va x86.Virt) (bool, error) {
	e, err := t.entry(p, va)
	return e.Level == x86.LevelPMD && e.Raw != 0, err
}

// khugepagedPass lets khugepaged go round once.
func (k *Kernel) khugepagedPass() error {
	before, err := k.number(khugepagedFolder + "full_scans")
	if err != nil {
		return err
	}
	if err := k.write(khugepagedFolder+"scan_sleep_millisecs", khugepagedSleeps); err != nil {
		return err
	}
	return k.until("khugepaged's pass", func() (bool, error) {
		now, err := k.number(khugepagedFolder + "full_scans")
		return now > before, err
	})
}
