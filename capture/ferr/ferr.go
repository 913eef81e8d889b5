// Package ferr is how the readers of capture formats say that a file is wrong: always with the place.
//
// It is a package of its own because every format needs it and package capture needs every format.
package ferr

import (
	"errors"
	"fmt"
	"io"
)

// ErrTruncated: the file ends before the bytes that were asked for.
var ErrTruncated = errors.New("file ends early")

// FormatError is a file that does not follow its format, or cannot be read, at a place.
type FormatError struct {
	// Path names the file, where the reader knows it; else empty.
	Path string
	// Format is what the file was read as: "ELF core", "kdump", "LiME", "gzip".
	Format string
	// Off is the byte offset of the place. Of a compressed file it counts the unpacked bytes, of an ELF core in a
	// flattened file those of the rearranged file.
	Off int64
	// Err is what is wrong there.
	Err error
}

func (e *FormatError) Error() string {
	s := fmt.Sprintf("%s: offset %#x: %v", e.Format, e.Off, e.Err)
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	return s
}

// Unwrap returns what is wrong, for errors.Is and errors.As.
func (e *FormatError) Unwrap() error { return e.Err }

// New makes a FormatError of a message in the style of fmt.Errorf.
func New(format string, off int64, msg string, args ...any) error {
	return &FormatError{Format: format, Off: off, Err: fmt.Errorf(msg, args...)}
}

// At names the place of err. An error that names a place already (of a compressed file below this one) stays as
// it is; an end of file becomes [ErrTruncated].
func At(format string, off int64, err error) error {
	var fe *FormatError
	if errors.As(err, &fe) {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return &FormatError{Format: format, Off: off, Err: err}
}

// ReadAt fills p from r at off, all of it or an error that names off.
func ReadAt(r io.ReaderAt, p []byte, off int64, format string) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return At(format, off, err)
}
