//go:build linux

package hostmem

import (
	"syscall"
	"time"
	"unsafe"
)

// ThreadTime returns the processor time that the calling thread has used.
func ThreadTime() time.Duration {
	const threadCPUTime = 3 // CLOCK_THREAD_CPUTIME_ID
	var ts syscall.Timespec
	// SAFETY: the system writes one timespec there. It cannot fail for the caller's own clock.
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPUTime, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
