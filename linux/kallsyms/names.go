package kallsyms

import (
	"ptemu/arch/x86"
)

// readNames reads the compressed names and indexes them.
func (s *Symbols) readNames(mem Memory, va x86.Virt) error {
	r := reader{mem: mem, va: va}
	s.nameAt = make([]uint32, 0, min(s.n, 1<<18))
	s.hash = make([]uint32, 0, cap(s.nameAt))
	expanded := 0
	for off := 0; len(s.nameAt) < s.n; {
		if err := r.need(off + 2); err != nil {
			return err
		}
		size, head := nameLen(r.buf[off:])
		if size == 0 {
			return bad("names", uint64(off), "symbol %d has no name", len(s.nameAt))
		}
		if err := r.need(off + head + size); err != nil {
			return err
		}
		h, chars := s.hashName(r.buf[off+head : off+head+size])
		if chars < 2 || chars > maxName {
			return bad("names", uint64(off), "the name of symbol %d has %d characters: want 2 to %d", len(s.nameAt), chars, maxName)
		}
		if expanded += chars; expanded > maxExpanded {
			return bad("names", uint64(off), "names of more than %d characters", maxExpanded)
		}
		s.nameAt, s.hash = append(s.nameAt, uint32(off)), append(s.hash, h)
		off += head + size
		r.used = off
	}
	s.names = r.buf[:r.used:r.used]
	return nil
}

// reader holds the start of a table whose size is not known.
type reader struct {
	mem  Memory
	va   x86.Virt
	buf  []byte
	used int
}

// need makes the first n bytes available. It reads to the end of a page, never beyond the page that is needed.
func (r *reader) need(n int) error {
	for len(r.buf) < n {
		if len(r.buf) > maxNames {
			return bad("names", uint64(len(r.buf)), "more than %d bytes", maxNames)
		}
		at := r.va + x86.Virt(len(r.buf))
		size := int(x86.PageSize - at.Offset())
		old := len(r.buf)
		r.buf = append(r.buf, make([]byte, size)...)
		if err := r.mem.ReadAt(r.buf[old:], at); err != nil {
			r.buf = r.buf[:old]
			return &Error{"names", uint64(old), err}
		}
	}
	return nil
}

// nameLen returns how many tokens a name has and in how many bytes that is said. b has at least two. Before 6.1 all
// lengths had one byte, but names were too short for one of 128 and more.
//
// Linux: kernel/kallsyms.c:kallsyms_expand_symbol()
func nameLen(b []byte) (size, head int) {
	if b[0]&0x80 == 0 {
		return int(b[0]), 1
	}
	return int(b[0]&0x7f) | int(b[1])<<7, 2
}

// hashName returns the hash of a name, without its type, and the number of its characters with it.
func (s *Symbols) hashName(tokens []byte) (h uint32, chars int) {
	h = hashStart
	for _, c := range tokens {
		t := s.tokens[c]
		from := 0
		if chars == 0 && t != "" {
			from = 1
		}
		h = hashMore(h, t[from:])
		if chars += len(t); chars > maxName {
			break
		}
	}
	return h, chars
}

// The hash is FNV-1a.
const (
	hashStart = 2166136261
	hashPrime = 16777619
)

func hashMore(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * hashPrime
	}
	return h
}

// name expands the name of symbol i: its type and itself.
func (s *Symbols) name(i int) (typ byte, name string) {
	var buf [maxName]byte
	out := buf[:0]
	b := s.names[s.nameAt[i]:]
	size, head := int(b[0]), 1
	if len(b) > 1 {
		size, head = nameLen(b)
	}
	for _, c := range b[head : head+size] {
		out = append(out, s.tokens[c]...)
	}
	return out[0], string(out[1:])
}
