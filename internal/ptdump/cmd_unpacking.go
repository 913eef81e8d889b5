package ptdump

import (
	"io"
	"path/filepath"
	"sync"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
)

// unpacking shows how far a compressed capture is unpacked, which goes on while tables are read. It ends when the answer
// begins to be written to a terminal, and before other work shows its own progress.
type unpacking struct {
	bar    *report.Progress
	stop   sync.Once
	goesOn bool // when the capture is open
}

// unpacking begins to show progress if path is a compressed file. It must be ended.
func (o *options) unpacking(path string, m *session.Options) *unpacking {
	u := &unpacking{goesOn: o.unpackBar}
	if ext := filepath.Ext(path); ext == ".gz" || ext == ".zst" {
		u.bar = report.StartProgress(o.stderr, "unpacking", 0)
		m.Capture.Progress = u.bar.Set
	}
	return u
}

func (u *unpacking) end() { u.stop.Do(u.bar.Stop) }

// before returns out, which ends the progress before anything is written to a terminal.
func (u *unpacking) before(out *outFile) io.Writer {
	if u.bar == nil || !report.IsTerminal(out.Writer) {
		return out
	}
	return &endingWriter{u, out}
}

type endingWriter struct {
	u  *unpacking
	to io.Writer
}

func (w *endingWriter) Write(p []byte) (int, error) {
	w.u.end()
	return w.to.Write(p)
}
