package ptdump

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// palette holds the terminal sequences (SGR) for each use of colour. In the zero palette all are empty.
type palette struct {
	dim, bold      string
	bad, warn, odd string
	reset          string
}

var colors = palette{
	dim: "\x1b[2m", bold: "\x1b[1m", bad: "\x1b[1;31m", warn: "\x1b[33m", odd: "\x1b[36m", reset: "\x1b[0m",
}

// newPalette decides whether to colour. "auto" colours a terminal, unless NO_COLOR is set or the terminal is dumb.
func newPalette(when string, w io.Writer) (palette, error) {
	switch when {
	case "always":
		return colors, nil
	case "never":
		return palette{}, nil
	case "auto":
		f, ok := w.(*os.File)
		if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
			return palette{}, nil
		}
		return colors, nil
	}
	return palette{}, fmt.Errorf("--color %q: want auto, always or never", when)
}

// off returns what ends a colour that on began: nothing if it began none.
func (c palette) off(on string) string {
	if on == "" {
		return ""
	}
	return c.reset
}

// paint wraps s in a colour.
func (c palette) paint(on, s string) string { return on + s + c.off(on) }

// rights chooses the colour of rights: what is writable and executable at once stands out.
func (c palette) rights(r Rights) string {
	if r.W && r.X {
		return c.bad
	}
	return ""
}

// kind chooses the colour of a kind.
func (c palette) kind(k Kind) string {
	switch k {
	case KindPresent:
		return ""
	case KindUnknown, KindHWPoison, KindSwapinError:
		return c.bad
	case KindMarker, KindMigration:
		return c.odd
	}
	return c.warn
}
