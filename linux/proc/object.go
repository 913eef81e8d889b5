package proc

import (
	"encoding/binary"

	"ptemu/arch/x86"
	"ptemu/linux"
)

// object reads the members of one structure. After the first failure all reads give 0, and err says why.
type object struct {
	mem  *linux.KernelMemory
	addr x86.Virt
	err  error
}

// num reads a number or a pointer. A member that the kernel does not have is 0, and one of more than 8 bytes is
// its first word.
func (o *object) num(m member) uint64 {
	if o.err != nil || !m.has() {
		return 0
	}
	var b [8]byte
	if o.err = o.mem.ReadAt(b[:min(m.size, 8)], o.addr+x86.Virt(m.off)); o.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (o *object) ptr(m member) x86.Virt { return x86.Virt(o.num(m)) }

// text reads an array of characters that ends at its first NUL, or is full.
func (o *object) text(m member) string {
	if o.err != nil || !m.has() {
		return ""
	}
	var s string
	s, o.err = o.mem.CString(o.addr+x86.Virt(m.off), int(min(m.size, maxComm)))
	return s
}

func (f *finder) at(addr x86.Virt) *object { return &object{mem: f.mem, addr: addr} }
