package mmu

// Kind is what an access does.
type Kind uint8

// The kinds of access. Shadow-stack accesses exist only with CR4.CET; asked about without it, the answer is the
// one that CET would give.
const (
	Read        Kind = iota
	Write            // also a read-modify-write
	Fetch            // of an instruction
	ShadowRead       // RET, INCSSP, ...
	ShadowWrite      // CALL, WRSS, WRUSS, ...
)

// String returns "read", "write", "fetch", "shadow-stack read" or "shadow-stack write".
func (k Kind) String() string {
	switch k {
	case Read:
		return "read"
	case Write:
		return "write"
	case Fetch:
		return "fetch"
	case ShadowRead:
		return "shadow-stack read"
	case ShadowWrite:
		return "shadow-stack write"
	}
	return "unknown access"
}

func (k Kind) writes() bool { return k == Write || k == ShadowWrite }
func (k Kind) shadow() bool { return k == ShadowRead || k == ShadowWrite }

// Access is one access to a linear address. The zero Access is an explicit supervisor-mode read.
type Access struct {
	Kind Kind
	// User says that the access is made at CPL 3, or by WRUSS.
	User bool
	// Implicit says that the processor makes the access for itself: to a descriptor table or the
	// TSS. It is then a supervisor-mode access, whatever User says.
	Implicit bool
	// Stack says that the access goes through the stack segment: a non-canonical address is #SS, not #GP.
	Stack bool
}

// UserMode reports whether the access is a user-mode access.
func (a Access) UserMode() bool { return a.User && !a.Implicit }

// String returns, for example, "user write" or "implicit supervisor read".
func (a Access) String() string {
	switch {
	case a.Implicit:
		return "implicit supervisor " + a.Kind.String()
	case a.User:
		return "user " + a.Kind.String()
	}
	return "supervisor " + a.Kind.String()
}
