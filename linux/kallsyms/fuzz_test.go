package kallsyms_test

import (
	"encoding/binary"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
)

// tableNames are the tables whose places a fuzzed input gives, 4 bytes each.
var tableNames = []string{"num_syms", "names", "token_table", "token_index", "offsets", "addresses", "relative_base"}

const fuzzBase = imageStart + 0x200000

// input makes a fuzzed input of good tables.
func (k *build) input() (places, data []byte) {
	mem, info := k.make()
	for _, name := range tableNames {
		off := uint32(0)
		if va, ok := info["kallsyms_"+name]; ok {
			off = uint32(va - imageStart)
		}
		places = binary.LittleEndian.AppendUint32(places, off)
	}
	for va := fuzzBase; mem[va] != nil; va += x86.PageSize {
		data = append(data, mem[va][:]...)
	}
	return places, data
}

// FuzzKallsyms: whatever the tables hold, what is accepted is consistent, and nothing panics.
func FuzzKallsyms(f *testing.F) {
	for _, k := range builds() {
		k.symbols = someSymbols(300, k.encoding == "absolute-percpu")
		places, data := k.input()
		f.Add(places, data)
	}
	f.Fuzz(func(t *testing.T, places, data []byte) {
		if len(places) < 4*len(tableNames) || len(data) > 1<<17 {
			t.Skip()
		}
		mem, info := ram{}, notes{"_stext": imageStart}
		mem.write(fuzzBase, data)
		for i, name := range tableNames {
			if off := binary.LittleEndian.Uint32(places[4*i:]); off != 0 {
				info["kallsyms_"+name] = imageStart + x86.Virt(off)
			}
		}
		if s, err := kallsyms.Parse(mem, info); err == nil {
			consistent(t, s)
		}
		last := fuzzBase + x86.Virt(len(data))
		if s, err := kallsyms.Search(mem, fuzzBase, last, imageStart); err == nil {
			consistent(t, s)
		}
		if va, err := kallsyms.FindExport(mem, fuzzBase, last, "_"); err == nil && (va < fuzzBase || va > last) {
			t.Errorf("an exported symbol at %v", va)
		}
	})
}

func consistent(t *testing.T, s *kallsyms.Symbols) {
	t.Helper()
	if va, ok := s.Lookup("_stext"); !ok || va != imageStart {
		t.Fatalf("_stext is at %v", va)
	}
	last := x86.Virt(0)
	for i := range min(s.Len(), 500) {
		sym := s.At(i)
		va, ok := s.Lookup(sym.Name)
		name, off := s.Near(sym.Addr)
		if sym.Addr < last || !ok || va > sym.Addr || name == "" || off != 0 {
			t.Fatalf("symbol %d: %v; the one before it at %v; looked up: %v, %v; near: %s+%d", i, sym, last, va, ok, name, off)
		}
		last = sym.Addr
	}
}
