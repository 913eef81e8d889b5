package truth

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Processes reads what the guest said of all processes. A folder whose guest said nothing of processes is an error.
func (f Folder) Processes() (*Processes, error) {
	r := newProcessReader()
	if err := f.Lines("guest.log", r.line); err != nil {
		return nil, err
	}
	if len(r.all.List) == 0 {
		return nil, fmt.Errorf("%s: the guest said nothing of processes", f.Dir)
	}
	return r.all, nil
}

// HasProcesses reports whether the guest of the folder printed its processes.
func (f Folder) HasProcesses() bool {
	found := false
	err := f.Lines("guest.log", func(line string) error {
		if strings.HasPrefix(line, "P ") {
			found = true
			return io.EOF
		}
		return nil
	})
	return found && err != nil
}

// ReadProcesses reads a guest's log that is not in a folder yet.
func ReadProcesses(log io.Reader) (*Processes, error) {
	r := newProcessReader()
	return r.all, eachLine(log, r.line)
}

// processReader takes the lines P, T, U, Q, A, R and F of the guest's log and passes over all others.
type processReader struct {
	all  *Processes
	last *Process
}

func newProcessReader() *processReader {
	return &processReader{all: &Processes{Frames: map[uint64]FrameUse{}}}
}

func (r *processReader) line(line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	var take func(string) error
	switch kind {
	case "P":
		take = r.process
	case "F":
		take = r.frame
	case "T":
		take = r.thread
	case "U":
		take = r.status
	case "Q":
		take = r.filesOf
	case "A":
		take = r.smaps
	case "R":
		take = r.run
	default:
		return nil
	}
	if r.last == nil && kind != "P" && kind != "F" {
		return fmt.Errorf("before any process: %q", line)
	}
	if err := take(rest); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return nil
}

// process takes: pid tgid ppid state kind "comm".
func (r *processReader) process(rest string) error {
	p := &Process{Status: map[string]string{}}
	var state, kind string
	if _, err := fmt.Sscan(rest, &p.PID, &p.TGID, &p.PPID, &state, &kind); err != nil {
		return err
	}
	if len(state) != 1 || kind != "kernel" && kind != "user" {
		return fmt.Errorf("not a process")
	}
	p.State, p.Kernel, p.FilesOf = state[0], kind == "kernel", p.PID
	var err error
	if p.Comm, err = quoted(rest); err != nil {
		return err
	}
	r.last = p
	r.all.List = append(r.all.List, p)
	return nil
}

// quoted returns the quoted string at the end of a line.
func quoted(rest string) (string, error) {
	at := strings.IndexByte(rest, '"')
	if at < 0 {
		return "", fmt.Errorf("no quoted name")
	}
	return strconv.Unquote(rest[at:])
}

// thread takes: tid "comm".
func (r *processReader) thread(rest string) error {
	var t Thread
	if _, err := fmt.Sscan(rest, &t.TID); err != nil {
		return err
	}
	var err error
	if t.Comm, err = quoted(rest); err != nil {
		return err
	}
	r.last.Threads = append(r.last.Threads, t)
	return nil
}

func (r *processReader) status(rest string) error {
	name, value, ok := strings.Cut(rest, ":")
	if !ok {
		return fmt.Errorf("not a line of status")
	}
	r.last.Status[name] = strings.TrimSuffix(strings.TrimSpace(value), " kB")
	return nil
}

func (r *processReader) filesOf(rest string) (err error) {
	r.last.FilesOf, err = strconv.Atoi(rest)
	return err
}

// run takes: va pages word.
func (r *processReader) run(rest string) error {
	var run Run
	if _, err := fmt.Sscanf(rest, "%x %d %x", &run.VA, &run.Pages, &run.Word); err != nil {
		return err
	}
	runs := r.last.Runs
	if n := len(runs); n > 0 && runs[n-1].VA+runs[n-1].Pages*pageSize > run.VA {
		return fmt.Errorf("not ascending")
	}
	r.last.Runs = append(runs, run)
	return nil
}

// frame takes: frame maps flags.
func (r *processReader) frame(rest string) error {
	var frame uint64
	var use FrameUse
	if _, err := fmt.Sscanf(rest, "%x %d %x", &frame, &use.Maps, &use.Flags); err != nil {
		return err
	}
	r.all.Frames[frame] = use
	return nil
}

// smaps takes a line of smaps: the line that maps has too, or one of those under it.
func (r *processReader) smaps(rest string) error {
	name, value, _ := strings.Cut(rest, " ")
	if !strings.HasSuffix(name, ":") {
		area, err := parseMapsLine(rest)
		if err == nil {
			r.last.Areas = append(r.last.Areas, area)
		}
		return err
	}
	if len(r.last.Areas) == 0 {
		return fmt.Errorf("before any area")
	}
	area := &r.last.Areas[len(r.last.Areas)-1]
	fields := strings.Fields(value)
	if name == "VmFlags:" {
		area.Flags = fields
		return nil
	}
	if len(fields) == 0 {
		return fmt.Errorf("no amount")
	}
	amount, err := strconv.ParseUint(fields[0], 10, 64)
	area.KB[strings.TrimSuffix(name, ":")] = amount
	return err
}

// parseMapsLine takes: start-end perms offset major:minor inode path. The path is what follows the inode and the blanks
// that fill the line up.
func parseMapsLine(line string) (Area, error) {
	a := Area{KB: map[string]uint64{}, Line: line}
	var column [5]string
	rest := line
	for i := range column {
		column[i], rest, _ = strings.Cut(rest, " ")
	}
	a.Perms, a.Path = column[1], strings.TrimLeft(rest, " ")
	start, end, ok := strings.Cut(column[0], "-")
	major, minor, ok2 := strings.Cut(column[3], ":")
	if !ok || !ok2 || len(a.Perms) != 4 {
		return a, fmt.Errorf("not a line of maps")
	}
	numbers := []struct {
		text string
		base int
		to   *uint64
	}{{start, 16, &a.Start}, {end, 16, &a.End}, {column[2], 16, &a.Offset}, {column[4], 10, &a.Inode}, {major, 16, &a.Major}, {minor, 16, &a.Minor}}
	for _, n := range numbers {
		var err error
		if *n.to, err = strconv.ParseUint(n.text, n.base, 64); err != nil {
			return a, err
		}
	}
	return a, nil
}
