package report

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Palette holds the terminal sequences (SGR) for each use of colour. In the zero palette all are empty.
type Palette struct {
	Dim, Bold      string
	Bad, Warn, Odd string
	Reset          string
}

var colors = Palette{
	Dim: "\x1b[2m", Bold: "\x1b[1m", Bad: "\x1b[1;31m", Warn: "\x1b[33m", Odd: "\x1b[36m", Reset: "\x1b[0m",
}

// NewPalette decides whether to colour. "auto" colours a terminal, unless NO_COLOR is set or the terminal is dumb.
func NewPalette(when string, w io.Writer) (Palette, error) {
	switch when {
	case "always":
		return colors, nil
	case "never":
		return Palette{}, nil
	case "auto":
		f, ok := w.(*os.File)
		if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
			return Palette{}, nil
		}
		return colors, nil
	}
	return Palette{}, fmt.Errorf("--color %q: want auto, always or never", when)
}

// Off returns what ends a colour that on began: nothing if it began none.
func (c Palette) Off(on string) string {
	if on == "" {
		return ""
	}
	return c.Reset
}

// Paint wraps s in a colour.
func (c Palette) Paint(on, s string) string { return on + s + c.Off(on) }
