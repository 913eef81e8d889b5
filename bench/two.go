package bench

import (
	"runtime"
	"sync/atomic"

	"ptemu/internal/ptescan"
	"ptemu/pgtable"
)

// twoCase changes the halves of one space with two goroutines, against one that changes all. Wall time counts.
func twoCase() Case {
	c := Case{Name: CaseTwo, Floor: FloorXor, Wall: true, Shuffled: true, fill: dense(rw)}
	c.make = func(s *Set) ([]Variant, error) {
		all, err := atLevels(s, func() (func(int) (int64, error), error) {
			return s.changing(s.Range, change{prot: ro}, change{prot: rw})
		})
		if err != nil {
			return nil, err
		}
		all = append(s.floors(c.Floor), all...)
		if processors() < 2 {
			return append(all, skipped("two", Ours, "one processor")), nil
		}
		for _, l := range Levels() {
			v, err := s.twoChanging(l)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return append(all, s.kernel(noCall("mprotect() keeps others from the whole address space"))), nil
	}
	return c
}

func (s *Set) halves() (a, b pgtable.Range) {
	mid := s.tableVA(len(s.Tables) / 2)
	return pgtable.Range{First: s.Range.First, Last: mid - 1}, pgtable.Range{First: mid, Last: s.Range.Last}
}

// twoChanging is the change by two goroutines, each bound to a processor of its own.
func (s *Set) twoChanging(l ptescan.Level) (Variant, error) {
	a, b := s.halves()
	var halves [2]func(int) (int64, error)
	restore := ptescan.Use(l)
	for i, r := range [...]pgtable.Range{a, b} {
		var err error
		if halves[i], err = s.changing(r, change{prot: ro}, change{prot: rw}); err != nil {
			restore()
			return Variant{}, err
		}
	}
	restore()
	w := &worker{do: halves[1]}
	return Variant{
		Name: l.String() + " two", Kind: Ours, Level: l, PTEs: s.PTEs(), begin: w.begin,
		Pass: func(odd int) (int64, error) {
			w.order.Store(w.order.Load()&^1 + 2 | int32(odd))
			n, err := halves[0](odd)
			for w.done.Load() != w.order.Load() {
			}
			if err == nil {
				err = w.err
			}
			return n + w.count, err
		},
	}, nil
}

// worker is the second goroutine. It waits busily, since to wake it would take longer than a pass over a small set.
type worker struct {
	do    func(odd int) (int64, error)
	count int64
	err   error

	_     [64]byte
	order atomic.Int32 // number of the pass, times two, plus odd; negative: end
	_     [64]byte
	done  atomic.Int32 // order that was done last
}

func (w *worker) begin() (end func()) {
	w.order.Store(0)
	w.done.Store(0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		pinSecond()
		w.loop()
	}()
	return func() {
		w.order.Store(-1)
		<-ended
	}
}

func (w *worker) loop() {
	for last := int32(0); ; {
		switch o := w.order.Load(); {
		case o < 0:
			return
		case o != last:
			w.count, w.err = w.do(int(o & 1))
			last = o
			w.done.Store(o)
		}
	}
}
