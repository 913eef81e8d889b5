//go:build linux && amd64

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// entry reads what is in leaf position, from the guest's memory.
func (t *Target) entry(p *process, va x86.Virt) (litmus.Entry, error) {
	if t.k.this {
		return entryOfThis(p, va)
	}
	none := litmus.Entry{Level: x86.LevelPTE}
	pfn := p.root
	for l := t.k.abi.Paging().Root(); ; l-- {
		table := t.k.m.Frame(pfn)
		if table == nil {
			return none, &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
		}
		e := binary.LittleEndian.Uint64(table[va.Index(l)*8:])
		switch {
		case l == x86.LevelPTE:
			return litmus.Entry{Level: l, Raw: e}, nil
		case e == 0 || l > x86.LevelPMD && e&x86.PagePresent == 0:
			return none, nil
		case l == x86.LevelPMD && e&(x86.PagePresent|x86.PagePSE) != x86.PagePresent:
			return litmus.Entry{Level: l, Raw: e}, nil
		}
		pfn = t.k.abi.TableFrame(e)
	}
}

// Raw returns what is in leaf position at an address of a process, without the page behind it.
func (t *Target) Raw(process string, va x86.Virt) (litmus.Entry, error) {
	p := t.processes[process]
	if p == nil {
		return litmus.Entry{}, fmt.Errorf("there is no process %s any more", process)
	}
	return t.entry(p, va)
}

// Entry implements [litmus.Target].
func (t *Target) Entry(process string, va x86.Virt) (litmus.Entry, error) {
	v, err := t.Raw(process, va)
	if err != nil {
		return v, err
	}
	pfn, ok := t.pfnOf(&v)
	if !ok {
		return v, nil
	}
	if v.Level == x86.LevelPMD {
		pfn += x86.PFN(va.Index(x86.LevelPTE))
	}
	v.PFN = pfn
	if v.Page, err = t.page(pfn); err != nil || v.Page == nil || t.k.this {
		return v, err
	}
	return v, t.pageFacts(pfn, v.Page)
}

// pfnOf returns the frame that an entry names: of a page, or of one that is on its way.
func (t *Target) pfnOf(v *litmus.Entry) (x86.PFN, bool) {
	d := t.k.layout.Decode(v.Level, v.Raw)
	switch {
	case d.Kind != swapentry.KindPresent:
		return d.PFN, d.Kind.HasPFN()
	case v.Level == x86.LevelPMD:
		return x86.PMD(v.Raw).PFN(t.k.abi), true
	}
	return x86.PTE(v.Raw).PFN(t.k.abi), true
}

// page is what is known of a frame.
func (t *Target) page(pfn x86.PFN) (*litmus.Page, error) {
	b := t.k.m.Frame(pfn)
	if b == nil {
		return nil, nil
	}
	return &litmus.Page{
		Node: t.k.m.Node(pfn), Contents: b[0], Uniform: bytes.Count(b, b[:1]) == len(b), ContentsAreKnown: true,
	}, nil
}

// Area implements [litmus.Target]: as /proc/pid/smaps shows it. vm_page_prot is not known.
func (t *Target) Area(process string, va x86.Virt) (litmus.Area, bool, error) {
	p := t.processes[process]
	if p == nil {
		return litmus.Area{}, false, fmt.Errorf("there is no process %s any more", process)
	}
	text, err := t.k.read(fmt.Sprintf("/proc/%d/smaps", p.pid))
	if err != nil {
		return litmus.Area{}, false, err
	}
	var a litmus.Area
	inside := false
	for line := range strings.Lines(string(text)) {
		if start, end, ok := parseRange(line); ok {
			a = litmus.Area{Start: start, End: end}
			inside = va >= start && va < end
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			a.Flags = strings.Fields(flags)
			return a, true, nil
		}
	}
	return litmus.Area{}, false, nil
}

// parseRange reads the line that begins an area.
func parseRange(line string) (start, end x86.Virt, ok bool) {
	span, _, _ := strings.Cut(line, " ")
	low, high, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, false
	}
	a, err1 := strconv.ParseUint(low, 16, 64)
	b, err2 := strconv.ParseUint(high, 16, 64)
	return x86.Virt(a), x86.Virt(b), err1 == nil && err2 == nil
}

// unseen are the expectations that neither tables nor memory nor the files of procfs answer.
var unseen = map[string]bool{
	"point": true, "fault": true, "anon-exclusive": true, "pinned": true, "page-dirty": true, "flush-pending": true, "refs": true,
	"vm-page-prot": true,
}

// Sees implements [litmus.Partial].
func (t *Target) Sees(item string) bool { return !unseen[item] }
