package report

import (
	"strconv"
	"strings"
)

// FlushSize is how much output is collected before it is written.
const FlushSize = 64 << 10

// AppendHex16 appends v as 16 hex digits.
func AppendHex16(dst []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[v&15]
		v >>= 4
	}
	return append(dst, b[:]...)
}

// AppendSize appends a size in the largest unit that divides it: "4K", "2M", "1G", "8T".
func AppendSize(dst []byte, n uint64) []byte {
	const units = "BKMGTPE"
	u := 0
	for n != 0 && n%1024 == 0 && u+1 < len(units) {
		n /= 1024
		u++
	}
	dst = strconv.AppendUint(dst, n, 10)
	if u > 0 {
		dst = append(dst, units[u])
	}
	return dst
}

// AppendPadded appends s and pads it with spaces to width.
func AppendPadded(dst []byte, s string, width int) []byte {
	return Pad(append(dst, s...), width-len(s))
}

// Pad appends n spaces, none if n is negative.
func Pad(dst []byte, n int) []byte {
	for ; n > 0; n-- {
		dst = append(dst, ' ')
	}
	return dst
}

// CloseJSONList ends a list whose elements were each written with a comma.
func CloseJSONList(dst []byte) []byte {
	if n := len(dst) - 1; dst[n] == ',' {
		dst = dst[:n]
	}
	return append(dst, ']')
}

// AppendJSONBool appends key, which is written as it stands, and true or false.
func AppendJSONBool(dst []byte, key string, v bool) []byte {
	dst = append(dst, key...)
	return strconv.AppendBool(dst, v)
}

// AlignRight moves what was appended since start to the right edge of a column.
func AlignRight(dst []byte, start, width int) []byte {
	n := len(dst) - start
	dst = Pad(dst, width-n)
	if k := len(dst) - start - n; k > 0 {
		copy(dst[start+k:], dst[start:start+n])
		for i := range k {
			dst[start+i] = ' '
		}
	}
	return dst
}

// EndLine drops the spaces at the end of the line and ends it.
func EndLine(dst []byte) []byte {
	for n := len(dst); dst[n-1] == ' '; n = len(dst) {
		dst = dst[:n-1]
	}
	return append(dst, '\n')
}

// CloseCSVList drops the separator after the last element.
func CloseCSVList(dst []byte) []byte {
	if n := len(dst) - 1; dst[n] == '|' {
		return dst[:n]
	}
	return dst
}

// AppendCSVBool appends a comma and 1 or 0.
func AppendCSVBool(dst []byte, on bool) []byte {
	if on {
		return append(dst, ",1"...)
	}
	return append(dst, ",0"...)
}

// AppendCSVString appends a field in quotes where it needs them (RFC 4180).
func AppendCSVString(dst []byte, s string) []byte {
	if !strings.ContainsAny(s, "\",\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}
