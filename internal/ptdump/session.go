package ptdump

import (
	"context"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/linux"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// Session is one tree of page tables with everything that decides how its entries are read. The fields do not
// change during a walk; several walks of one session may run at a time.
type Session struct {
	Mem    physmem.Reader
	ABI    *x86.ABI
	Layout *swapentry.Layout // made from ABI
	Root   x86.Phys          // of the root table

	// Capture and System are where the rest came from; a session made by hand has none.
	Capture *capture.Capture
	System  *linux.System
}

// SessionOptions say how to open a session.
type SessionOptions struct {
	Capture capture.Options
	// CPU chooses the processor whose tables are read, -1 the first that has any.
	CPU int
	// Root chooses the tree: "" for what CR3 points to, or another value of the flag --root.
	Root string
}

// Open opens a capture, finds out what kernel is in it, and chooses a root. The session must be closed.
func Open(path string, opt SessionOptions) (*Session, error) {
	o, err := openSession(context.Background(), path, &machine{open: opt.Capture, cpu: opt.CPU, root: opt.Root})
	if err != nil {
		return nil, err
	}
	s := o.Session
	s.Capture, s.System = o.Capture, o.System
	return s, nil
}

// Close closes the capture.
func (s *Session) Close() error {
	if s.Capture == nil {
		return nil
	}
	return s.Capture.Close()
}
