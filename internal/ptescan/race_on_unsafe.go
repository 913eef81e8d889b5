//go:build race

package ptescan

import (
	"runtime"
	"unsafe"
)

// The race detector does not see what assembly reads and writes.

func annotateRead(t *Table, first, last int) {
	// SAFETY: the address only names memory to the detector.
	runtime.RaceReadRange(unsafe.Pointer(&t[first]), 8*(last-first+1))
}

func annotateWrite(t *Table, first, last int) {
	// SAFETY: the address only names memory to the detector.
	runtime.RaceWriteRange(unsafe.Pointer(&t[first]), 8*(last-first+1))
}

const raceEnabled = true
