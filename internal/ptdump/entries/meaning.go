package entries

import (
	"fmt"
	"strconv"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

// AppendTarget appends what the entry points to: a frame, a swap slot, the state of a migrating page.
func AppendTarget(dst []byte, l *tree.Leaf) []byte { return AppendTargets(dst, l, "") }

// AppendTargets appends what neighbouring entries point to, of which l is the first; more stands behind its frame or slot.
func AppendTargets(dst []byte, l *tree.Leaf, more string) []byte {
	switch l.Kind {
	case tree.KindMarker:
		if l.Swap.Marker == 0 {
			return append(dst, "empty"...)
		}
		return append(dst, l.Swap.Marker.String()...)
	case tree.KindSwap:
		dst = append(dst, "device "...)
		dst = strconv.AppendUint(dst, uint64(l.Swap.Type), 10)
		dst = append(dst, " slot 0x"...)
		return append(strconv.AppendUint(dst, l.SwapOffset(), 16), more...)
	}
	if l.HasPFN {
		dst = append(dst, "pfn 0x"...)
		dst = append(strconv.AppendUint(dst, uint64(l.PFN), 16), more...)
	}
	switch {
	case l.Invalidated():
		dst = append(dst, ", being changed"...)
	case l.NotPresent():
		dst = append(dst, ", not present"...)
	}
	switch l.Kind {
	case tree.KindMigration:
		dst = append(dst, ' ')
		dst = append(dst, l.Swap.Access.String()...)
		if l.Swap.Young {
			dst = append(dst, " young"...)
		}
		if l.Swap.Dirty {
			dst = append(dst, " dirty"...)
		}
	case tree.KindDevicePrivate, tree.KindDeviceExclusive:
		if l.Swap.Write {
			dst = append(dst, " write"...)
		} else {
			dst = append(dst, " read"...)
		}
	}
	return dst
}

// Meaning says what an entry in leaf position is, in words.
func Meaning(l *tree.Leaf) string {
	size := string(report.AppendSize(nil, l.Level.Size()))
	switch {
	case l.Kind == tree.KindPresent && l.Invalidated():
		return fmt.Sprintf("%s page at %v, being changed by the kernel", size, l.PFN.Phys())
	case l.Kind == tree.KindPresent:
		return fmt.Sprintf("%s page at %v", size, l.PFN.Phys())
	case l.NotPresent():
		return fmt.Sprintf("%s page at %v, not present", size, l.PFN.Phys())
	case l.Kind == tree.KindProtnone:
		return fmt.Sprintf("%s page at %v, PROT_NONE", size, l.PFN.Phys())
	case l.Kind == tree.KindUnknown:
		return "neither empty nor present"
	}
	return fmt.Sprintf("%s: %s", l.Kind, AppendTarget(nil, l))
}
