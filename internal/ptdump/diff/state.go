package diff

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/where"
)

// change is a set of the ways in which an entry differs between two captures.
type change uint64

// The ways, in the order in which they are named. An entry usually has several.
const (
	changeMapped change = 1 << iota
	changeUnmapped
	changeMoved
	changeSplit
	changeCollapsed
	changeSwappedOut
	changeSwappedIn
	changeSwapMoved
	changeMigrationBegun
	changeMigrationEnded
	changeMarked
	changeUnmarked
	changePoisoned
	changeOtherKind
	changeWritable
	changeWriteProtected
	changeExecutable
	changeNoExec
	changeUser
	changeNoUser
	changeProtnone
	changeAccessible
	changeTakenOut
	changePutBack
	changeUffdWP
	changeNoUffdWP
	changeSoftDirty
	changeNoSoftDirty
	changeDirty
	changeClean
	changeYoung
	changeOld
	changePkey
	changeBits
	changeProcess
)

// changeCount is how many ways there are.
const changeCount = 35

// changeNames are what the ways are called, from bit 0 on, and what they mean.
var changeNames = []struct{ name, text string }{
	{"mapped", "there was nothing, and now there is a page"},
	{"unmapped", "there was something, and now there is nothing"},
	{"moved", "another frame"},
	{"split", "a huge page became a table of smaller ones"},
	{"collapsed", "a table became a huge page"},
	{"swapped-out", "a page became a swap entry"},
	{"swapped-in", "a swap entry became a page"},
	{"swap-moved", "another swap slot"},
	{"migration-begun", "a migration entry took a page's place"},
	{"migration-ended", "a page took a migration entry's place"},
	{"marked", "a marker appeared, or its meaning changed"},
	{"unmarked", "a marker went"},
	{"poisoned", "a page became a poison entry"},
	{"other-kind", "another change of kind"},
	{"became-writable", "the processor lets it be written now (effective)"},
	{"write-protected", "the processor let it be written (effective)"},
	{"became-executable", "it can be executed now (effective)"},
	{"lost-execute", "it could be executed (effective)"},
	{"became-user", "user mode can reach it now (effective)"},
	{"lost-user", "user mode could reach it (effective)"},
	{"protnone", "PROT_NONE or a NUMA hint was set"},
	{"accessible", "PROT_NONE or a NUMA hint was taken away"},
	{"taken-out", "the kernel took a page out of its own mapping: it is not present"},
	{"put-back", "the kernel put a page back into its own mapping"},
	{"uffd-wp", "userfaultfd write-protection was set"},
	{"no-uffd-wp", "userfaultfd write-protection was cleared"},
	{"soft-dirty", "it was written since soft-dirty bits were cleared, or is new"},
	{"no-soft-dirty", "the soft-dirty bit was cleared"},
	{"dirtied", "the dirty bit was set (hardware's or the saved one)"},
	{"cleaned", "the dirty bit was cleared"},
	{"accessed", "the accessed bit was set"},
	{"aged", "the accessed bit was cleared"},
	{"pkey", "another protection key"},
	{"bits", "other bits"},
	{"process", "a process is new, has exited or is gone; of no entry"},
}

