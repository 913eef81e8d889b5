package ptdump

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// progress shows how far work has come that takes more than a second: on a terminal, and nowhere else. Its methods may
// be called from any number of goroutines, and do nothing on a nil progress.
type progress struct {
	what string
	done atomic.Uint64 // in 1/1000
	add  atomic.Int64  // pieces done
	n    int64         // of so many; 0 if done is set by hand

	stopped chan struct{}
	wait    sync.WaitGroup
}

const (
	progressDelay = time.Second
	progressEvery = 200 * time.Millisecond
	progressWidth = 30
)

// startProgress begins to show the progress of work in n pieces, or of any number if n is 0. It must be stopped.
func startProgress(w io.Writer, what string, n int) *progress {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	p := &progress{what: what, n: int64(n), stopped: make(chan struct{})}
	p.wait.Go(func() { p.show(f, time.NewTimer(progressDelay)) })
	return p
}

// one counts a piece.
func (p *progress) one() {
	if p != nil {
		p.add.Add(1)
	}
}

// set says how much is done, from 0 to 1.
func (p *progress) set(part float64) {
	if p != nil {
		p.done.Store(uint64(1000 * min(max(part, 0), 1)))
	}
}

// stop takes the line away.
func (p *progress) stop() {
	if p != nil {
		close(p.stopped)
		p.wait.Wait()
	}
}

func (p *progress) show(w io.Writer, next *time.Timer) {
	shown := 0
	for {
		select {
		case <-p.stopped:
			next.Stop()
			if shown > 0 {
				fmt.Fprintf(w, "\r%*s\r", shown, "")
			}
			return
		case <-next.C:
			line := p.line()
			fmt.Fprint(w, "\r", line)
			shown = max(shown, len(line))
			next.Reset(progressEvery)
		}
	}
}

// line is what the terminal shows.
func (p *progress) line() string {
	part := float64(p.done.Load()) / 1000
	if p.n > 0 {
		part = float64(p.add.Load()) / float64(p.n)
	}
	full := int(part * progressWidth)
	return fmt.Sprintf("%s [%s%s] %3.0f%%", p.what, strings.Repeat("#", full), strings.Repeat(".", progressWidth-full), 100*part)
}
