package ptdump

import (
	"testing"

	"ptemu/arch/x86"
)

func TestPsTry(t *testing.T) {
	m := newMachine()
	m.on("kthreadd", nil)
	p, root := m.process("init")
	m.user(root, 0x400000, x86.LevelPTE, 0x0000000000200025)
	m.user(root, 0x7f0040000000, x86.LevelPMD, 0x80000000400008e7)
	m.user(root, 0x7f0000001000, x86.LevelPTE, 0x07fffffffffffc00) // swap 0:1
	m.user(root, 0x7f0000002000, x86.LevelPTE, 0x07fffffffffff800) // swap 0:3: not the next slot
	m.on("a\x1b[31mb", p.MM)
	m.process("nothing")
	path := m.write(t, 0)
	for _, f := range []string{"text", "json", "jsonl", "csv"} {
		t.Log(m.run(t, "ps", "--format", f, path))
	}
	t.Log(m.run(t, "dump", "--pid", "11", path))
	t.Log(m.run(t, "dump", "--pid", "10", path))
	t.Log(m.run(t, "dump", "--pid", "9", path))
}
