package proc

// Flags of tasks, and the bounds of kernel threads' names.
//
// Linux: include/linux/sched.h:PF_WQ_WORKER, PF_KTHREAD
const (
	pfWorker      = 0x00000020
	pfKthread     = 0x00200000
	maxKthread    = 64 // what /proc prints of a name
	maxWorkerDesc = 32
)

// kthreadShape is where members of kernel threads lie. All may be missing.
type kthreadShape struct {
	private              member // task_struct
	fullName, data       member // kthread
	pool, desc, workItem member // worker
}

func (s *kthreadShape) wants() []want {
	m := func(to *member, typ string, names ...string) want { return want{to, typ, names, true} }
	return []want{
		m(&s.private, "task_struct", "worker_private", "set_child_tid"), // the latter before 5.17
		m(&s.fullName, "kthread", "full_name"),
		m(&s.data, "kthread", "data"),
		m(&s.pool, "worker", "pool"),
		m(&s.desc, "worker", "desc"),
		m(&s.workItem, "worker", "current_work"),
	}
}

// kthreadName returns the name of a kernel thread as /proc prints it: it may be longer than comm has room for, and that of a
// worker of a workqueue ends with what it does (behind a plus sign) or did last (behind a minus sign).
//
// Linux: fs/proc/array.c:proc_task_name(); kernel/kthread.c:get_kthread_comm(); kernel/workqueue.c:wq_worker_comm()
func (f *finder) kthreadName(task *object, comm string, worker bool) string {
	s := &f.shapes.kthread
	private := task.ptr(s.private)
	if private == 0 {
		return comm
	}
	k := f.at(private)
	name := comm
	if full := k.ptr(s.fullName); full != 0 && (!worker || f.longWorkers) {
		if text, err := f.mem.CString(full, maxKthread-1); err == nil && text != "" {
			name = text
		}
	}
	data := k.ptr(s.data)
	if !worker || data == 0 {
		return name
	}
	w := f.at(data)
	if w.ptr(s.pool) == 0 || !s.desc.has() {
		return name
	}
	desc := w.text(member{s.desc.off, min(s.desc.size, maxWorkerDesc)})
	busy := w.num(s.workItem) != 0
	switch {
	case w.err != nil || desc == "":
	case busy:
		name += "+" + desc
	default:
		name += "-" + desc
	}
	return name[:min(len(name), maxKthread-1)]
}
