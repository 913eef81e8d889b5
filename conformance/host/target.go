//go:build linux && amd64

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ptemu/arch/x86"
	"ptemu/conformance/kernel"
	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// target is the running kernel as a [litmus.Target], with one fresh process.
type target struct {
	*kernel.Target
	h      *Host
	advise bool // every new area of anonymous memory gets MADV_HUGEPAGE
	files  map[string]*os.File
}

// fresh ends what the program before left and makes the first process of p.
func (h *Host) fresh(p *litmus.Program) (*target, error) {
	t, err := h.kernel.FreshOnThis()
	if err != nil {
		return nil, err
	}
	always := slices.ContainsFunc(p.Machine, func(o litmus.Option) bool { return o.Name == "huge-pages" })
	return &target{Target: t, h: h, advise: always && h.has.huge != "always", files: map[string]*os.File{}}, nil
}

// NotHere implements [litmus.Target].
func (t *target) NotHere(op *litmus.Op) string {
	if t.advise && op.Verb == "map" && (op.Has("populate") || op.Has("locked")) {
		return "huge pages come only with advice, which is too late for populate"
	}
	return t.h.NotHere(op)
}

// Do implements [litmus.Target].
func (t *target) Do(c *litmus.Call) litmus.Outcome {
	if f := files[c.Op.Verb]; f != nil {
		return outcome(f(t, c))
	}
	out := t.Target.Do(c)
	if !t.advise || c.Op.Verb != "map" || out.Errno != "" || out.Err != nil || c.Op.Has("shared") || c.Op.Has("of") {
		return out
	}
	op := litmus.Op{Verb: "advise", Options: []litmus.Option{{Name: "hugepage"}}}
	return t.Target.Do(&litmus.Call{
		CPU: c.CPU, Process: c.Process, Op: &op, At: litmus.Span{VA: c.New, Pages: c.Op.Count},
	})
}

// outcome says how a call ended that we made ourselves.
func outcome(err error) litmus.Outcome {
	var errno unix.Errno
	var wrong wrongError
	switch {
	case errors.As(err, &wrong):
		return litmus.Outcome{Wrong: string(wrong)}
	case errors.As(err, &errno):
		return litmus.Outcome{Errno: unix.ErrnoName(errno)}
	}
	return litmus.Outcome{Err: err}
}

// View implements viewer.
func (t *target) View(process string, at litmus.Span, pages []Page, all mm.Category) error {
	pid := t.PID(process)
	if pid == 0 {
		return fmt.Errorf("there is no process %s any more", process)
	}
	words := make([]swapentry.Pagemap, at.Pages)
	if err := kernel.ReadPagemap(pid, at.VA, words); err != nil {
		return err
	}
	categories := make([]mm.Category, at.Pages)
	if all != 0 {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/pagemap", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := scan(fd, at.VA, categories, all); err != nil {
			return fmt.Errorf("PAGEMAP_SCAN: %w", err)
		}
	}
	for i := range pages {
		pages[i] = Page{words[i], categories[i]}
	}
	return nil
}

// Close implements [litmus.Target].
func (t *target) Close() error {
	err := t.Target.Close()
	for _, f := range t.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// wrongError is contents that are not as a step says.
type wrongError string

func (e wrongError) Error() string { return string(e) }

// newFile makes a file of zeros: a memfd of ours, which processes open through /proc.
func (t *target) newFile(c *litmus.Call) error {
	if t.files[c.Op.Name] != nil {
		return fmt.Errorf("there is a file %s already", c.Op.Name)
	}
	fd, err := unix.MemfdCreate(c.Op.Name, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), c.Op.Name)
	t.files[c.Op.Name] = f
	t.SetFile(c.Op.Name, filepath.Join("/proc", fmt.Sprint(os.Getpid()), "fd", fmt.Sprint(fd)))
	return f.Truncate(int64(c.Op.Count) * x86.PageSize)
}

// file returns a file of the program.
func (t *target) file(c *litmus.Call) (*os.File, error) {
	if f := t.files[c.Op.Name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("there is no file %s on this kernel", c.Op.Name)
}

func (t *target) truncate(c *litmus.Call) error {
	f, err := t.file(c)
	if err != nil {
		return err
	}
	return f.Truncate(int64(c.Op.Count) * x86.PageSize)
}

func (t *target) punch(c *litmus.Call) error {
	f, err := t.file(c)
	if err != nil {
		return err
	}
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return unix.Fallocate(int(f.Fd()), mode, int64(c.Op.Count)*x86.PageSize, int64(c.Op.Num("pages", 1))*x86.PageSize)
}

func (t *target) sync(c *litmus.Call) error {
	f, err := t.file(c)
	if err != nil {
		return err
	}
	return f.Sync()
}

// bytesOf returns the bytes of a page that an operation on a file is about: one, or all.
func bytesOf(c *litmus.Call) (at int64, n int) {
	at = int64(c.Op.Count) * x86.PageSize
	if c.Op.Has("byte") {
		return at + int64(c.Op.Num("byte", 0)), 1
	}
	return at, x86.PageSize
}

func (t *target) writeFile(c *litmus.Call) error {
	f, err := t.file(c)
	if err != nil {
		return err
	}
	at, n := bytesOf(c)
	const withoutValue = 1 // what an operation writes that names no byte
	_, err = f.WriteAt(slices.Repeat([]byte{byte(c.Op.Num("=", withoutValue))}, n), at)
	return err
}

func (t *target) readFile(c *litmus.Call) error {
	f, err := t.file(c)
	if err != nil {
		return err
	}
	at, n := bytesOf(c)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	want, given := c.Op.Option("=")
	if i := slices.IndexFunc(b, func(v byte) bool { return given && uint64(v) != want.Num }); i >= 0 {
		return wrongError(fmt.Sprintf("byte %d at %d is %d, not %d", i, at, b[i], want.Num))
	}
	return nil
}
