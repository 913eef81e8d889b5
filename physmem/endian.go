package physmem

import (
	"encoding/binary"
	"math/bits"
)

// hostLittle is a constant on every compiler that folds it: 1 in host order read back as little-endian bytes.
var hostLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func (t *Table) fromLittleEndian() {
	if hostLittle {
		return
	}
	for i, e := range t {
		t[i] = bits.ReverseBytes64(e)
	}
}
