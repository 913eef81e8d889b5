//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// spaceOps are the verbs of address spaces.
var spaceOps = map[string]opFunc{
	"map":     opMap,
	"unmap":   onPages(unix.SYS_MUNMAP),
	"protect": opProtect,
	"remap":   opRemap,
	"advise":  func(t *Target, c *litmus.Call, p *process) error { return t.advise(c, p, c.Op.Options[0].Name) },
	"fork":    opFork,
	"exit":    opExit,
	"pkru":    func(_ *Target, c *litmus.Call, p *process) error { return p.setPKRU(c.Op.Num("value", 0)) },
}

// onPages makes a verb of a call that takes an address, a length, and what else is given.
func onPages(nr uint64, more ...uint64) opFunc {
	return func(_ *Target, c *litmus.Call, p *process) error {
		_, err := p.call(nr, append([]uint64{uint64(c.At.VA), c.At.Bytes()}, more...)...)
		return err
	}
}

func protOf(s string) (prot uint64) {
	for letter, bit := range map[string]uint64{"r": unix.PROT_READ, "w": unix.PROT_WRITE, "x": unix.PROT_EXEC} {
		if s != "none" && strings.Contains(s, letter) {
			prot |= bit
		}
	}
	return prot
}

var mapFlags = []struct {
	name string
	flag uint64
}{{"populate", unix.MAP_POPULATE}, {"noreserve", unix.MAP_NORESERVE}, {"locked", unix.MAP_LOCKED}}

func opMap(t *Target, c *litmus.Call, p *process) error {
	flags, fd := uint64(unix.MAP_FIXED), ^uint64(0)
	if c.Op.Has("shared") {
		flags |= unix.MAP_SHARED
	} else {
		flags |= unix.MAP_PRIVATE
	}
	for _, f := range mapFlags {
		if c.Op.Has(f.name) {
			flags |= f.flag
		}
	}
	if o, ok := c.Op.Option("of"); ok {
		n, err := t.open(p, o.Arg)
		if err != nil {
			return err
		}
		fd = uint64(n)
	} else {
		flags |= unix.MAP_ANONYMOUS
	}
	length := uint64(c.Op.Count) * x86.PageSize
	prot := protOf(c.Op.Prot)
	if _, err := p.call(unix.SYS_MMAP, uint64(c.New), length, prot, flags, fd, c.Op.Num("offset", 0)*x86.PageSize); err != nil {
		return err
	}
	if o, ok := c.Op.Option("pkey"); ok && o.Num != 0 {
		return p.protectKey(uint64(c.New), length, prot, int(o.Num))
	}
	return nil
}

func opProtect(_ *Target, c *litmus.Call, p *process) error {
	if o, ok := c.Op.Option("pkey"); ok {
		return p.protectKey(uint64(c.At.VA), c.At.Bytes(), protOf(c.Op.Prot), int(o.Num))
	}
	_, err := p.call(unix.SYS_MPROTECT, uint64(c.At.VA), c.At.Bytes(), protOf(c.Op.Prot))
	return err
}

// setPKRU sets the rights of protection keys.
func (p *process) setPKRU(value uint64) error {
	p.pkru = value
	return p.ring(wire.OpPKRU, value)
}

// protectKey is pkey_mprotect; keys that are not allocated yet are, which must not change their rights.
func (p *process) protectKey(va, length, prot uint64, key int) error {
	for p.pkeys < key {
		n, err := p.call(unix.SYS_PKEY_ALLOC, 0, 0)
		if err != nil {
			return fmt.Errorf("pkey_alloc: %v", err)
		}
		p.pkeys = int(n)
		if err := p.setPKRU(p.pkru); err != nil {
			return err
		}
	}
	_, err := p.call(unix.SYS_PKEY_MPROTECT, va, length, prot, uint64(key))
	return err
}

// opRemap moves pages to the new region, or, onto itself, lets a region grow or shrink where it is.
func opRemap(_ *Target, c *litmus.Call, p *process) error {
	const dontUnmap = 4
	flags := uint64(unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED)
	if c.New == c.At.VA {
		flags = 0
	}
	if c.Op.Has("dontunmap") {
		flags |= dontUnmap
	}
	length := c.Op.Num("pages", uint64(c.At.Pages)) * x86.PageSize
	_, err := p.call(unix.SYS_MREMAP, uint64(c.At.VA), c.At.Bytes(), length, flags, uint64(c.New))
	return err
}

// The advices of madvise. Linux: include/uapi/asm-generic/mman-common.h
var advices = map[string]uint64{
	"dontneed": unix.MADV_DONTNEED, "free": unix.MADV_FREE, "cold": unix.MADV_COLD, "pageout": unix.MADV_PAGEOUT,
	"hugepage": unix.MADV_HUGEPAGE, "nohugepage": unix.MADV_NOHUGEPAGE, "collapse": unix.MADV_COLLAPSE, "hwpoison": unix.MADV_HWPOISON,
	"guard-install": 102, "guard-remove": 103, "populate-read": unix.MADV_POPULATE_READ, "populate-write": unix.MADV_POPULATE_WRITE,
	"mergeable": unix.MADV_MERGEABLE, "unmergeable": unix.MADV_UNMERGEABLE, "dontfork": unix.MADV_DONTFORK, "dofork": unix.MADV_DOFORK,
	"wipeonfork": unix.MADV_WIPEONFORK, "keeponfork": unix.MADV_KEEPONFORK, "remove": unix.MADV_REMOVE,
}

func (t *Target) advise(c *litmus.Call, p *process, name string) error {
	advice, ok := advices[name]
	if !ok {
		return fmt.Errorf("no advice %s", name)
	}
	_, err := p.call(unix.SYS_MADVISE, uint64(c.At.VA), c.At.Bytes(), advice)
	return err
}

func opFork(t *Target, c *litmus.Call, p *process) error {
	if t.processes[c.Op.Name] != nil {
		return fmt.Errorf("there is a process %s already", c.Op.Name)
	}
	n, err := t.freeSlot()
	if err != nil {
		return err
	}
	t.k.init.SetWord(wire.Forked, 0)
	if err := p.ring(wire.OpFork, uint64(n)); err != nil {
		return err
	}
	pid := p.slot.Word(wire.Result)
	if err := errnoError(pid); err != nil {
		return err
	}
	child := &process{name: c.Op.Name, n: n, pid: int(pid), pkeys: p.pkeys, pkru: p.pkru}
	return errors.Join(t.meet(child), t.k.adopt(child, p))
}

func opExit(t *Target, c *litmus.Call, p *process) error {
	delete(t.processes, c.Process)
	_, err := p.call(unix.SYS_EXIT_GROUP, 0)
	if o := outcome(err); o.Faults == "killed" {
		return nil
	}
	return fmt.Errorf("process %s does not exit: %v", strconv.Quote(c.Process), err)
}
