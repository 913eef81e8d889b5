package bench

import "ptemu/internal/ptescan/floor"

// plainBares are the codes in plain Go.
func plainBares(kind FloorKind) []bare {
	switch kind {
	case FloorXor:
		return []bare{{"floor plain", func(t, _ *floor.Table) { floor.Xor(t, flipped) }}}
	case FloorRead:
		return []bare{{"floor plain", func(t, _ *floor.Table) { sink |= floor.Read(t) }}}
	}
	return nil
}

// plainCopies is the copy in plain Go.
func plainCopies() []bare {
	return []bare{{"floor plain", func(t, c *floor.Table) {
		floor.Xor(t, flipped)
		*c = *t
	}}}
}

// sink keeps reads from being optimised away.
var sink uint64
