package who

import (
	"context"
	"io"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
)

// frameWriter writes ranges of frames in one of the formats.
type frameWriter struct {
	ctx   context.Context
	to    Output
	parts []treePart
	buf   []byte
	some  bool
	names []string // of the processes, by part, as the format needs them
}

// Output says where ranges of frames go, and which.
type Output struct {
	W      io.Writer
	Format string
	Colors report.Palette
	Min    uint64 // mappings that a frame must have
}

func newFrameWriter(ctx context.Context, to Output, parts []treePart) *frameWriter {
	f := &frameWriter{ctx: ctx, to: to, parts: parts, buf: make([]byte, 0, report.FlushSize+4096)}
	for i := range parts {
		f.names = append(f.names, f.name(&parts[i]))
	}
	switch f.to.Format {
	case "json":
		f.buf = append(f.buf, '[')
	case "csv":
		f.buf = append(f.buf, "pa,pfn,frames,mappings,user,kernel,not_present,direct_map,writable,executable,r,w,x,u,processes,pids,more_pids\n"...)
	case "text":
		f.buf = append(f.buf, to.Colors.Dim...)
		f.buf = append(f.buf, "FRAMES                        SIZE   TIMES    USER  KERNEL  RIGHTS  PROCESSES"...)
		f.buf = append(f.buf, to.Colors.Off(to.Colors.Dim)...)
		f.buf = append(f.buf, '\n')
	}
	return f
}

// name is how the output names who runs on a part; "" for the kernel where only processes are named.
func (f *frameWriter) name(p *treePart) string {
	if f.to.Format != "text" && p.what != "" {
		return ""
	}
	var names []string
	for _, proc := range p.Procs {
		name := strconv.Itoa(proc.PID)
		if f.to.Format == "text" {
			name += " (" + report.QuoteName(proc.Comm) + ")"
		}
		names = append(names, name)
	}
	list := strings.Join(names, map[string]string{"text": ", ", "csv": "|"}[f.to.Format])
	switch {
	case f.to.Format == "json" || f.to.Format == "jsonl":
		return strings.Join(names, ",")
	case p.what == partOwn:
		return "kernel half of " + list
	case p.what != "":
		return p.what
	}
	return list
}

func (f *frameWriter) write(r *frameRange) error {
	if r.users.mappings() < f.to.Min && !(f.to.Min <= 1 && r.users.notPresent > 0) {
		return nil
	}
	switch f.to.Format {
	case "json", "jsonl":
		f.buf = f.object(f.buf, r)
	case "csv":
		f.buf = f.record(f.buf, r)
	default:
		f.buf = f.line(f.buf, r)
	}
	if len(f.buf) < report.FlushSize {
		return nil
	}
	return f.flush()
}

func (f *frameWriter) flush() error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	_, err := f.to.W.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}

func (f *frameWriter) close() error {
	if f.to.Format == "json" {
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
	dst = report.Pad(dst, 27-(len(dst)-start))
	column := func(n uint64) {
		at := len(dst)
		dst = strconv.AppendUint(dst, n, 10)
		dst = report.AlignRight(dst, at, 8)
	}
	start = len(dst)
	dst = report.AppendSize(dst, uint64(r.end-r.first)*x86.PageSize)
	dst = report.AlignRight(dst, start, 7)
	column(u.mappings())
	column(u.user)
	column(u.kernel)
	dst = append(dst, "  "...)
	dst = u.rights.rights().Append(dst)
	dst = append(dst, "  "...)
	if n := u.notPresent + u.takenOut; n > 0 {
		dst = append(dst, "not present="...)
		dst = append(strconv.AppendUint(dst, n, 10), ' ')
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
	return report.EndLine(dst)
}

func (f *frameWriter) object(dst []byte, r *frameRange) []byte {
	u := &r.users
	if f.to.Format == "json" {
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
		{"kernel", u.kernel}, {"not_present", u.notPresent + u.takenOut},
	} {
		dst = append(append(append(dst, `,"`...), n.name...), `":`...)
		dst = strconv.AppendUint(dst, n.n, 10)
	}
	dst = report.AppendJSONBool(dst, `,"direct_map":`, u.direct > 0)
	dst = append(dst, `,"writable":`...)
	dst = strconv.AppendUint(dst, u.writable, 10)
	dst = append(dst, `,"executable":`...)
	dst = strconv.AppendUint(dst, u.executable, 10)
	dst = entries.AppendJSONRights(dst, u.rights.rights())
	dst = append(dst, `,"processes":`...)
	dst = strconv.AppendInt(dst, int64(u.processes), 10)
	dst = append(dst, `,"pids":[`...)
	dst = append(f.pids(dst, r, ','), ']')
	if r.more {
		dst = append(dst, `,"more_pids":true`...)
	}
	dst = append(dst, '}')
	if f.to.Format == "jsonl" {
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
		uint64(r.first), uint64(r.end - r.first), u.mappings(), u.user, u.kernel, u.notPresent + u.takenOut,
	} {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = report.AppendCSVBool(dst, u.direct > 0)
	for _, n := range [...]uint64{u.writable, u.executable} {
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, n, 10)
	}
	all := u.rights.rights()
	for _, on := range [...]bool{all.R, all.W, all.X, all.U} {
		dst = report.AppendCSVBool(dst, on)
	}
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(u.processes), 10)
	dst = append(dst, ',')
	dst = f.pids(dst, r, '|')
	if !r.more {
		return append(dst, ",\n"...)
	}
	return append(report.AppendCSVBool(dst, true), '\n')
}
