package pgtable

import (
	"runtime"
	"sync/atomic"
)

// spins is how often a lock is tried before the goroutine gives way. A lock is held for about as long as it takes to
// change a table, unless its holder was preempted.
const spins = 64

func (s *state) acquire() {
	if !atomic.CompareAndSwapUint32(&s.lock, 0, 1) {
		s.contend()
	}
}

func (s *state) contend() {
	for n := 0; ; n++ {
		if atomic.LoadUint32(&s.lock) == 0 && atomic.CompareAndSwapUint32(&s.lock, 0, 1) {
			return
		}
		if n%spins == spins-1 {
			runtime.Gosched()
		}
	}
}

func (s *state) release() { storeRelease(&s.lock, 0) }

// Entries above the PTEs are read without a lock. Those who write them hold it all the same.

func loadEntry(slot *uint64) uint64     { return atomic.LoadUint64(slot) }
func storeEntry(slot *uint64, e uint64) { atomic.StoreUint64(slot, e) }
