package usage

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is a mistake in the command line.
type Error struct{ Err error }

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns a mistake in the command line.
func Errorf(format string, args ...any) error { return &Error{Err: fmt.Errorf(format, args...)} }

// Hex reads a hex number with or without 0x; errors call it what.
func Hex(what, s string) (uint64, error) {
	digits := strings.ReplaceAll(strings.ToLower(s), "_", "")
	v, err := strconv.ParseUint(strings.TrimPrefix(digits, "0x"), 16, 64)
	if err != nil {
		return 0, Errorf("%s %q: want a hex number of at most 64 bits", what, s)
	}
	return v, nil
}

// Size reads the size of a range: hex like the addresses, or a decimal number with the suffix K, M, G or T.
func Size(s string) (uint64, error) {
	if s != "" && strings.IndexByte("kmgt", s[len(s)-1]|0x20) >= 0 {
		n, err := Number(s)
		if err != nil {
			return 0, Errorf("--range size: %v", err)
		}
		return n, nil
	}
	return Hex("--range size", s)
}

// Number reads a decimal or 0x number, with an optional suffix K, M, G or T (powers of 1024).
func Number(s string) (uint64, error) {
	digits, unit := s, uint(0)
	if hex := strings.HasPrefix(strings.ToLower(s), "0x"); len(s) > 0 {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			digits, unit = s[:len(s)-1], uint(10*(i+1))
		}
		if !hex {
			digits = strings.TrimLeft(digits, "0")
			if digits == "" && s != "" && s[0] >= '0' && s[0] <= '9' {
				digits = "0"
			}
		}
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil || n<<unit>>unit != n {
		return 0, fmt.Errorf("%q is not a number of at most 64 bits", s)
	}
	return n << unit, nil
}

// Distance is the number of bytes to insert, delete or replace to get from a to b (Levenshtein).
func Distance(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diag+cost)
		}
	}
	return row[len(b)]
}
