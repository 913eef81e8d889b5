package session

import (
	"ptemu/capture"
	"ptemu/internal/ptdump/space"
)

// RootNames are the trees that the flag --root chooses from, the default first.
var RootNames = []string{"cr3", "swapper", "pti-kernel", "pti-user"}

// Options are the flags that say how to read the capture, checked.
type Options struct {
	Capture       capture.Options
	CR3           *uint64       // nil: what the capture says
	Process       *space.Name   // whose tables; nil: those that Root says
	Find          ProcessFinder // nil: that of package proc
	CPU           int           // -1: any
	Levels        int           // 0: any
	Root          string        // of RootNames
	Kernel        string        // a release; "": what the capture says
	DevicePrivate *bool         // nil: auto
	PhysBits      uint8         // 0: any
	L1TF          uint8         // address bits of the cache; 0: not affected
	EncMask       *uint64       // nil: what the capture says
}
