package ktype

import (
	"encoding/binary"
	"strings"
)

// maxConstants bounds what [Types.Constants] returns.
const maxConstants = 1 << 12

// Constants returns the constants of all enumerations whose names begin with prefix. Of constants with the same name one
// is returned. Negative values are in two's complement.
func (t *Types) Constants(prefix string) map[string]uint64 {
	out := map[string]uint64{}
	for i := 1; i < len(t.start) && len(out) < maxConstants; i++ {
		h, b := t.at(id(i))
		each := extra[h.kind].each
		if h.kind != kindEnum && h.kind != kindEnum64 {
			continue
		}
		for ; len(b) >= each; b = b[each:] {
			name := t.name(binary.LittleEndian.Uint32(b))
			if name == "" || !strings.HasPrefix(name, prefix) {
				continue
			}
			v := uint64(binary.LittleEndian.Uint32(b[4:]))
			switch {
			case h.kind == kindEnum64:
				v |= uint64(binary.LittleEndian.Uint32(b[8:])) << 32
			case h.flag:
				v = uint64(int64(int32(v)))
			}
			out[name] = v
		}
	}
	return out
}

// PerCPU returns the offset of a per-CPU variable in the area of a processor, false if the kernel does not say.
func (t *Types) PerCPU(name string) (uint64, bool) {
	for i := len(t.start) - 1; i > 0; i-- {
		h, b := t.at(id(i))
		if h.kind != kindDatasec || !strings.Contains(t.name(h.name), "percpu") {
			continue
		}
		for ; len(b) >= 12; b = b[12:] {
			v, _ := t.at(id(binary.LittleEndian.Uint32(b)))
			if v.kind == kindVar && t.name(v.name) == name {
				return uint64(binary.LittleEndian.Uint32(b[4:])), true
			}
		}
	}
	return 0, false
}
