package where

import (
	"fmt"
	"strings"
)

// Error is a mistake in a --where expression.
type Error struct {
	Src string
	Pos int // byte offset in Src, up to len(Src)
	Msg string
}

// Error returns the message, the expression, and a caret below the place.
func (e *Error) Error() string {
	before, after := []rune(e.Src[:e.Pos]), []rune(e.Src[e.Pos:])
	head, tail := "", ""
	if most := errorWidth / 2; len(before) > most {
		head, before = "...", before[len(before)-most:]
	}
	if most := errorWidth / 2; len(after) > most {
		tail, after = "...", after[:most]
	}
	src := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, head+string(before)+string(after)+tail)
	return fmt.Sprintf("--where: %s\n  %s\n  %s^", e.Msg, src, strings.Repeat(" ", len(head)+len(before)))
}

// errorWidth is how much of an expression an error shows, half of it on each side of the place.
const errorWidth = 120

// clip shortens a word that is too long to be repeated.
func clip(word string) string {
	const most = 40
	if r := []rune(word); len(r) > most {
		return string(r[:most]) + "..."
	}
	return word
}
