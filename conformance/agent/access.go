//go:build linux && amd64

package main

import (
	"syscall"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// What the handler noted of the last signal, and where it has to return to. Assembly names them.
var (
	sigNumber, sigCode, sigAddr, sigError, sigTrap uintptr
	execTarget, execTraps                          uintptr
	savedSP, savedBP                               uintptr
)

// access makes one access to count bytes at addr: see package wire. It returns after the access or the signal that it
// raised.
//
//go:noescape
func access(kind, addr, value, buffer, count uintptr)

// spin sets flag, and spins until it is 0, with sign in register R12.
//
//go:noescape
func spin(flag *uint64, sign uint64)

// setPKRU sets the rights of protection keys.
func setPKRU(value uint32)

// thread makes a thread of the calling process that sleeps for ever, and returns its id or an errno negated.
func thread() int

// handlerPC and restorerPC return the addresses of the signal handler and of what it returns to.
func handlerPC() uintptr
func restorerPC() uintptr

// kernelSigaction is the kernel's struct sigaction.
type kernelSigaction struct {
	handler, flags, restorer, mask uintptr
}

var action kernelSigaction

// catchSignals replaces the runtime's handlers in the calling process.
func catchSignals() {
	const siginfo, restorer, onStack, noDefer = 0x4, 0x04000000, 0x08000000, 0x40000000
	action = kernelSigaction{handler: handlerPC(), flags: siginfo | restorer | onStack | noDefer, restorer: restorerPC()}
	for _, s := range [...]uintptr{uintptr(unix.SIGSEGV), uintptr(unix.SIGBUS), uintptr(unix.SIGILL), uintptr(unix.SIGTRAP), uintptr(unix.SIGFPE)} {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, s, actionAddress(), 0, 8, 0, 0)
	}
}

var usage [2][18]uint64

// faultsTaken counts the page faults of the calling thread.
func faultsTaken(i int) uint64 {
	const minor, major = 8, 9
	const thread = 1
	syscall.RawSyscall(unix.SYS_GETRUSAGE, thread, usageAddress(i), 0)
	return usage[i][minor] + usage[i][major]
}

// doAccess performs accesses and notes how they ended. at is where buffer is.
func doAccess(m *words, buffer []byte, at uintptr) {
	var first uintptr
	m[wire.Taken] = 0
	for i := range m[wire.AccessPages] {
		accessPage(m, buffer, at, uintptr(m[wire.AccessAddress]+i*wire.PageSize))
		m[wire.Result] = i + 1
		if i == 0 {
			first = sigNumber
		}
		if sigNumber != first || m[wire.WrongAt] != 0 {
			return
		}
	}
}

func accessPage(m *words, buffer []byte, at, addr uintptr) {
	sigNumber, sigCode, sigAddr, sigError, sigTrap = 0, 0, 0, 0, 0
	execTraps, execTarget, savedSP, savedBP = 0, addr, 0, 0
	buffer[0] = 0
	faultsTaken(1) // so that all of our own memory is there
	before := faultsTaken(0)
	access(uintptr(m[wire.AccessKind]), addr, uintptr(m[wire.AccessValue]), at, uintptr(m[wire.AccessBytes]))
	m[wire.Taken] += faultsTaken(1) - before
	m[wire.Signo], m[wire.Code], m[wire.Addr] = uint64(sigNumber), uint64(sigCode), uint64(sigAddr)
	m[wire.ErrorCode], m[wire.Trap] = uint64(sigError), uint64(sigTrap)
	m[wire.WrongAt] = 0
	if m[wire.AccessKind] == wire.Load && sigNumber == 0 && m[wire.AccessValue] < wire.Anything {
		check(m, buffer[:m[wire.AccessBytes]], byte(m[wire.AccessValue]))
	}
}

// check notes the first byte that is not as it must be.
func check(m *words, buffer []byte, want byte) {
	for i, b := range buffer {
		if b != want {
			m[wire.WrongAt], m[wire.WrongByte] = uint64(i)+1, uint64(b)
			return
		}
	}
}
