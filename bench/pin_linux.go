package bench

import (
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Pin binds the calling goroutine to the first processor that it may use, for good, and returns its number.
func Pin() (cpu int, err error) {
	runtime.LockOSThread()
	return pin(0)
}

// pinSecond binds the thread to the second processor that the process may use, if it can.
func pinSecond() { _, _ = pin(1) }

// allowed is where the process may run, as it was at the start.
var allowed, allowedErr = func() (set unix.CPUSet, err error) {
	err = unix.SchedGetaffinity(0, &set)
	return set, err
}()

// processors returns how many processors the process may use.
func processors() int {
	if allowedErr != nil {
		return 1
	}
	return allowed.Count()
}

// pin binds the thread to the nth processor of those allowed.
func pin(n int) (cpu int, err error) {
	if allowedErr != nil {
		return 0, allowedErr
	}
	for cpu := range len(allowed) * 64 {
		if !allowed.IsSet(cpu) {
			continue
		}
		if n--; n < 0 {
			var one unix.CPUSet
			one.Set(cpu)
			return cpu, unix.SchedSetaffinity(0, &one)
		}
	}
	return 0, errors.New("bench: too few processors")
}

// threadTime returns the processor time that the calling thread has used.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return wallTime() // it cannot fail for the caller's own clock
	}
	return time.Duration(ts.Nano())
}
