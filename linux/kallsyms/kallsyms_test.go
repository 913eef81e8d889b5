package kallsyms_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
	"ptemu/physmem"
)

func (k *build) lines() []string {
	var lines []string
	for _, s := range k.symbols {
		lines = append(lines, fmt.Sprintf("%016x %c %s", uint64(s.Addr), s.Type, s.Name))
	}
	return lines
}

// TestEncodings reads tables in all encodings and orders, told where they are and not.
func TestEncodings(t *testing.T) {
	for _, k := range builds() {
		t.Run(fmt.Sprintf("%s,behind=%v,align=%d", k.encoding, k.behind, k.align), func(t *testing.T) {
			mem, info := k.make()
			s, err := kallsyms.Parse(mem, info)
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, s, k.lines())
			if s.Encoding() != k.encoding {
				t.Errorf("encoding %s", s.Encoding())
			}
			for _, stext := range []x86.Virt{imageStart, 0} {
				s, err = kallsyms.Search(mem, imageStart, imageStart+0x7fffff, stext)
				if err != nil {
					t.Fatal(err)
				}
				checkLines(t, s, k.lines())
				if s.Encoding() != k.encoding {
					t.Errorf("found: encoding %s", s.Encoding())
				}
			}
		})
	}
}

// TestNear: between symbols, and below the first.
func TestNear(t *testing.T) {
	k := build{encoding: "base-relative", align: 8, symbols: []kallsyms.Symbol{
		{Addr: imageStart, Type: 'T', Name: "_stext"}, {Addr: imageStart, Type: 't', Name: "same"}, {Addr: imageStart + 64, Type: 't', Name: "next"},
	}}
	mem, info := k.make()
	s, err := kallsyms.Parse(mem, info)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		va   x86.Virt
		name string
		off  uint64
	}{
		{0, "", 0}, {imageStart - 1, "", 0}, {imageStart, "_stext", 0}, {imageStart + 63, "_stext", 63},
		{imageStart + 64, "next", 0}, {^x86.Virt(0), "next", uint64(^imageStart) - 64},
	} {
		if name, off := s.Near(c.va); name != c.name || off != c.off {
			t.Errorf("%v: %s+%d, want %s+%d", c.va, name, off, c.name, c.off)
		}
	}
}

// TestDamage alters one thing of good tables. The error names the table and the offset.
func TestDamage(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(ram, notes, *build)
		table string
		off   uint64
		msg   string
	}{
		"no symbols":   {func(m ram, n notes, _ *build) { m.write(n["kallsyms_num_syms"], make([]byte, 4)) }, "num_syms", 0, "0 symbols"},
		"many symbols": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_num_syms"], []byte{0, 0, 0, 0x7f}) }, "num_syms", 0, "symbols"},
		"index starts late": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_token_index"], []byte{1, 0}) },
			"token_index", 0, "want 0"},
		"index descends": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_token_index"]+20, []byte{1, 0}) },
			"token_index", 20, "follows"},
		"index beyond": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_token_index"]+510, []byte{0xff, 0xff}) },
			"token_index", 0, "less than"},
		"token without end": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_token_table"], []byte{'a'}) },
			"token_table", 0, "no NUL"},
		"last token without end": {func(m ram, n notes, _ *build) {
			table := make([]byte, last(m, n))
			if err := m.ReadAt(table, n["kallsyms_token_table"]); err != nil {
				panic(err)
			}
			n["kallsyms_token_table"] = imageStart + 0x600000
			m.write(imageStart+0x600000, append(table, strings.Repeat("x", 2000)...))
		}, "token_table", 318, "no end"},
		"no text": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_token_table"]+2, []byte{7}) }, "token_table", 2, "no NUL"},
		"empty name": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_names"], []byte{0}) },
			"names", 0, "no name"},
		"type only": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_names"], []byte{1, 'T'}) },
			"names", 0, "1 characters"},
		"endless name": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_names"], []byte{0xff, 0x7f}) },
			"names", 0, "characters"},
		"other _stext": {func(_ ram, n notes, _ *build) { n["_stext"] += 16 }, "offsets", 0, "no encoding fits"},
		"other _text":  {func(_ ram, n notes, _ *build) { n["_text"] = imageStart + 16 }, "offsets", 0, "_text is at"},
		"all at one address": {func(m ram, n notes, _ *build) {
			m.write(n["kallsyms_offsets"], make([]byte, 4*1200))
			delete(n, "kallsyms_relative_base")
		}, "offsets", 0, "have only 1 addresses"},
		"one unordered": {func(m ram, n notes, _ *build) { m.write(n["kallsyms_offsets"]+400, []byte{0, 0, 0, 0}) }, "offsets", 0, "the one before it"},
	} {
		t.Run(name, func(t *testing.T) {
			k := build{someSymbols(1200, false), "base-relative", nil, true, false, 8}
			mem, info := k.make()
			c.spoil(mem, info, &k)
			s, err := kallsyms.Parse(mem, info)
			var e *kallsyms.Error
			if s != nil || !errors.As(err, &e) || !errors.Is(err, kallsyms.ErrTables) {
				t.Fatal(err)
			}
			if e.Table != c.table || e.Off != c.off || !strings.Contains(err.Error(), c.msg) {
				t.Errorf("%v; want %s, offset %#x, %q", err, c.table, c.off, c.msg)
			}
		})
	}
}

// last returns the offset of the last token.
func last(m ram, n notes) x86.Virt {
	b := index(m, n)
	return x86.Virt(binary.LittleEndian.Uint16(b[510:]))
}

func index(m ram, n notes) []byte {
	b := make([]byte, 512)
	if err := m.ReadAt(b, n["kallsyms_token_index"]); err != nil {
		panic(err)
	}
	return b
}

// TestMissing takes pages and notes away.
func TestMissing(t *testing.T) {
	k := build{someSymbols(3000, true), "absolute-percpu", nil, true, false, 8}
	mem, info := k.make()
	for name, va := range info {
		if name == "kallsyms_relative_base" {
			continue // derived
		}
		less := notes{}
		for n, at := range info {
			if n != name {
				less[n] = at
			}
		}
		if s, err := kallsyms.Parse(mem, less); s != nil || !errors.Is(err, kallsyms.ErrNoTables) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
		if name == "_stext" {
			continue
		}
		holed := ram{}
		for at, page := range mem {
			if at != va&^(x86.PageSize-1) {
				holed[at] = page
			}
		}
		var e *kallsyms.Error
		if s, err := kallsyms.Parse(holed, info); s != nil || !errors.As(err, &e) || !errors.Is(err, physmem.ErrAbsent) {
			t.Errorf("without the page of %s: %v", name, err)
		}
	}
	second := info["kallsyms_names"]&^(x86.PageSize-1) + x86.PageSize
	delete(mem, second)
	var e *kallsyms.Error
	if _, err := kallsyms.Parse(mem, info); !errors.As(err, &e) || e.Table != "names" || e.Off != uint64(second-info["kallsyms_names"]) {
		t.Errorf("without the second page of names: %v", err)
	}
	if _, err := kallsyms.Search(ram{}, imageStart, imageStart+0x7fffff, 0); !errors.Is(err, kallsyms.ErrNoTables) {
		t.Errorf("in nothing: %v", err)
	}
}
