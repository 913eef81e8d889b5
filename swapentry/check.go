package swapentry

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// neverSet are the bits of a swap form that stay 0. A and D are not among them: old hardware may set them.
const neverSet = x86.PagePresent | x86.PagePCD | x86.PagePSE | x86.PageProtnone

// Check reports why no kernel of this layout writes raw into a table of level: nil, or an [*EntryError] around all
// reasons, each an [ErrKind], [ErrReserved], [ErrOffset], [ErrFlag] or [ErrMarker]. Of a PROT_NONE page, and of a large one
// that is being changed, it looks at the frame alone. What has P, and none, is not its business and gives nil.
func (l *Layout) Check(level x86.Level, raw uint64) error {
	e := l.Decode(level, raw)
	if err := l.check(&e, raw); err != nil {
		return &EntryError{Level: level, Raw: raw, Err: err}
	}
	return nil
}

func (l *Layout) check(e *Entry, raw uint64) error {
	switch e.Kind {
	case KindNone:
		return nil
	case KindPresent:
		return l.checkPage(e, raw)
	case KindUnknown:
		return fmt.Errorf("%w: a non-present %s holds nothing", ErrKind, e.Level)
	}
	return errors.Join(l.checkLevel(e), checkFlags(e, raw), l.checkOffset(e))
}

// checkLevel knows two users of levels above the PTE: huge pages of a PMD, which can only migrate or lie in device
// memory, and hugetlbfs, whose pages migrate, fail, and have markers (not guards) in their place.
func (l *Layout) checkLevel(e *Entry) error {
	if e.Level == x86.LevelPTE {
		return nil
	}
	switch e.Kind {
	case KindMigration, KindHWPoison:
		return nil
	case KindMarker:
		if e.Marker&MarkerGuard == 0 {
			return nil
		}
	case KindDevicePrivate:
		if e.Level == x86.LevelPMD && l.softleaf {
			return nil
		}
	}
	return fmt.Errorf("%w: %s in a %s", ErrKind, e.Kind, e.Level)
}

func checkFlags(e *Entry, raw uint64) error {
	reserved := uint64(neverSet)
	if e.Level != x86.LevelPTE {
		reserved |= x86.PageSwpExclusive
	}
	var errs []error
	if bad := raw & reserved; bad != 0 {
		errs = append(errs, fmt.Errorf("%w: %#x", ErrReserved, bad))
	}
	if e.Exclusive && e.Kind != KindSwap {
		errs = append(errs, fmt.Errorf("%w: exclusive on %s", ErrFlag, e.Kind))
	}
	if e.UffdWP && e.Marker&MarkerUffdWP != 0 { // beside other markers PAGEMAP_SCAN sets it
		errs = append(errs, fmt.Errorf("%w: uffd-wp beside a marker", ErrFlag))
	}
	return errors.Join(errs...)
}

// checkPage looks at the frame of a page without P, which is stored inverted.
func (l *Layout) checkPage(e *Entry, raw uint64) error {
	if raw&x86.PagePresent != 0 || e.Level > x86.LevelPUD {
		return nil
	}
	frame := l.abi.FrameMask(e.Level)
	return l.checkWidth(x86.Phys(^raw&frame).PFN(), raw&frame == 0)
}

// checkWidth reports a frame that no machine of this kind has. Of all widths, noBits says that no bit of an inverted frame or
// offset is stored, as a bit that flips in an empty entry leaves it: what stands there is never that large.
func (l *Layout) checkWidth(f x86.PFN, noBits bool) error {
	width := l.abi.Paging().PhysBits
	if noBits || uint64(f.Phys())>>width != 0 {
		return fmt.Errorf("%w: frame %#x of %d address bits", ErrOffset, uint64(f), width)
	}
	return nil
}

func (l *Layout) checkOffset(e *Entry) error {
	switch e.Kind {
	case KindSwap:
		switch {
		case e.Offset == 0:
			return fmt.Errorf("%w: slot 0 is the swap header", ErrOffset)
		case e.Offset >= l.maxSlots:
			return fmt.Errorf("%w: slot %#x of %#x", ErrOffset, e.Offset, l.maxSlots)
		case e.Offset == genericMaxSize-1:
			return fmt.Errorf("%w: slot %#x is stored as no bit at all", ErrOffset, e.Offset)
		}
	case KindMarker:
		switch unknown := e.Offset &^ uint64(l.markers); {
		case unknown != 0:
			return fmt.Errorf("%w: unknown bits %#x", ErrMarker, unknown)
		case e.Marker == 0:
			return fmt.Errorf("%w: empty", ErrMarker)
		}
	default:
		return l.checkFrame(e)
	}
	return nil
}

func (l *Layout) checkFrame(e *Entry) error {
	above := e.Offset &^ l.pfnMask()
	if e.Young {
		above &^= l.young
	}
	if e.Dirty {
		above &^= l.dirty
	}
	if above != 0 {
		return fmt.Errorf("%w: bits %#x above the frame number", ErrOffset, above)
	}
	if err := l.checkWidth(x86.PFN(e.Offset&l.pfnMask()), false); err != nil {
		return err
	}
	if e.Kind != KindHWPoison && uint64(e.PFN)%(e.Level.Size()/x86.PageSize) != 0 {
		return fmt.Errorf("%w: frame %#x does not begin a huge page", ErrOffset, uint64(e.PFN))
	}
	return nil
}
