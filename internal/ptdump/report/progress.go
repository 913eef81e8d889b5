package report

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Progress shows how far work has come that takes more than a second: on a terminal, and nowhere else. Its methods may
// be called from any number of goroutines, and do nothing on a nil progress. They only count: the bar is drawn by a goroutine of its
// own, now and then.
type Progress struct {
	what string
	done atomic.Uint64 // in 1/progressSteps
	add  atomic.Int64  // pieces done
	n    int64         // of so many; 0 if done is set by hand

	stopped chan struct{}
	wait    sync.WaitGroup
}

const (
	progressDelay = time.Second
	progressEvery = 200 * time.Millisecond
	progressWidth = 30
	progressSteps = 1000
)

// StartProgress begins to show the progress of work in n pieces, or of any number if n is 0. It must be stopped.
func StartProgress(w io.Writer, what string, n int) *Progress {
	if !IsTerminal(w) {
		return nil
	}
	f := w.(*os.File)
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = 80
	}
	p := newProgress(what, n)
	p.wait.Go(func() { p.show(f, columns, time.NewTimer(progressDelay)) })
	return p
}

// IsTerminal reports whether what is written to w is shown as it comes.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func newProgress(what string, n int) *Progress {
	return &Progress{what: what, n: int64(n), stopped: make(chan struct{})}
}

// One counts a piece.
func (p *Progress) One() {
	if p != nil {
		p.add.Add(1)
	}
}

// Set says how much is done, from 0 to 1.
func (p *Progress) Set(part float64) {
	if p != nil {
		p.done.Store(uint64(progressSteps * min(max(part, 0), 1)))
	}
}

// Stop takes the line away.
func (p *Progress) Stop() {
	if p != nil {
		close(p.stopped)
		p.wait.Wait()
	}
}

// show draws the bar from the first tick of next on.
func (p *Progress) show(w io.Writer, columns int, next *time.Timer) {
	defer next.Stop()
	var bar *progressbar.ProgressBar
	for {
		select {
		case <-p.stopped:
			if bar != nil {
				_ = bar.Clear() // a terminal that is gone needs no clearing
			}
			return
		case <-next.C:
			if bar == nil {
				bar = p.bar(w, columns)
			}
			_ = bar.Set64(p.steps()) // as above
			next.Reset(progressEvery)
		}
	}
}

// bar returns the bar, drawn, that fits into a line of the terminal.
func (p *Progress) bar(w io.Writer, columns int) *progressbar.ProgressBar {
	const around = len(" 100% |") + len("|  ") + 1 // what is drawn beside the name and the bar
	return progressbar.NewOptions64(progressSteps,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(p.what),
		progressbar.OptionSetWidth(max(min(progressWidth, columns-len(p.what)-around), 1)),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetRenderBlankState(true),
	)
}

// steps is how much is done. The last step is never: at that the bar ends, and takes itself away.
func (p *Progress) steps() int64 {
	done := int64(p.done.Load())
	if p.n > 0 {
		done = p.add.Load() * progressSteps / p.n
	}
	return min(done, progressSteps-1)
}
