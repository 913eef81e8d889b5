package mm

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Errors of system calls, by their errno.
var (
	ErrInval  = errors.New("EINVAL")
	ErrNoMem  = errors.New("ENOMEM")
	ErrAgain  = errors.New("EAGAIN")
	ErrExist  = errors.New("EEXIST")
	ErrNoEnt  = errors.New("ENOENT")
	ErrFault  = errors.New("EFAULT")
	ErrBusy   = errors.New("EBUSY")
	ErrAccess = errors.New("EACCES")
	ErrPerm   = errors.New("EPERM")
	ErrNoSys  = errors.New("ENOSYS") // this kernel does not have it
	ErrIO     = errors.New("EIO")
	ErrHWPois = errors.New("EHWPOISON")
)

// CallError says which system call failed, at which address, and why.
type CallError struct {
	Call string
	VA   x86.Virt
	Err  error
}

func (e *CallError) Error() string { return fmt.Sprintf("%s at %v: %v", e.Call, e.VA, e.Err) }

// Unwrap returns the errno.
func (e *CallError) Unwrap() error { return e.Err }

// Signal is what an access that cannot be made raises.
type Signal uint8

// The signals of refused accesses.
const (
	SegvMapErr  Signal = iota + 1 // no area (SEGV_MAPERR)
	SegvAccErr                    // the area does not allow it (SEGV_ACCERR), also a guard page
	SegvPkuErr                    // the protection key does not allow it
	BusAdrErr                     // no page can be had: beyond the file, shared anonymous memory misused
	BusHWPoison                   // the page has failed (BUS_MCEERR_AR)
	Killed                        // out of memory
)

func (s Signal) String() string {
	return [...]string{"no signal", "SIGSEGV (no mapping)", "SIGSEGV (access)", "SIGSEGV (protection key)", "SIGBUS", "SIGBUS (hardware poison)", "SIGKILL (out of memory)"}[s]
}

// AccessError is why an access of a CPU was not made.
type AccessError struct {
	VA     x86.Virt
	Signal Signal
}

func (e *AccessError) Error() string { return fmt.Sprintf("access to %v: %v", e.VA, e.Signal) }

// UffdFault is an access that waits for userfaultfd: it was not made, and may be tried again when the monitor has
// resolved it.
//
// Linux: fs/userfaultfd.c:handle_userfault(), include/uapi/linux/userfaultfd.h:UFFD_EVENT_PAGEFAULT
type UffdFault struct {
	VA    x86.Virt
	WP    bool // UFFD_PAGEFAULT_FLAG_WP
	Write bool // UFFD_PAGEFAULT_FLAG_WRITE
	Uffd  *Uffd
}

func (e *UffdFault) Error() string {
	if e.WP {
		return fmt.Sprintf("access to %v waits for userfaultfd: write-protected", e.VA)
	}
	return fmt.Sprintf("access to %v waits for userfaultfd: missing", e.VA)
}

// WaitError is an access or call that waits for an entry under migration, of which no task under way will ever end it.
type WaitError struct{ VA x86.Virt }

func (e *WaitError) Error() string { return fmt.Sprintf("access to %v waits for a migration", e.VA) }
