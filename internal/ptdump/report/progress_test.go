package report

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/term"
)

// screen is what a terminal of one line shows after text was written to it.
func screen(t *testing.T, text string) string {
	t.Helper()
	var line []rune
	at := 0
	for _, r := range text {
		switch {
		case r == '\r':
			at = 0
		case r < ' ':
			t.Fatalf("%q has the character %q", text, r)
		default:
			if at == len(line) {
				line = append(line, ' ')
			}
			line[at] = r
			at++
		}
	}
	return strings.TrimRight(string(line), " ")
}

// TestProgress: the bar shows how far the work is, fits the terminal, and is gone at the end, however far the work came.
func TestProgress(t *testing.T) {
	for _, c := range []struct {
		n, done, columns int
		set              float64
		want             string
	}{
		{n: 4, done: 2, columns: 80, want: "50%"},
		{n: 4, done: 4, columns: 80, want: "99%"},
		{n: 4, columns: 80, want: "0%"},
		{set: 0.25, columns: 40, want: "25%"},
		{set: 7, columns: 3, want: "99%"},
	} {
		p := newProgress("counting", c.n)
		for range c.done {
			p.One()
		}
		p.Set(c.set)
		var w bytes.Buffer
		bar := p.bar(&w, c.columns)
		if err := bar.Set64(p.steps()); err != nil {
			t.Fatal(err)
		}
		line := screen(t, w.String())
		if !strings.HasPrefix(line, "counting ") || !strings.Contains(line, " "+c.want+" ") {
			t.Errorf("%+v: the terminal shows %q", c, line)
		}
		if c.columns > 30 && len([]rune(line)) >= c.columns {
			t.Errorf("%+v: %q is longer than a line", c, line)
		}
	}
}

// TestProgressEnds: nothing is left on the terminal, and nothing was ever there if the work ends before the first tick.
func TestProgressEnds(t *testing.T) {
	p := newProgress("counting", 3)
	var w bytes.Buffer
	tick := make(chan time.Time)
	timer := time.NewTimer(time.Hour)
	timer.C = tick
	p.wait.Go(func() { p.show(&w, 80, timer) })
	p.One()
	tick <- time.Time{}
	tick <- time.Time{} // the first has been drawn
	p.Stop()
	if text := w.String(); !strings.Contains(text, "33%") || screen(t, text) != "" {
		t.Errorf("the terminal got %q", text)
	}
	p, w = newProgress("counting", 3), bytes.Buffer{}
	p.wait.Go(func() { p.show(&w, 80, time.NewTimer(time.Hour)) })
	p.One()
	p.Stop()
	if text := w.String(); text != "" {
		t.Errorf("the terminal got %q", text)
	}
}

// TestProgressTerminalOnly: files and pipes get nothing, and no methods fail then.
func TestProgressTerminalOnly(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if term.IsTerminal(int(w.Fd())) {
		t.Fatal("a pipe is a terminal")
	}
	for _, p := range []*Progress{StartProgress(w, "x", 1), StartProgress(&bytes.Buffer{}, "x", 1)} {
		if p != nil {
			t.Error("there is a bar for what is no terminal")
		}
		p.One()
		p.Set(1)
		p.Stop()
	}
}
