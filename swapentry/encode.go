package swapentry

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Why a value is not legal ([Layout.Check]) or cannot be made ([Layout.Encode]).
var (
	// ErrKind: this kernel has no such kind, or not at this level.
	ErrKind = errors.New("kind cannot be here")
	// ErrReserved: bits are set that must be 0.
	ErrReserved = errors.New("reserved bits set")
	// ErrOffset: the offset names a slot or frame beyond what can exist, or one that is never used.
	ErrOffset = errors.New("impossible offset")
	// ErrFlag: a flag that this kind never carries.
	ErrFlag = errors.New("impossible flag")
	// ErrMarker: a marker without bits, or with bits that the kernel does not know.
	ErrMarker = errors.New("impossible marker")
	// ErrFields: the fields contradict the kind, so that no value says what they say.
	ErrFields = errors.New("no value has these fields")
)

// EntryError says which value, in a table of which level, is wrong, and why.
type EntryError struct {
	Level x86.Level
	Raw   uint64
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("%s 0x%016x: %v", e.Level, e.Raw, e.Err) }

// Unwrap returns the reason, for errors.Is and errors.As.
func (e *EntryError) Unwrap() error { return e.Err }

// Encode returns the value that decodes to e: the inverse of [Layout.Decode] for every value it can be given. Type
// and Offset are read only where [Entry] says so. An e that no value decodes to gives an [*EntryError] around
// [ErrKind], [ErrOffset], [ErrMarker] or [ErrFields].
func (l *Layout) Encode(e Entry) (uint64, error) {
	raw := l.canonical(&e) ^ e.Stray
	if got := l.Decode(e.Level, raw); !sameMeaning(got, e) {
		return 0, &EntryError{Level: e.Level, Raw: raw, Err: l.whyNot(&e)}
	}
	return raw, nil
}

// sameMeaning compares all fields but those that follow from others.
func sameMeaning(a, b Entry) bool {
	if a.Kind != KindSwap {
		b.Type = a.Type
		if a.Kind != KindSwapinError {
			b.Offset = a.Offset
		}
	}
	return a == b
}

// whyNot finds the field for which Encode fails.
func (l *Layout) whyNot(e *Entry) error {
	switch {
	case e.Kind < KindSwap || e.Kind > KindSwapinError:
	case e.Level > x86.LevelPUD:
		return fmt.Errorf("%w: %s at level %s", ErrKind, e.Kind, e.Level)
	case !l.has(e):
		return fmt.Errorf("%w: this kernel has no such %s entry", ErrKind, e.Kind)
	case e.Kind == KindSwap && e.Type >= l.types.MaxSwapfiles:
		return fmt.Errorf("%w: swap device %d of %d", ErrKind, e.Type, l.types.MaxSwapfiles)
	case e.Kind.HasPFN() && uint64(e.PFN) > l.pfnMask():
		return fmt.Errorf("%w: frame %#x of %d bits", ErrOffset, uint64(e.PFN), l.pfnBits)
	case !e.Kind.HasPFN() && e.Offset >= genericMaxSize:
		return fmt.Errorf("%w: %#x", ErrOffset, e.Offset)
	case e.Marker&^l.markers != 0:
		return fmt.Errorf("%w: unknown bits %#x", ErrMarker, uint64(e.Marker&^l.markers))
	}
	return fmt.Errorf("%w: %+v", ErrFields, *e)
}

// has reports whether the kernel has a type for e.
func (l *Layout) has(e *Entry) bool {
	t := &l.types
	switch e.Kind {
	case KindDevicePrivate:
		return t.DevicePrivateWrite != NoType
	case KindDeviceExclusive:
		return t.DeviceExclusiveWrite != NoType && (e.Write || t.DeviceExclusiveRead != NoType)
	case KindSwapinError:
		return t.SwapinError != NoType
	}
	return true
}
