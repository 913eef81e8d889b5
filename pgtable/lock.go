package pgtable

import (
	"runtime"
	"sync/atomic"

	"ptemu/arch/x86"
)

// What the lock of a table is.
const (
	free     = 0
	held     = 1
	heldBulk = 2 // of a PMD table: held, and so are the PTE tables below it whose own lock was free
)

// An operation on many PTE tables need not write to the lock of each, which is a locked instruction that waits until
// all stores to the table before have reached the cache. It holds the PMD table in bulk, and changes those tables
// below whose own lock it reads as free. Whoever takes the lock of a PTE table then looks whether the PMD table is held
// in bulk, and waits until it was given back. Both write their own lock with a locked instruction before they read the
// other's, so that at least one of them notices.
//
// While the PMD table is held, in bulk or not, no PTE table can be linked or taken out. Who holds it in bulk never
// waits for anything: where a table is locked, it gives the PMD table back first. So others may wait for it with PTE
// tables locked.

// spins is how often a lock is tried before the goroutine gives way. A lock is held for about as long as it takes to
// change a table, unless its holder was preempted.
const spins = 64

func (s *state) acquire() {
	if !atomic.CompareAndSwapUint32(&s.lock, free, held) {
		s.contend()
	}
}

func (s *state) contend() {
	for n := 0; ; n++ {
		if atomic.LoadUint32(&s.lock) == free && atomic.CompareAndSwapUint32(&s.lock, free, held) {
			return
		}
		if n%spins == spins-1 {
			runtime.Gosched()
		}
	}
}

func (s *state) release() { storeRelease(&s.lock, free) }

// awaitBulk comes after acquire, for a table that may be below a PMD table that the caller has not locked. Other tables
// have nothing above them that is held in bulk.
func (s *state) awaitBulk() {
	if m := s.above(); atomic.LoadUint32(&m.lock) == heldBulk {
		m.outlast()
	}
}

// outlast waits until the PMD table was given back. It may be held in bulk again by then, but by someone who sees that
// the lock of the caller's table is held.
func (s *state) outlast() {
	bulks := atomic.LoadUint32(&s.bulks)
	for n := 0; atomic.LoadUint32(&s.lock) == heldBulk && atomic.LoadUint32(&s.bulks) == bulks; n++ {
		if n%spins == spins-1 {
			runtime.Gosched()
		}
	}
}

// acquireBulk holds frame pfn in bulk, if it is the PMD table for va and its lock is free.
func (t *Tree) acquireBulk(pfn x86.PFN, va x86.Virt) (*state, bool) {
	s := t.state(pfn)
	if !atomic.CompareAndSwapUint32(&s.lock, free, heldBulk) {
		return nil, false
	}
	if !s.serves(t, x86.LevelPMD, va) {
		s.release()
		return nil, false
	}
	return s, true
}

func (s *state) releaseBulk() {
	storeRelease(&s.bulks, s.bulks+1)
	s.release()
}

// Entries above the PTEs are read without a lock. Those who write them hold it all the same.

func loadEntry(slot *uint64) uint64     { return atomic.LoadUint64(slot) }
func storeEntry(slot *uint64, e uint64) { atomic.StoreUint64(slot, e) }
