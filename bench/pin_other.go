//go:build !linux

package bench

import (
	"errors"
	"runtime"
	"time"
)

// Pin cannot bind a goroutine to a processor here, only to a thread.
func Pin() (cpu int, err error) {
	runtime.LockOSThread()
	return 0, errors.New("bench: threads cannot be bound to processors here")
}

func pinSecond() {}

func processors() int { return runtime.NumCPU() }

func threadTime() time.Duration { return wallTime() }
