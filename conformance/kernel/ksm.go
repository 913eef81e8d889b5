//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

const ksmFolder = "/sys/kernel/mm/ksm/"

// opKSM lets ksmd look at everything that is mergeable. It merges nothing that it has not found unchanged since the pass
// before, so a few passes are one of the language.
//
// Linux: mm/ksm.c:ksm_scan_thread(), cmp_and_merge_page()
func opKSM(t *Target, c *litmus.Call, _ *process) error {
	zero := "0"
	if c.Op.Has("zero-pages") {
		zero = "1"
	}
	// A pass ends at the end of all areas, however many pages it may take.
	err := errors.Join(t.k.write(ksmFolder+"use_zero_pages", zero), t.k.write(ksmFolder+"pages_to_scan", "1000000"))
	if smart := t.k.write(ksmFolder+"smart_scan", "0"); !absent(smart) {
		err = errors.Join(err, smart)
	}
	const passes = 3
	for range passes {
		if err == nil {
			err = t.k.ksmPass()
		}
	}
	return err
}

// absent reports that a file of the kernel is not there, and cannot be made either.
func absent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) }

// ksmPass lets ksmd make one pass. After it, the thread sleeps for a time that is changed here to wake it.
func (k *Kernel) ksmPass() error {
	k.ksmSleep ^= 1
	const long = 10_000_000
	before, err := k.number(ksmFolder + "full_scans")
	if err == nil {
		err = errors.Join(k.write(ksmFolder+"sleep_millisecs", strconv.Itoa(long+k.ksmSleep)), k.write(ksmFolder+"run", "1"))
	}
	if err != nil {
		return err
	}
	err = k.until("ksmd's pass", func() (bool, error) {
		now, err := k.number(ksmFolder + "full_scans")
		return now > before, err
	})
	return errors.Join(err, k.write(ksmFolder+"run", "0"))
}

// number reads a file that holds a number.
func (k *Kernel) number(name string) (int, error) {
	text, err := k.read(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// until asks again and again whether something has come about. It does not for ever: what is an error.
func (k *Kernel) until(what string, done func() (bool, error)) error {
	const patience, shortest, longest = 20 * time.Second, time.Millisecond, 32 * time.Millisecond
	pause := shortest // longer and longer, so that what is waited for gets the processor
	for start := time.Now(); time.Since(start) < patience; time.Sleep(pause) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		pause = min(2*pause, longest)
	}
	return fmt.Errorf("%s does not end", what)
}
