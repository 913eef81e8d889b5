package kallsyms

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

type encoding uint8

const (
	absolute encoding = iota
	baseRelative
	absolutePercpu
	placeRelative
)

var encodingNames = [...]string{"absolute", "base-relative", "absolute-percpu", "place-relative"}

// addresses is the table of addresses as it stands in the kernel, and how to read it.
type addresses struct {
	raw     []byte
	enc     encoding
	base    x86.Virt // of the table if placeRelative, else relative_base
	derived bool     // base was not read
}

func (a *addresses) String() string {
	if a.derived {
		return encodingNames[a.enc] + ", base derived"
	}
	return encodingNames[a.enc]
}

// at returns the address of symbol i.
//
// Linux: kernel/kallsyms.c:kallsyms_sym_address()
func (a *addresses) at(i int) x86.Virt {
	if a.enc == absolute {
		return x86.Virt(binary.LittleEndian.Uint64(a.raw[8*i:]))
	}
	off := int32(binary.LittleEndian.Uint32(a.raw[4*i:]))
	switch {
	case a.enc == placeRelative:
		return a.base + x86.Virt(4*i) + x86.Virt(off)
	case a.enc == baseRelative:
		return a.base + x86.Virt(uint32(off))
	case off >= 0:
		return x86.Virt(off)
	}
	return a.base - 1 - x86.Virt(off)
}

// readAddresses reads the table of addresses and chooses the encoding.
func (s *Symbols) readAddresses(mem Memory, p *places) error {
	stext := s.find("_stext")
	if stext < 0 {
		return bad("names", 0, "none of %d names is _stext", s.n)
	}
	name, at, size := "offsets", p.offsets, 4
	if at == 0 {
		name, at, size = "addresses", p.addresses, 8
	}
	raw := make([]byte, s.n*size)
	for off := 0; off < len(raw); off += x86.PageSize {
		if err := mem.ReadAt(raw[off:min(len(raw), off+x86.PageSize)], at+x86.Virt(off)); err != nil {
			return &Error{name, uint64(off), err}
		}
	}
	var why []error
	for _, a := range candidates(mem, p) {
		a.raw = raw
		if a.derived {
			a.derive(stext, p.stext)
		}
		err := s.judge(&a, p, stext)
		if err == nil {
			s.addr = a
			return nil
		}
		why = append(why, fmt.Errorf("%v: %w", &a, err))
	}
	return &Error{name, 0, fmt.Errorf("no encoding fits: %w", errors.Join(why...))}
}

// candidates returns the encodings that may be used, surest first.
func candidates(mem Memory, p *places) []addresses {
	if p.offsets == 0 {
		return []addresses{{enc: absolute}}
	}
	out := []addresses{{enc: placeRelative, base: p.offsets}}
	var b [8]byte
	if p.relativeBase == 0 || mem.ReadAt(b[:], p.relativeBase) != nil {
		return append(out, addresses{enc: absolutePercpu, derived: true}, addresses{enc: baseRelative, derived: true})
	}
	base := x86.Virt(binary.LittleEndian.Uint64(b[:]))
	return append(out, addresses{enc: baseRelative, base: base}, addresses{enc: absolutePercpu, base: base})
}

// derive sets base so that the symbol stext has its address.
func (a *addresses) derive(stext int, va x86.Virt) {
	a.base = 0
	a.base = va - a.at(stext)
}

// imageArea is where every kernel's image lies: the top 2 GiB.
//
// Linux: arch/x86/include/asm/page_64_types.h:__START_KERNEL_map
const imageArea x86.Virt = 0xffffffff80000000

// judge says what is wrong with addresses, nil if they make sense: _stext and _text are where they are known to be, all
// ascend, what is not in the image's area is the offset of a per-CPU variable, and only some symbols share an address.
func (s *Symbols) judge(a *addresses, p *places, stext int) error {
	if va := a.at(stext); va != p.stext {
		return fmt.Errorf("_stext is at %v, not %v", va, p.stext)
	}
	if text := s.find("_text"); text >= 0 && p.text != 0 && a.at(text) != p.text {
		return fmt.Errorf("_text is at %v, not %v", a.at(text), p.text)
	}
	if end := s.find("_end"); end >= 0 && (a.at(end) < p.stext || a.at(end) >= a.at(stext)+1<<30) {
		return fmt.Errorf("_end is at %v, but _stext at %v", a.at(end), p.stext)
	}
	last, differ := x86.Virt(0), 0
	for i := range s.n {
		va := a.at(i)
		switch {
		case va < last:
			return fmt.Errorf("symbol %d is at %v, the one before it at %v", i, va, last)
		case va < imageArea && va >= 1<<31:
			return fmt.Errorf("symbol %d is at %v, which is neither in the kernel image nor the offset of a per-CPU variable", i, va)
		}
		if i == 0 || va != last {
			last, differ = va, differ+1
		}
	}
	if differ < s.n/4 {
		return fmt.Errorf("%d symbols have only %d addresses", s.n, differ)
	}
	return nil
}
