package kallsyms

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Memory is the kernel's memory. An error says which address cannot be read.
type Memory interface {
	ReadAt(p []byte, va x86.Virt) error
}

// Info says where the kernel's tables are, as VMCOREINFO does.
type Info interface {
	Symbol(name string) (x86.Virt, bool)
}

// ErrNoTables: nothing says where the tables are, and they were not found.
var ErrNoTables = errors.New("kallsyms: no tables")

// ErrTables is in the chain of every error about what the tables hold.
var ErrTables = errors.New("bad kallsyms tables")

// Error says what is wrong with a table.
type Error struct {
	// Table is its name without the prefix "kallsyms_".
	Table string
	// Off is where in it, in bytes.
	Off uint64
	// Err is what is wrong: that memory could not be read, or an error without a chain.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("kallsyms_%s, offset %#x: %v", e.Table, e.Off, e.Err)
}

// Unwrap returns the reason and [ErrTables].
func (e *Error) Unwrap() []error { return []error{e.Err, ErrTables} }

func bad(table string, off uint64, format string, args ...any) error {
	return &Error{table, off, fmt.Errorf(format, args...)}
}

// Bounds of what is accepted. A kernel with everything built in has fewer than a million symbols, of no more than 512 characters.
const (
	maxSyms     = 1 << 20
	maxName     = 1 << 10 // characters, type included
	maxTokens   = 1 << 14 // bytes of token_table
	maxNames    = 1 << 26 // bytes of names
	maxExpanded = 1 << 27 // characters of all names
)

// places are the addresses of the tables; 0 for none.
type places struct {
	numSyms, names, tokenTable, tokenIndex x86.Virt
	offsets, addresses, relativeBase       x86.Virt
	text, stext                            x86.Virt
}

// Parse reads the tables that info names. The error wraps [ErrNoTables] if it names none: [Search] may find them then.
// Otherwise it is an [*Error], or one that wraps [ErrTables].
func Parse(mem Memory, info Info) (*Symbols, error) {
	var p places
	for name, to := range map[string]*x86.Virt{
		"kallsyms_num_syms": &p.numSyms, "kallsyms_names": &p.names, "kallsyms_token_table": &p.tokenTable,
		"kallsyms_token_index": &p.tokenIndex, "kallsyms_offsets": &p.offsets, "kallsyms_addresses": &p.addresses,
		"kallsyms_relative_base": &p.relativeBase, "_stext": &p.stext, "_text": &p.text,
	} {
		*to, _ = info.Symbol(name)
	}
	for name, va := range map[string]x86.Virt{
		"kallsyms_num_syms": p.numSyms, "kallsyms_names": p.names, "kallsyms_token_table": p.tokenTable,
		"kallsyms_token_index": p.tokenIndex, "kallsyms_offsets": p.offsets | p.addresses, "_stext": p.stext,
	} {
		if va == 0 {
			return nil, fmt.Errorf("%w: VMCOREINFO lacks SYMBOL(%s)", ErrNoTables, name)
		}
	}
	return parse(mem, &p)
}

func parse(mem Memory, p *places) (*Symbols, error) {
	var word [4]byte
	if err := mem.ReadAt(word[:], p.numSyms); err != nil {
		return nil, &Error{"num_syms", 0, err}
	}
	n := int(binary.LittleEndian.Uint32(word[:]))
	if n == 0 || n > maxSyms {
		return nil, bad("num_syms", 0, "%d symbols: want 1 to %d", n, maxSyms)
	}
	s := &Symbols{n: n}
	if err := s.readTokens(mem, p); err != nil {
		return nil, err
	}
	if err := s.readNames(mem, p.names); err != nil {
		return nil, err
	}
	if err := s.readAddresses(mem, p); err != nil {
		return nil, err
	}
	return s, nil
}

// readTokens reads the 256 texts. In the tables that the build writes each starts where the one before it ends.
//
// Linux: scripts/kallsyms.c:write_src()
func (s *Symbols) readTokens(mem Memory, p *places) error {
	const index, table = "token_index", "token_table"
	var raw [2 * len(s.tokens)]byte
	if err := mem.ReadAt(raw[:], p.tokenIndex); err != nil {
		return &Error{index, 0, err}
	}
	at := func(i int) int { return int(binary.LittleEndian.Uint16(raw[2*i:])) }
	last := len(s.tokens) - 1
	if at(0) != 0 || at(last) >= maxTokens {
		return bad(index, 0, "it goes from %#x to %#x: want 0 to less than %#x", at(0), at(last), maxTokens)
	}
	text := make([]byte, at(last))
	if err := mem.ReadAt(text, p.tokenTable); err != nil {
		return &Error{table, 0, err}
	}
	for i := range last {
		from, end := at(i), at(i+1)
		if end <= from || end > len(text) {
			return bad(index, uint64(2*i+2), "%#x follows %#x", end, from)
		}
		if text[end-1] != 0 {
			return bad(table, uint64(end-1), "no NUL where token %#02x ends", i)
		}
		s.tokens[i] = string(text[from : end-1])
	}
	// Where the last one ends no index says.
	var tail [maxName]byte
	end := 0
	for ; ; end++ {
		if end == len(tail) {
			return bad(table, uint64(at(last)), "the last token has no end")
		}
		if err := mem.ReadAt(tail[end:end+1], p.tokenTable+x86.Virt(at(last)+end)); err != nil {
			return &Error{table, uint64(at(last) + end), err}
		}
		if tail[end] == 0 {
			break
		}
	}
	s.tokens[last] = string(tail[:end])
	for i, t := range s.tokens {
		if len(t) > maxName || !printable(t) {
			return bad(table, uint64(at(i)), "token %#02x is no part of a name: %.40q", i, t)
		}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
