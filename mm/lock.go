package mm

// rwLock is a lock that a task may hold while it is stopped.
//
// Linux: include/linux/mmap_lock.h
type rwLock struct {
	readers int
	writer  bool
}

// A holder of the mmap lock may be stopped at a point. Who wants the lock then waits as on hardware: the holder goes on
// to the end of its operation, past points where it was to be stopped. If it cannot (both wait for each other), that is a
// deadlock of this package, not of its user.

func (s *Space) readLock() {
	if !s.m.waitFor(func() bool { return !s.mmap.writer }) {
		panic("mm: mmap lock is never given back")
	}
	s.mmap.readers++
}

func (s *Space) readUnlock() { s.mmap.readers-- }

func (s *Space) writeLock() {
	if !s.m.waitFor(func() bool { return !s.mmap.writer && s.mmap.readers == 0 }) {
		panic("mm: mmap lock is never given back")
	}
	s.mmap.writer = true
}

func (s *Space) writeUnlock() { s.mmap.writer = false }
