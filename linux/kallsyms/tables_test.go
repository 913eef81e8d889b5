package kallsyms_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
)

// build lays symbols out as a kernel's build does.
type build struct {
	symbols  []kallsyms.Symbol // ascending by address
	encoding string
	tokens   []string // beside the single characters
	behind   bool     // addresses behind the token index, as since 6.5, rather than in front
	seqs     bool     // the table seqs_of_names between markers and tokens, as in 6.2
	align    int      // of tables: 8, or 4
}

const imageStart x86.Virt = 0xffffffffa3600000

// names returns n symbols: per-CPU variables first if percpu, _stext and functions, _end last. One name is as long as names can be.
func someSymbols(n int, percpu bool) []kallsyms.Symbol {
	var out []kallsyms.Symbol
	if percpu {
		out = append(out, kallsyms.Symbol{Addr: 0, Type: 'A', Name: "fixed_percpu_data"}, kallsyms.Symbol{Addr: 0x1fb80, Type: 'A', Name: "current_task"})
	}
	out = append(out, kallsyms.Symbol{Addr: imageStart, Type: 'T', Name: "_text"}, kallsyms.Symbol{Addr: imageStart, Type: 'T', Name: "_stext"})
	va := imageStart + 64
	for i := len(out); i < n-2; i++ {
		out = append(out, kallsyms.Symbol{Addr: va, Type: "tTdDbBrRW"[i%9], Name: fmt.Sprintf("pte_mkwrite_%d", i*i)})
		va += x86.Virt(i % 7 * 16)
	}
	long := kallsyms.Symbol{Addr: va, Type: 't', Name: strings.Repeat("ZuX3", 127) + "end"}
	return append(out, long, kallsyms.Symbol{Addr: va + 0x40000000 - (va - imageStart) - 0x1000, Type: 'B', Name: "_end"})
}

// make returns the memory of the kernel, and what VMCOREINFO says of it.
func (k *build) make() (ram, notes) {
	tokens, table, index := k.makeTokens()
	var names, markers []byte
	for i, s := range k.symbols {
		if i%256 == 0 {
			markers = binary.LittleEndian.AppendUint32(markers, uint32(len(names)))
		}
		names = append(names, k.compress(tokens, string(s.Type)+s.Name)...)
	}
	seqs := make([]byte, 3*len(k.symbols)*btoi(k.seqs))
	for i := range seqs {
		seqs[i] = byte(i * 7)
	}
	num := binary.LittleEndian.AppendUint32(nil, uint32(len(k.symbols)))
	info := notes{"_stext": imageStart}
	mem := ram{}
	at := imageStart + 0x200000
	put := func(name string, align int, b []byte) {
		at = (at + x86.Virt(align-1)) &^ x86.Virt(align-1)
		info["kallsyms_"+name] = at
		mem.write(at, b)
		at += x86.Virt(len(b))
	}
	addresses := func() {
		start := (at + x86.Virt(k.align-1)) &^ x86.Virt(k.align-1)
		if k.encoding == "absolute" {
			put("addresses", 8, k.addresses(0))
			return
		}
		put("offsets", k.align, k.addresses(start))
		if k.encoding != "place-relative" {
			put("relative_base", 8, binary.LittleEndian.AppendUint64(nil, uint64(imageStart)))
		}
	}
	if !k.behind {
		addresses()
	}
	put("num_syms", k.align, num)
	put("names", k.align, names)
	put("markers", k.align, markers)
	put("seqs_of_names", k.align, seqs)
	put("token_table", k.align, table)
	put("token_index", k.align, index)
	if k.behind {
		addresses()
	}
	mem.write(imageStart, make([]byte, x86.PageSize))
	mem.write(at, make([]byte, 3*x86.PageSize))
	delete(info, "kallsyms_markers")
	delete(info, "kallsyms_seqs_of_names")
	return mem, info
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// makeTokens gives the characters their own numbers, and the rest to k.tokens.
func (k *build) makeTokens() (tokens [256]string, table, index []byte) {
	more := k.tokens
	for i := range tokens {
		c := byte(i)
		switch {
		case c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z':
			tokens[i] = string(c)
		case len(more) > 0:
			tokens[i], more = more[0], more[1:]
		}
		index = binary.LittleEndian.AppendUint16(index, uint16(len(table)))
		table = append(append(table, tokens[i]...), 0)
	}
	return tokens, table, index
}

// compress writes a name in tokens, the longest that fits first.
func (k *build) compress(tokens [256]string, name string) []byte {
	var out []byte
	for name != "" {
		best := -1
		for i, t := range tokens {
			if t != "" && strings.HasPrefix(name, t) && (best < 0 || len(t) > len(tokens[best])) {
				best = i
			}
		}
		out, name = append(out, byte(best)), name[len(tokens[best]):]
	}
	if len(out) < 0x80 {
		return append([]byte{byte(len(out))}, out...)
	}
	return append([]byte{byte(len(out)) | 0x80, byte(len(out) >> 7)}, out...)
}

// addresses encodes the addresses of the symbols in a table at va.
func (k *build) addresses(va x86.Virt) []byte {
	var out []byte
	for i, s := range k.symbols {
		off := int64(s.Addr - imageStart)
		switch k.encoding {
		case "absolute":
			out = binary.LittleEndian.AppendUint64(out, uint64(s.Addr))
			continue
		case "place-relative":
			off = int64(s.Addr - va - x86.Virt(4*i))
		case "absolute-percpu":
			off = -1 - off
			if s.Addr < imageStart {
				off = int64(s.Addr)
			}
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(off))
	}
	return out
}

// builds are the ways in which kernels were built.
func builds() []build {
	tokens := []string{"pte_", "mkwrite_", "Tpte", "ZuX3", "tp", "te_mk"}
	var out []build
	for _, e := range []string{"absolute", "base-relative", "absolute-percpu", "place-relative"} {
		for _, behind := range []bool{false, true} {
			for _, align := range []int{4, 8} {
				if e == "absolute" && behind || e == "place-relative" && !behind {
					continue // never were
				}
				out = append(out, build{someSymbols(1500, e == "absolute-percpu"), e, slices.Clone(tokens), behind, align == 8 && !behind, align})
			}
		}
	}
	return append(out, build{someSymbols(1500, false), "absolute", nil, false, false, 8}) // long names of one byte a character
}
