package litmus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// word is a part of a line between spaces.
type word struct {
	text string
	col  int
}

// line is what is left of a line while it is parsed.
type line struct {
	file  string
	no    int
	words []word
	end   int // column behind the last word
}

// maxLine is the length of a line that is read at most.
const maxLine = 1000

// splitLine cuts a line into words; # begins a comment.
func splitLine(file string, no int, text string) line {
	l := line{file: file, no: no}
	if i := strings.IndexByte(text, '#'); i >= 0 {
		text = text[:i]
	}
	for i := 0; i < len(text); {
		if space(text[i]) {
			i++
			continue
		}
		j := i
		for j < len(text) && !space(text[j]) {
			j++
		}
		l.words = append(l.words, word{text[i:j], i + 1})
		i = j
	}
	l.end = 1
	if n := len(l.words); n > 0 {
		l.end = l.words[n-1].col + len(l.words[n-1].text)
	}
	return l
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// peek returns the next word, "" at the end.
func (l *line) peek() string {
	if len(l.words) == 0 {
		return ""
	}
	return l.words[0].text
}

// next takes the next word, "" at the end.
func (l *line) next() string {
	t := l.peek()
	if len(l.words) > 0 {
		l.words = l.words[1:]
	}
	return t
}

// accept takes the next word if it is t.
func (l *line) accept(t string) bool {
	if l.peek() != t || t == "" {
		return false
	}
	l.next()
	return true
}

// pos returns the place of the next word, or of the end.
func (l *line) pos() Pos {
	if len(l.words) == 0 {
		return Pos{l.file, l.no, l.end}
	}
	return Pos{l.file, l.no, l.words[0].col}
}

// errorf makes an error at the next word.
func (l *line) errorf(format string, args ...any) error {
	return &Error{l.pos(), fmt.Sprintf(format, args...)}
}

// want says what was expected instead of the next word.
func (l *line) want(what string) error {
	if len(l.words) == 0 {
		return l.errorf("%s is missing", what)
	}
	return l.errorf("%q is not %s", l.peek(), what)
}

// number takes a number, decimal or 0x.
func (l *line) number(what string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(l.peek(), 0, 64)
	if err != nil {
		return 0, l.want(what)
	}
	if n > limit {
		return 0, l.errorf("%s is at most %d", what, limit)
	}
	l.next()
	return n, nil
}

// name takes a name: a letter, then letters, digits, - and _.
func (l *line) name(what string) (string, error) {
	if !isName(l.peek()) {
		return "", l.want(what)
	}
	return l.next(), nil
}

func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(s[i] >= '0' && s[i] <= '9' || s[i] == '-' || s[i] == '_')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func asError(err error, e **Error) bool { return errors.As(err, e) }
