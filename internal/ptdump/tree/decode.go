package tree

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Decoder turns entries in leaf position into Leaves, for one kernel on one machine.
type Decoder struct {
	ABI    *x86.ABI
	Layout *swapentry.Layout
}

// Leaf decodes slot i of t into l, which it overwrites whole. The slot must not be empty.
func (d *Decoder) Leaf(l *Leaf, t *pgtable.Table, i int) {
	*l = Leaf{VA: t.Addr(i), Level: t.Level, Raw: t.Entries[i], Table: t.PFN.Phys(), Index: i}
	d.Decode(l, t.Access)
}

// Decode fills in what follows from VA, Level and Raw, and from what the levels above permit.
//
// With P set the processor decides. Without, Linux does: PROT_NONE and, in a large page, PSE alone still name a
// page; everything else is, in the user half, what package swapentry says. In the kernel half it is a page that
// set_memory_np() and the like took out of the kernel's own mapping, a large one also without PSE: [KindUnknown].
//
// Linux: arch/x86/mm/pat/set_memory.c:__change_page_attr()
func (d *Decoder) Decode(l *Leaf, above pgtable.Access) {
	if l.Raw&x86.PagePresent != 0 {
		l.Kind, l.PFN, l.HasPFN = KindPresent, d.pfn(l), true
		if d.ABI.ReservedBits(l.Level, l.Raw) == 0 {
			a := above.And(l.Raw)
			l.Rights = Rights{R: true, W: a.W, X: a.X, U: a.U}
		}
		return
	}
	e := d.Layout.Decode(l.Level, l.Raw)
	l.Invalid = !l.InKernelHalf() && d.Layout.Check(l.Level, l.Raw) != nil
	switch {
	case e.Kind == swapentry.KindPresent && l.Raw&x86.PageProtnone != 0:
		l.Kind = KindProtnone
	case e.Kind == swapentry.KindPresent:
		l.Kind = KindPresent
	case l.InKernelHalf():
		l.Kind = KindUnknown
	default:
		l.Kind, l.Swap = kindOf(e.Kind), e
		l.PFN, l.HasPFN = e.PFN, e.Kind.HasPFN()
		if e.Kind == swapentry.KindSwapinError { // its offset is the frame of the page that could not be read
			l.PFN, l.HasPFN = swapentry.MkSwp(e.Type, e.Offset).PFN(d.Layout), true
		}
		return
	}
	l.PFN, l.HasPFN = d.pfn(l), true
}

// pfn returns the frame of an entry that names its page by its frame bits. What is not present holds them inverted.
func (d *Decoder) pfn(l *Leaf) x86.PFN {
	switch l.Level {
	case x86.LevelPMD:
		return x86.PMD(l.Raw).PFN(d.ABI)
	case x86.LevelPUD:
		return x86.PUD(l.Raw).PFN(d.ABI)
	}
	return x86.PTE(l.Raw).PFN(d.ABI)
}

func kindOf(k swapentry.Kind) Kind {
	switch k {
	case swapentry.KindSwap:
		return KindSwap
	case swapentry.KindMigration:
		return KindMigration
	case swapentry.KindDevicePrivate:
		return KindDevicePrivate
	case swapentry.KindDeviceExclusive:
		return KindDeviceExclusive
	case swapentry.KindHWPoison:
		return KindHWPoison
	case swapentry.KindMarker:
		return KindMarker
	case swapentry.KindSwapinError:
		return KindSwapinError
	}
	return KindUnknown
}
