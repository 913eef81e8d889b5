package linux

import (
	"context"
	"runtime"
	"sync"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// chunk is a part of RAM: frames from first up to, not including, end.
type chunk struct{ first, end x86.PFN }

// chunkFrames is how many frames a chunk has at most.
const chunkFrames = 256

// ramScan hands the frames of a memory out to workers, in chunks.
type ramScan struct {
	mu          sync.Mutex
	ranges      []physmem.Range // what is left
	next        x86.PFN         // where in the first of them
	done, total uint64          // frames
	progress    func(float64)
	err         error // the first
}

// scanRAM shows all of RAM to workers, each in a goroutine of its own, in no order. It ends early when ctx does or when a
// worker returns an error, which it returns. progress, if not nil, is told which part is done; its calls do not overlap.
func scanRAM(ctx context.Context, mem physmem.Reader, progress func(float64), newWorker func() func(chunk) error) error {
	s := ramScan{ranges: mem.Ranges(), progress: progress}
	for _, r := range s.ranges {
		first, end := r.Frames()
		s.total += uint64(end - first)
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		work := newWorker()
		wg.Go(func() {
			for done := uint64(0); ; {
				c, ok := s.take(ctx, done)
				if !ok {
					return
				}
				s.fail(work(c))
				done = uint64(c.end - c.first)
			}
		})
	}
	wg.Wait()
	return s.err
}

func (s *ramScan) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// take returns the next chunk. done is how many frames the caller has looked at since its last call.
func (s *ramScan) take(ctx context.Context, done uint64) (chunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done += done
	if s.progress != nil && done > 0 {
		s.progress(float64(s.done) / float64(s.total))
	}
	if s.err == nil {
		s.err = ctx.Err()
	}
	for s.err == nil && len(s.ranges) > 0 {
		first, end := s.ranges[0].Frames()
		if first = max(first, s.next); first < end {
			s.next = min(end, first+chunkFrames)
			return chunk{first, s.next}, true
		}
		s.ranges = s.ranges[1:]
	}
	return chunk{}, false
}
