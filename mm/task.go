package mm

import "fmt"

// Point is a place where an operation can be stopped while other CPUs run. No page-table lock is held there.
type Point uint8

// The points. Each comment says where it is, and what is done and not done there.
const (
	PointNone Point = iota
	// PointFault: the processor has raised a page fault; nothing is locked or looked up.
	PointFault
	// PointWalked: the processor has walked the tables for an access; A and D are not set, nothing is cached.
	PointWalked
	// PointCopied: a write fault has copied the page; the table is not locked, the new entry not stored.
	PointCopied
	// PointFlush: entries have changed and their table is unlocked; processors have not been told.
	PointFlush
	// PointResolveCopy: the drafts of 2019 only: change_pte_range has dropped the lock to copy a page.
	PointResolveCopy
	// PointResolveCopied: the drafts of 2019 only: the copy is mapped, and still write-protected.
	PointResolveCopied
	// PointResolveCleared: the draft of 2019 only: change_pte_range has emptied an entry without holding the lock.
	PointResolveCleared
	// PointMigrating: all mappings of a page are migration entries; its contents are not copied.
	PointMigrating
	// PointMigrated: the contents are copied; migration entries are still in place.
	PointMigrated
	// PointUnmapped: reclaim has replaced all mappings of a page; processors have not been told, nothing is written.
	PointUnmapped
	// PointMkWrite: the file system has been asked about a write to a shared page; the entry is not stored.
	PointMkWrite
	// PointGUP: GUP-fast has read an entry, and not taken the reference.
	PointGUP
	// PointUffdCopied: UFFDIO_COPY has filled a page; the entry is not stored.
	PointUffdCopied
	pointEnd
)

var pointNames = [pointEnd]string{
	PointNone: "none", PointFault: "fault", PointWalked: "walked", PointCopied: "copied", PointFlush: "flush",
	PointResolveCopy: "resolve-copy", PointResolveCopied: "resolve-copied", PointResolveCleared: "resolve-cleared", PointMigrating: "migrating", PointMigrated: "migrated",
	PointUnmapped: "unmapped", PointMkWrite: "mkwrite", PointGUP: "gup", PointUffdCopied: "uffd-copied",
}

func (p Point) String() string {
	if p < pointEnd {
		return pointNames[p]
	}
	return fmt.Sprintf("point %d", uint8(p))
}

// Points returns all points but PointNone.
func Points() (all []Point) {
	for p := PointFault; p < pointEnd; p++ {
		all = append(all, p)
	}
	return all
}

// PointNamed returns the point called name.
func PointNamed(name string) (Point, error) {
	for p := PointFault; p < pointEnd; p++ {
		if p.String() == name {
			return p, nil
		}
	}
	return PointNone, fmt.Errorf("mm: no point %q", name)
}

// Task is an operation under way on one CPU, that can be stopped. Between its steps others run.
type Task struct {
	m      *Machine
	cpu    *CPU
	run    func()
	stop   Point // where to stop; PointNone: nowhere
	at     Point // where it stands
	began  bool
	done   bool
	dead   bool
	resume chan struct{}
	paused chan struct{}
	failed any // a panic of the operation
}

// Go makes a task of op, which uses CPU c and no other. Nothing runs before the first call of RunTo or Finish.
func (m *Machine) Go(c *CPU, op func()) *Task {
	t := &Task{m: m, cpu: c, run: op, resume: make(chan struct{}), paused: make(chan struct{})}
	m.tasks = append(m.tasks, t)
	return t
}

// RunTo goes on until the operation comes to p, and reports whether it did; else it has ended.
func (t *Task) RunTo(p Point) bool {
	t.stop = p
	t.step()
	return !t.done
}

// Finish goes on to the end of the operation.
func (t *Task) Finish() {
	for !t.done {
		t.RunTo(PointNone)
	}
}

// Done reports that the operation has ended.
func (t *Task) Done() bool { return t.done }

// At returns the point at which the task stands, PointNone before it began and after it ended.
func (t *Task) At() Point { return t.at }

// step hands the machine over to the task until it stops or ends.
func (t *Task) step() {
	if t.done {
		return
	}
	outer := t.m.now
	t.m.now = t
	if !t.began {
		t.began = true
		go t.body()
	} else {
		t.resume <- struct{}{}
	}
	<-t.paused
	t.m.now = outer
	if t.failed != nil {
		panic(t.failed)
	}
}

type abandoned struct{}

func (t *Task) body() {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(abandoned); !ok {
				t.failed = r
			}
		}
		t.done, t.at = true, PointNone
		t.m.ended(t)
		t.paused <- struct{}{}
	}()
	t.run()
}

func (m *Machine) ended(t *Task) {
	for i, o := range m.tasks {
		if o == t {
			m.tasks = append(m.tasks[:i], m.tasks[i+1:]...)
			return
		}
	}
}

// abandon ends a task in the middle; the machine is not used afterwards.
func (t *Task) abandon() {
	if t.began && !t.done {
		t.dead = true
		t.resume <- struct{}{}
		<-t.paused
	}
}

// point marks a place in an operation of CPU c.
func (c *CPU) point(p Point) {
	if c.m.watch != nil {
		c.m.event(Event{Kind: EventPoint, CPU: c.id, Point: p})
	}
	t := c.m.now
	if t == nil || t.stop != p || t.cpu != c {
		return
	}
	t.at = p
	t.paused <- struct{}{}
	<-t.resume
	t.at = PointNone
	if t.dead {
		panic(abandoned{})
	}
}

// waitFor lets other tasks go on until ready, and reports whether it came to that. The task that runs waits meanwhile.
func (m *Machine) waitFor(ready func() bool) bool {
	for !ready() {
		var next *Task
		for _, t := range m.tasks {
			if t != m.now && t.began && !t.waiting() {
				next = t
				break
			}
		}
		if next == nil {
			return false
		}
		next.RunTo(PointNone)
	}
	return true
}

// waiting reports that the task itself waits for the one that runs now.
func (t *Task) waiting() bool { return t.at == PointNone }
