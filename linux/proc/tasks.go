package proc

import (
	"cmp"
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// maxPID is the highest number that a task can have.
//
// Linux: include/linux/threads.h:PID_MAX_LIMIT
const maxPID = 1 << 22

// Bounds of the search, over all processes.
const (
	maxTasks    = 1 << 22
	maxAreas    = 1 << 21
	maxNodes    = 1 << 21 // of maple trees
	maxComm     = 64
	maxAnonName = 256
	maxWarnings = 64
	maxParents  = 1 << 12
)

// role is what a task was found to be.
type role uint8

const (
	leader role = iota + 1
	thread
)

// taskHead reads what tells a task from other memory.
func (f *finder) taskHead(task x86.Virt) (pid, tgid int, err error) {
	o, s := f.at(task), &f.shapes.task
	pid, tgid = int(int32(o.num(s.pid))), int(int32(o.num(s.tgid)))
	if o.err == nil && (pid < 0 || pid > maxPID || tgid < 0 || tgid > maxPID) {
		return pid, tgid, fmt.Errorf("task_struct at %v: PID %d, TGID %d", task, pid, tgid)
	}
	return pid, tgid, o.err
}

// ring is a circular list, threaded through members of structures.
type ring struct {
	head x86.Virt // a list_head: of the list itself, or of any element
	next member   // the pointer, in a list_head
	off  uint64   // of the list_head in the structure
}

// around visits the structures of a ring, beginning behind its head, until visit returns an error or the ring is closed.
// It returns how many it visited.
func (f *finder) around(r ring, visit func(x86.Virt) error) (int, error) {
	seen := map[x86.Virt]bool{}
	node := r.head
	for n := 0; ; n++ {
		next := f.at(node).ptr(r.next)
		switch {
		case next == r.head:
			return n, nil
		case next == 0:
			_, err := f.mem.Uint64(node + x86.Virt(r.next.off))
			if err == nil {
				err = fmt.Errorf("the list element at %v has no next", node)
			}
			return n, err
		case seen[next]:
			return n, fmt.Errorf("the list runs into the element at %v again", next)
		case n >= maxTasks:
			return n, fmt.Errorf("the list has more than %d elements", maxTasks)
		case n%1024 == 0 && f.ctx.Err() != nil:
			return n, f.ctx.Err()
		}
		seen[next] = true
		if err := visit(next - x86.Virt(r.off)); err != nil {
			return n, err
		}
		node = next
	}
}

// next and prev are the pointers in a list_head.
var (
	listNext = member{0, 8}
	listPrev = member{8, 8}
)

// tasks follows the list of processes from init_task's element, and back from it if it cannot be followed to its end.
func (f *finder) tasks(initTask x86.Virt) error {
	off := f.shapes.task.tasks.off
	r := ring{head: initTask + x86.Virt(off), next: listNext, off: off}
	_, err := f.around(r, f.addProcess)
	if f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	if err != nil {
		f.warn("the list of processes: %v; what comes after is read backwards", err)
		r.next = listPrev
		if _, err := f.around(r, f.addProcess); err != nil && err != errKnown {
			f.warn("the list of processes, backwards: %v; those between are missing", err)
			f.lost = true
		}
	}
	if f.lost {
		f.addRoots()
	}
	slices.SortFunc(f.out.List, func(a, b *Process) int { return cmp.Compare(a.PID, b.PID) })
	return f.ctx.Err()
}

// errKnown ends the way back where the way forth ended.
var errKnown = fmt.Errorf("met what is known")

// addProcess reads the process whose leader is at task.
func (f *finder) addProcess(task x86.Virt) error {
	if f.byTask[task] == leader {
		return errKnown
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	pid, tgid, err := f.taskHead(task)
	if err != nil {
		return err
	}
	if pid == 0 {
		return nil // an idle task
	}
	f.byTask[task] = leader
	if pid != tgid {
		f.warn("task_struct at %v: PID %d is in the list of processes, its TGID is %d", task, pid, tgid)
	}
	if f.pids[pid] {
		f.warn("task_struct at %v: PID %d is already that of another process", task, pid)
		return nil
	}
	f.pids[pid] = true
	p, err := f.readProcess(task)
	if err != nil {
		f.warn("task_struct at %v: %v", task, err)
	}
	p.PID, p.TGID = pid, tgid
	f.out.List = append(f.out.List, p)
	f.progress()
	return nil
}

// readProcess reads all of a process but its numbers. With an error it holds what could be read.
func (f *finder) readProcess(task x86.Virt) (*Process, error) {
	o, s := f.at(task), &f.shapes.task
	flags := o.num(s.flags)
	p := &Process{Task: task, Comm: o.text(s.comm), Kernel: flags&pfKthread != 0}
	if p.Kernel {
		p.Comm = f.kthreadName(o, p.Comm, flags&pfWorker != 0)
	}
	if parent := o.ptr(s.parent); parent != 0 {
		_, tgid, err := f.taskHead(parent)
		if err != nil {
			f.warn("the parent of the task_struct at %v: %v", task, err)
		}
		p.PPID = tgid
	}
	mm := o.ptr(s.mm)
	others := f.threads(task, p)
	for i := 0; mm == 0 && !p.Kernel && i < len(others); i++ {
		mm = f.at(others[i]).ptr(s.mm) // the leader has ended before the others
	}
	if !p.Kernel {
		p.MM = f.mmAt(mm)
	}
	return p, o.err
}

// threads reads the other threads of a process, and returns their addresses.
//
// Linux: include/linux/sched/signal.h:for_each_thread(); before 6.7 also thread_group
func (f *finder) threads(first x86.Virt, p *Process) []x86.Virt {
	s := &f.shapes.task
	o := f.at(first)
	group := o.num(s.tgid)
	var r ring
	switch signal := o.ptr(s.signal); {
	case s.threadNode.has() && f.shapes.threadHead.has() && signal != 0:
		r = ring{signal + x86.Virt(f.shapes.threadHead.off), listNext, s.threadNode.off}
	case s.threadGroup.has():
		r = ring{first + x86.Virt(s.threadGroup.off), listNext, s.threadGroup.off}
	default:
		return nil
	}
	var found []x86.Virt
	_, err := f.around(r, func(task x86.Virt) error {
		pid, tgid, err := f.taskHead(task)
		switch {
		case err != nil:
			return err
		case task == first:
			return nil
		case uint64(tgid) != group:
			return fmt.Errorf("the task_struct at %v has TGID %d", task, tgid)
		case f.byTask[task] != 0:
			return fmt.Errorf("the task_struct at %v is in another list too", task)
		case len(f.byTask) >= maxTasks:
			return fmt.Errorf("more than %d tasks", maxTasks)
		}
		f.byTask[task] = thread
		found = append(found, task)
		p.Threads = append(p.Threads, Thread{Task: task, PID: pid, Comm: f.at(task).text(s.comm)})
		return nil
	})
	if err != nil {
		f.warn("the threads of the task_struct at %v: %v", first, err)
	}
	slices.SortFunc(p.Threads, func(a, b Thread) int { return cmp.Compare(a.PID, b.PID) })
	return found
}
