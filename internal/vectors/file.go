package vectors

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
)

// maxArgs is the largest number of inputs that a function has.
const maxArgs = 3

// Vector is one line: a call and its result.
type Vector struct {
	Line     int
	Text     []byte // the whole line, without the newline; valid during the call only
	Function string
	Constant string // name of the constant, if Function is "const"
	In       []uint64
	Out      uint64
}

// Reader reads a vector file.
type Reader struct {
	// Comment, if not nil, is called with each comment line.
	Comment func(line string)

	lines  *bufio.Scanner
	line   int
	head   head
	config *Config
	names  map[string]string // function names seen, so that each is allocated once
	vec    Vector
	in     [maxArgs]uint64
	count  int
	ended  bool
}

// NewReader reads the gzip-compressed vectors in r.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return &Reader{
		lines: bufio.NewScanner(z),
		head:  head{fields: map[string]string{}},
		names: map[string]string{},
	}, nil
}

// Config returns what the comments said; it is nil before the first vector.
func (r *Reader) Config() *Config { return r.config }

// Functions returns the number of different functions seen.
func (r *Reader) Functions() int { return len(r.names) }

// Next returns the next vector, valid until the call after it, or io.EOF after the last. It checks that the file
// ends with its "# end" line and that the counts there are true.
func (r *Reader) Next() (*Vector, error) {
	for r.lines.Scan() {
		r.line++
		text := r.lines.Bytes()
		if r.ended {
			return nil, r.fail("text after the end line")
		}
		if len(text) == 0 || text[0] != '#' {
			return r.vector(text)
		}
		if err := r.comment(string(text)); err != nil {
			return nil, err
		}
	}
	if err := r.lines.Err(); err != nil {
		return nil, r.fail("%w", err)
	}
	if !r.ended {
		return nil, r.fail("%w: no end line", io.ErrUnexpectedEOF)
	}
	return nil, io.EOF
}

func (r *Reader) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %w", r.line, fmt.Errorf(format, args...))
}

func (r *Reader) comment(text string) error {
	if r.Comment != nil {
		r.Comment(text)
	}
	if r.config == nil {
		r.head.add(text)
	}
	var vectors, functions int
	if n, _ := fmt.Sscanf(text, "# end vectors=%d functions=%d", &vectors, &functions); n == 0 {
		return nil
	}
	if vectors != r.count || functions != len(r.names) {
		return r.fail("the end line counts %d vectors of %d functions, read were %d of %d",
			vectors, functions, r.count, len(r.names))
	}
	r.ended = true
	return nil
}

var errSyntax = errors.New("want function, inputs, output")

func (r *Reader) vector(text []byte) (*Vector, error) {
	if r.config == nil {
		c, err := r.head.config()
		if err != nil {
			return nil, r.fail("configuration: %w", err)
		}
		r.config = c
	}
	v := &r.vec
	*v = Vector{Line: r.line, Text: text, In: r.in[:0]}
	name, rest, _ := bytes.Cut(text, []byte{'\t'})
	if v.Function = r.names[string(name)]; v.Function == "" {
		v.Function = string(name)
		r.names[v.Function] = v.Function
	}
	if v.Function == "const" {
		var constant []byte
		constant, rest, _ = bytes.Cut(rest, []byte{'\t'})
		v.Constant = string(constant)
	}
	for more := true; more; {
		var field []byte
		field, rest, more = bytes.Cut(rest, []byte{'\t'})
		n, err := strconv.ParseUint(string(field), 0, 64)
		if err != nil {
			return nil, r.fail("%w: %w", errSyntax, err)
		}
		switch {
		case !more:
			v.Out = n
		case len(v.In) == maxArgs:
			return nil, r.fail("%w: more than %d inputs", errSyntax, maxArgs)
		default:
			v.In = append(v.In, n)
		}
	}
	r.count++
	return v, nil
}
