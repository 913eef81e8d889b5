package bench

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"ptemu/internal/ptescan"
)

// Options say how to measure.
type Options struct {
	Rounds int           // interleaved rounds
	Time   time.Duration // at least, for each variant in a round
}

// Result is what came of one variant. Times are nanoseconds for one entry.
type Result struct {
	Variant
	Median, Q1, Q3 float64
	Rounds         int
	Allocs         float64 // per pass 0 and 1
	Count          int64   // what pass 0 counted
}

// Measure runs all variants of a case, prepared on a set: once to warm up, then in rounds, one after the other. It
// closes them. The caller has bound the thread to a processor.
func (c *Case) Measure(all []Variant, o Options) (results []Result, err error) {
	defer func() { err = errors.Join(err, done(all)) }()
	runs := make([]run, len(all))
	for i := range all {
		runs[i] = run{Result: Result{Variant: all[i]}, c: c}
		if err := runs[i].warmUp(o.Time); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.Name, all[i].Name, err)
		}
	}
	for range o.Rounds {
		for i := range runs {
			if err := runs[i].round(); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", c.Name, all[i].Name, err)
			}
		}
	}
	for i := range runs {
		results = append(results, runs[i].finish())
	}
	return results, nil
}

// run is the measurement of one variant.
type run struct {
	Result
	c       *Case
	pairs   int
	samples []float64
}

// warmUp runs the variant twice and finds out how often it must run in a round.
func (r *run) warmUp(least time.Duration) error {
	if r.Skip != "" {
		return nil
	}
	for range 2 {
		count, err := r.Variant.once()
		var no *refused
		if errors.As(err, &no) {
			r.Skip = no.why
			return nil
		}
		if err != nil {
			return err
		}
		r.Count = count
	}
	took, err := r.time(1)
	r.pairs = 1 + int(least/max(took, 1))
	if r.Kind == Ours && err == nil {
		r.Allocs, err = r.allocs()
	}
	return err
}

// once runs both passes.
func (v *Variant) once() (count int64, err error) {
	defer v.enter()()
	if count, err = v.Pass(0); err != nil {
		return 0, err
	}
	_, err = v.Pass(1)
	return count, err
}

// enter makes everything ready for passes, until leave is called.
func (v *Variant) enter() (leave func()) {
	if v.Kind != Ours {
		return func() {}
	}
	restore := ptescan.Use(v.Level)
	if v.begin == nil {
		return restore
	}
	end := v.begin()
	return func() { end(); restore() }
}

// allocs returns how often a pair of passes allocates.
func (r *run) allocs() (float64, error) {
	defer r.enter()()
	const n = 4
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 2 * n {
		if _, err := r.Pass(i % 2); err != nil {
			return 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / n), nil
}

func (r *run) round() error {
	if r.Skip != "" {
		return nil
	}
	took, err := r.time(r.pairs)
	r.samples = append(r.samples, float64(took.Nanoseconds())/float64(r.pairs*r.c.timed())/float64(r.PTEs))
	return err
}

// timed is how many of the two passes of a pair are timed.
func (c *Case) timed() int {
	if c.First {
		return 1
	}
	return 2
}

// time returns the time that this many pairs of passes take, as far as it counts.
func (r *run) time(pairs int) (sum time.Duration, err error) {
	defer r.enter()()
	clock, cost := r.clockOf()
	return r.passes(pairs, clock, cost)
}

// passes is time, for who has entered. It allocates nothing.
func (r *run) passes(pairs int, clock func() time.Duration, cost time.Duration) (sum time.Duration, err error) {
	start := clock()
	for range pairs {
		if r.c.First {
			start = clock()
		}
		if _, err := r.Pass(0); err != nil {
			return 0, err
		}
		if r.c.First {
			sum += max(clock()-start-cost, 1)
		}
		if _, err := r.Pass(1); err != nil {
			return 0, err
		}
	}
	if !r.c.First {
		sum = clock() - start
	}
	return sum, nil
}

// clockOf returns the clock that counts, and what a reading of it costs.
func (r *run) clockOf() (clock func() time.Duration, cost time.Duration) {
	switch {
	case r.clock != nil:
		return r.clock, 0
	case r.c.Wall:
		return wallTime, 0
	}
	return threadTime, threadTimeCost()
}

var epoch = time.Now()

func wallTime() time.Duration { return time.Since(epoch) }

// threadTimeCost returns how much of the time that threadTime measures is its own.
func threadTimeCost() time.Duration {
	var all [31]time.Duration
	for i := range all {
		start := threadTime()
		all[i] = threadTime() - start
	}
	slices.Sort(all[:])
	return all[len(all)/2]
}

func (r *run) finish() Result {
	if n := len(r.samples); n > 0 && r.Skip == "" {
		slices.Sort(r.samples)
		r.Median, r.Q1, r.Q3, r.Rounds = r.samples[n/2], r.samples[n/4], r.samples[3*n/4], n
	}
	return r.Result
}
