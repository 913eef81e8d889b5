package mmu

import (
	"strings"

	"ptemu/arch/x86"
)

// Rights is what all levels of a walk together permit, before CR0, CR4 and the protection keys have their say.
type Rights struct {
	R bool // there is a translation
	W bool // R/W is set in every entry
	X bool // XD is clear in every entry
	U bool // U/S is set in every entry: a user address
	// Shadow: R/W is clear and D is set in the leaf, and R/W is set in every entry above: a shadow-stack
	// address, to a processor with CR4.CET.
	Shadow bool
}

// Rights returns the effective rights; none unless the walk is Mapped.
//
// Intel SDM, "Determination of Access Rights"
func (w *Walk) Rights() Rights {
	if w.Outcome != Mapped {
		return Rights{}
	}
	leaf := w.Last().Entry
	return Rights{
		R:      true,
		W:      w.upper&leaf&x86.PageRW != 0,
		X:      w.any&x86.PageNX == 0,
		U:      w.upper&leaf&x86.PageUser != 0,
		Shadow: w.upper&x86.PageRW != 0 && leaf&(x86.PageRW|x86.PageDirty) == x86.PageDirty,
	}
}

// Why is the set of rules that refuse an access.
type Why uint16

// The rules, in the order of their names in a message.
const (
	WhyNonCanonical Why = 1 << iota // the address is not canonical
	WhyNotPresent                   // an entry has P clear
	WhyReserved                     // an entry has a reserved bit set
	WhySupervisor                   // user-mode access to a supervisor address
	WhyReadOnly                     // write to an address that is not writable
	WhyNX                           // fetch from an address that is not executable
	WhySMEP                         // supervisor-mode fetch from a user address
	WhySMAP                         // supervisor-mode data access to a user address
	WhyShadow                       // shadow-stack access to an ordinary address, or supervisor-mode one to a user address
	WhyPKRU                         // the protection key of a user address forbids it
	WhyPKRS                         // the protection key of a supervisor address forbids it
)

var whyNames = [...]string{
	"not canonical", "not present", "reserved bit", "supervisor address", "read-only", "no-execute",
	"SMEP", "SMAP", "shadow stack", "PKRU", "PKRS",
}

// String returns the rules in words, joined by commas: "read-only, PKRU".
func (y Why) String() string {
	var names []string
	for i, name := range whyNames {
		if y&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Refusal returns every rule that refuses access a, 0 if it is permitted, and also 0 if the walk is Unreadable:
// then nobody knows.
func (w *Walk) Refusal(a Access) Why {
	switch w.Outcome {
	case Mapped:
		return w.violations(a)
	case NotPresent:
		return WhyNotPresent
	case Reserved:
		return WhyReserved
	case NonCanonical:
		return WhyNonCanonical
	}
	return 0
}

// violations applies the access rights to a complete translation.
func (w *Walk) violations(a Access) Why {
	var why Why
	refuse := func(broken bool, rule Why) {
		if broken {
			why |= rule
		}
	}
	regs, rights, user := &w.mmu.regs, w.Rights(), a.UserMode()
	wp := regs.CR0&CR0WP != 0
	refuse(user && !rights.U, WhySupervisor)
	switch a.Kind {
	case Fetch:
		refuse(!rights.X, WhyNX)
		refuse(!user && rights.U && regs.CR4&CR4SMEP != 0, WhySMEP)
		return why
	case ShadowRead, ShadowWrite:
		refuse(!rights.Shadow || !user && rights.U, WhyShadow)
	default:
		lifted := regs.RFLAGS&RFLAGSAC != 0 && !a.Implicit
		refuse(!user && rights.U && regs.CR4&CR4SMAP != 0 && !lifted, WhySMAP)
		refuse(a.Kind == Write && !rights.W && (user || wp), WhyReadOnly)
	}
	if rights.U {
		refuse(regs.CR4&CR4PKE != 0 && keyForbids(regs.PKRU, w.PKey(), a.Kind.writes() && (user || wp)), WhyPKRU)
	} else {
		refuse(regs.CR4&CR4PKS != 0 && keyForbids(regs.PKRS, w.PKey(), a.Kind.writes() && wp), WhyPKRS)
	}
	return why
}

// keyForbids applies a rights register to an access under key: AD is bit 2*key, WD the bit above. checkWD says
// that the access is a write that WD governs.
//
// Intel SDM, "Protection Keys"
func keyForbids(register uint32, key uint8, checkWD bool) bool {
	pair := register >> (2 * key)
	return pair&1 != 0 || checkWD && pair&2 != 0
}
