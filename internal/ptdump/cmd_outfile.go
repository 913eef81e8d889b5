package ptdump

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"ptemu/internal/ptdump/usage"
)

// outFile is where the output goes: stdout, or with -o a file that appears under its name only when it is whole.
type outFile struct {
	io.Writer
	tmp    *os.File // nil if there is nothing to rename
	path   string
	direct *os.File // -o names a device or a pipe
}

// openOut opens the output. path "" and "-" are stdout. source is the capture, which must not be overwritten.
func openOut(path string, stdout io.Writer, source string) (*outFile, error) {
	if path == "" || path == "-" {
		return &outFile{Writer: stdout}, nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // write what a link points to, rather than replace the link
	}
	mode := fs.FileMode(0o666)
	old, err := os.Stat(path)
	switch {
	case err == nil && old.IsDir():
		return nil, usage.Errorf("-o %s: is a directory", path)
	case err == nil && !old.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, &outputError{err}
		}
		return &outFile{Writer: f, direct: f}, nil
	case err == nil:
		if in, err := os.Stat(source); err == nil && os.SameFile(old, in) {
			return nil, usage.Errorf("-o %s: is the capture itself", path)
		}
		mode = old.Mode().Perm()
	}
	tmp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%s.tmp", filepath.Base(path), rand.Text()[:8]))
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		if e := new(fs.PathError); errors.As(err, &e) {
			err = e.Err // of a name that nobody gave
		}
		return nil, &outputError{fmt.Errorf("-o %s: %w", path, err)}
	}
	return &outFile{Writer: f, tmp: f, path: path}, nil
}

// keep ends a whole output: the file takes its name.
func (o *outFile) keep() error {
	if o.direct != nil {
		return asOutputError(o.direct.Close())
	}
	if o.tmp == nil {
		return nil
	}
	f := o.tmp
	o.tmp = nil
	err := f.Close()
	if err == nil {
		err = os.Rename(f.Name(), o.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return asOutputError(err)
}

// drop ends an output that is not whole: no file is left, and what stood under its name still does. After keep it
// does nothing.
func (o *outFile) drop() {
	if o.tmp != nil {
		o.tmp.Close()
		os.Remove(o.tmp.Name())
		o.tmp = nil
	}
}

// Write marks errors as errors of the output, apart from those of the capture.
func (o *outFile) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	return n, asOutputError(err)
}

// outputError is a failure to write the output.
type outputError struct{ err error }

func (e *outputError) Error() string { return "cannot write the output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func asOutputError(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{err}
}

// readerGone reports whether the error is that nobody reads the output any more, as after "| head".
func readerGone(err error) bool {
	var out *outputError
	return errors.As(err, &out) && (errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe))
}
