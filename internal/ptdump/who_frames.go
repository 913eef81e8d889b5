package ptdump

import (
	"context"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// frameWriter writes ranges of frames in one of the formats.
type frameWriter struct {
	ctx    context.Context
	w      *work
	parts  []treePart
	format string
	min    uint64
	buf    []byte
	some   bool
	names  []string // of the processes, by part, as the format needs them
}

func newFrameWriter(ctx context.Context, o *options, w *work, parts []treePart) *frameWriter {
	f := &frameWriter{ctx: ctx, w: w, parts: parts, format: o.format, min: o.who.min, buf: make([]byte, 0, flushSize+4096)}
	for i := range parts {
		f.names = append(f.names, f.name(&parts[i]))
	}
	switch f.format {
	case "json":
		f.buf = append(f.buf, '[')
	case "csv":
		f.buf = append(f.buf, "pa,pfn,frames,mappings,user,kernel,not_present,direct_map,writable,executable,rights,processes,pids,more_pids\n"...)
	case "text":
		f.buf = append(f.buf, w.colors.dim...)
		f.buf = append(f.buf, "FRAMES                        SIZE   TIMES    USER  KERNEL  RIGHTS  PROCESSES"...)
		f.buf = append(f.buf, w.colors.off(w.colors.dim)...)
		f.buf = append(f.buf, '\n')
	}
	return f
}

// name is how the output names who runs on a part; "" for the kernel where only processes are named.
func (f *frameWriter) name(p *treePart) string {
	if f.format != "text" && p.what != "" {
		return ""
	}
	var names []string
	for _, proc := range p.Procs {
		name := strconv.Itoa(proc.PID)
		if f.format == "text" {
			name += " (" + quoteName(proc.Comm) + ")"
		}
		names = append(names, name)
	}
	list := strings.Join(names, map[string]string{"text": ", ", "csv": "|"}[f.format])
	switch {
	case f.format == "json" || f.format == "jsonl":
		return strings.Join(names, ",")
	case p.what == partOwn:
		return "kernel half of " + list
	case p.what != "":
		return p.what
	}
	return list
}

func (f *frameWriter) write(r *frameRange) error {
	if r.users.mappings() < f.min && !(f.min <= 1 && r.users.notPresent > 0) {
		return nil
	}
	switch f.format {
	case "json", "jsonl":
		f.buf = f.object(f.buf, r)
	case "csv":
		f.buf = f.record(f.buf, r)
	default:
		f.buf = f.line(f.buf, r)
	}
	if len(f.buf) < flushSize {
		return nil
	}
	return f.flush()
}

func (f *frameWriter) flush() error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	_, err := f.w.out.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *frameWriter) close() error {
	if f.format == "json" {
		f.buf = append(f.buf, "\n]\n"...)
	}
	return f.flush()
}

// textUsers is how many address spaces a line of text names.
const textUsers = 6

func (f *frameWriter) line(dst []byte, r *frameRange) []byte {
	u := &r.users
	start := len(dst)
	dst = append(dst, "0x"...)
	dst = strconv.AppendUint(dst, uint64(r.first), 16)
	if r.end-r.first > 1 {
		dst = append(dst, "-0x"...)
		dst = strconv.AppendUint(dst, uint64(r.end-1), 16)
	}
	dst = pad(dst, 27-(len(dst)-start))
	column := func(n uint64) {
		at := len(dst)
		dst = strconv.AppendUint(dst, n, 10)
		dst = alignRight(dst, at, 8)
	}
	start = len(dst)
	dst = appendSize(dst, uint64(r.end-r.first)*x86.PageSize)
	dst = alignRight(dst, start, 7)
	column(u.mappings())
	column(u.user)
	column(u.kernel)
	dst = append(dst, "  "...)
	dst = appendRights(dst, u.rights.rights())
	dst = append(dst, "  "...)
	if u.notPresent > 0 {
		dst = append(dst, "not present="...)
		dst = append(strconv.AppendUint(dst, u.notPresent, 10), ' ')
	}
	for i, p := range r.parts {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if i == textUsers {
			dst = append(strconv.AppendInt(append(dst, "and "...), int64(len(r.parts)-i), 10), " more"...)
			break
		}
		dst = append(dst, f.names[p]...)
	}
	if r.more {
		dst = append(dst, ", and others"...)
	}
	return endLine(dst)
}

func (f *frameWriter) object(dst []byte, r *frameRange) []byte {
	u := &r.users
	if f.format == "json" {
		if f.some {
			dst = append(dst, ',')
		}
		f.some = true
		dst = append(dst, '\n')
	}
	dst = append(dst, `{"pa":"0x`...)
	dst = strconv.AppendUint(dst, uint64(r.first.Phys()), 16)
	dst = append(dst, '"')
	for _, n := range [...]struct {
		name string
		n    uint64
	}{
		{"pfn", uint64(r.first)}, {"frames", uint64(r.end - r.first)}, {"mappings", u.mappings()}, {"user", u.user},
		{"kernel", u.kernel}, {"not_present", u.notPresent},
	} {
		dst = append(append(append(dst, `,"`...), n.name...), `":`...)
		dst = strconv.AppendUint(dst, n.n, 10)
	}
	dst = appendJSONBool(dst, `,"direct_map":`, u.direct > 0)
	dst = append(dst, `,"writable":`...)
	dst = strconv.AppendUint(dst, u.writable, 10)
	dst = append(dst, `,"executable":`...)
	dst = strconv.AppendUint(dst, u.executable, 10)
	dst = appendJSONRights(dst, u.rights.rights())
	dst = append(dst, `,"processes":`...)
	dst = strconv.AppendInt(dst, int64(u.processes), 10)
	dst = append(dst, `,"pids":[`...)
	dst = append(f.pids(dst, r, ','), ']')
	if r.more {
		dst = append(dst, `,"more_pids":true`...)
	}
	dst = append(dst, '}')
	if f.format == "jsonl" {
		dst = append(dst, '\n')
	}
	return dst
}

// pids appends the processes of a range with a separator between them.
func (f *frameWriter) pids(dst []byte, r *frameRange, separator byte) []byte {
	some := false
	for _, p := range r.parts {
		if f.names[p] == "" {
			continue
		}
		if some {
			dst = append(dst, separator)
		}
		some = true
		dst = append(dst, f.names[p]...)
	}
	return dst
}

func (f *frameWriter) record(dst []byte, r *frameRange) []byte {
	u := &r.users
	dst = append(dst, "0x"...)
	dst = strconv.AppendUint(dst, uint64(r.first.Phys()), 16)
	for _, n := range [...]uint64{
		uint64(r.first), uint64(r.end - r.first), u.mappings(), u.user, u.kernel, u.notPresent,
	} {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = appendCSVBool(dst, u.direct > 0)
	for _, n := range [...]uint64{u.writable, u.executable} {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = append(dst, ',')
	dst = appendRights(dst, u.rights.rights())
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(u.processes), 10)
	dst = append(dst, ',')
	dst = f.pids(dst, r, '|')
	dst = appendCSVBool(dst, r.more)
	return append(dst, '\n')
}