// names returns what is in the set.
func (c change) names() []string {
	var names []string
	for i, n := range changeNames {
		if c>>i&1 != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// changeNamed returns the way with a name.
func changeNamed(name string) (change, bool) {
	for i, n := range changeNames {
		if n.name == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// differ compares the entries of one address.
type differ struct {
	uffdWP, softDirty, dirty, accessed [2]func(*tree.Leaf) bool // of the two captures
	// ignore are changes that do not count.
	ignore change
}

func newDiffer(before, after *x86.ABI, ignore change) *differ {
	d := &differ{ignore: ignore}
	for i, abi := range []*x86.ABI{before, after} {
		d.uffdWP[i] = where.Test(abi, "uffd-wp")
		d.softDirty[i] = where.Test(abi, "soft-dirty")
		d.dirty[i] = where.Test(abi, "dirty")
		d.accessed[i] = where.Test(abi, "accessed")
	}
	return d
}

// compare says how an entry changed. A nil Leaf is an empty entry; not both may be. The two have the same size.
func (d *differ) compare(a, b *tree.Leaf) change {
	var c change
	switch {
	case a == nil:
		c = appeared(b)
		if d.uffdWP[1](b) {
			c |= changeUffdWP
		}
		return c &^ d.ignore
	case b == nil:
		return changeUnmapped &^ d.ignore
	case a.Raw == b.Raw && a.Rights == b.Rights && a.Level == b.Level:
		return 0
	}
	c = kindChange(a, b) | rightsChange(a, b)
	for _, f := range []struct {
		is         [2]func(*tree.Leaf) bool
		set, unset change
	}{
		{d.uffdWP, changeUffdWP, changeNoUffdWP},
		{d.softDirty, changeSoftDirty, changeNoSoftDirty},
	} {
		c |= turned(f.is[0](a), f.is[1](b), f.set, f.unset)
	}
	if a.IsPage() && b.IsPage() {
		c |= turned(d.accessed[0](a), d.accessed[1](b), changeYoung, changeOld)
		c |= turned(d.dirty[0](a), d.dirty[1](b), changeDirty, changeClean)
		if a.Pkey() != b.Pkey() {
			c |= changePkey
		}
	}
	if c == 0 && a.Level == b.Level {
		c = changeBits
	}
	return c &^ d.ignore
}

func turned(before, after bool, set, unset change) change {
	switch {
	case after && !before:
		return set
	case before && !after:
		return unset
	}
	return 0
}

// appeared says what an entry is that was empty.
func appeared(l *tree.Leaf) change {
	switch l.Kind {
	case tree.KindPresent, tree.KindProtnone:
		return changeMapped
	case tree.KindUnknown:
		return changeTakenOut
	case tree.KindMarker:
		return changeMarked
	}
	return changeOtherKind
}

// kindChange says what became of the page.
func kindChange(a, b *tree.Leaf) change {
	switch {
	case a.IsPage() && b.IsPage():
		c := turned(a.Kind == tree.KindProtnone, b.Kind == tree.KindProtnone, changeProtnone, changeAccessible) |
			turned(a.Kind == tree.KindUnknown, b.Kind == tree.KindUnknown, changeTakenOut, changePutBack)
		if a.PFN != b.PFN {
			c |= changeMoved
		}
		return c
	case a.Kind == b.Kind:
		return sameKind(a, b)
	}
	switch b.Kind {
	case tree.KindSwap:
		return changeSwappedOut
	case tree.KindMigration:
		return changeMigrationBegun
	case tree.KindMarker:
		return changeMarked
	case tree.KindHWPoison:
		return changePoisoned
	}
	switch {
	case !b.IsPage():
		return changeOtherKind
	case a.Kind == tree.KindSwap:
		return changeSwappedIn
	case a.Kind == tree.KindMigration:
		return changeMigrationEnded
	case a.Kind == tree.KindMarker:
		return changeUnmarked | changeMapped
	}
	return changeOtherKind
}

// sameKind compares two entries of one kind that is no page's.
func sameKind(a, b *tree.Leaf) change {
	switch {
	case a.Kind == tree.KindMarker && a.Swap.Marker != b.Swap.Marker:
		return changeMarked
	case a.Kind == tree.KindSwap && (a.Swap.Type != b.Swap.Type || a.Swap.Offset != b.Swap.Offset):
		return changeSwapMoved
	case a.HasPFN && a.PFN != b.PFN:
		return changeMoved
	}
	return 0
}

// rightsChange compares what the processor permits. Pages that came or went say so already.
func rightsChange(a, b *tree.Leaf) change {
	if !a.Rights.R || !b.Rights.R {
		return 0
	}
	return turned(a.Rights.W, b.Rights.W, changeWritable, changeWriteProtected) |
		turned(a.Rights.X, b.Rights.X, changeExecutable, changeNoExec) |
		turned(a.Rights.U, b.Rights.U, changeUser, changeNoUser)
}
