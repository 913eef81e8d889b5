package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// The kinds of events.
const (
	EventFlush EventKind = iota + 1 // processors were told to forget
	EventPoint                      // an operation came to a point
	EventFault                      // a processor took a page fault
	EventGate                       // the gate decided about a write bit
	EventOwed                       // an operation is about to flush: what, says Flush
)

// Event is something that happened inside an operation, for traces.
type Event struct {
	Kind  EventKind
	CPU   int
	VA    x86.Virt
	Tree  *pgtable.Tree
	Flush pgtable.Flush // EventFlush, EventOwed
	Point Point         // EventPoint
	Write bool          // EventFault
	Gate  Decision      // EventGate
}

// Watch has f hear of every event; nil ends it. f must not use the machine.
func (m *Machine) Watch(f func(Event)) { m.watch = f }

func (m *Machine) event(e Event) {
	if m.watch != nil {
		m.watch(e)
	}
}
