package mmu_test

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

// A kernel takes the right to write away and forgets the flush: the processor goes on writing.
func ExampleCore() {
	const va = 0x5def_1234_5000
	mem := build(4, 1, va, 0x42000, [6]uint64{1: 7, 2: 7, 3: 7, 4: 7})
	regs := mmu.LinuxRegs(rootCR3, 4)
	unit, err := mmu.New(regs, regs.Paging(46, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	cpu := mmu.NewCore(unit, mmu.TLBSize{})
	write := func() {
		p, err := cpu.Access(mem, mem, va, mmu.Access{Kind: mmu.Write, User: true})
		fmt.Println(p, err)
	}
	write()
	leaf := place(4, 1, va)
	mem.set(leaf, mem.get(leaf)&^x86.PageRW)
	write()
	for c := range cpu.TLB.Each {
		fmt.Println(c.VA, "is stale in:", unit.Compare(mem, c))
	}
	cpu.TLB.FlushRange(cpu.Tag, va, va+x86.PageSize-1, 1<<x86.LevelPTE, false)
	write()
	// Output:
	// 0x42000 <nil>
	// 0x42000 <nil>
	// 0x00005def12345000 is stale in: rights
	// 0x0 mmu: #PF(P|W|U): user write at 0x00005def12345000: read-only: pte entry 0x0000000000042065 at 0x1a28
}
