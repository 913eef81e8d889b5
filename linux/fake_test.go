package linux

import (
	"encoding/binary"
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// machineRAM is memory that tests fill; frames that were never written are absent.
type machineRAM struct {
	frames map[x86.PFN]*physmem.Frame
	size   x86.Phys
	reads  int
}

func newRAM(size x86.Phys) *machineRAM {
	return &machineRAM{frames: map[x86.PFN]*physmem.Frame{}, size: size}
}

func (m *machineRAM) Ranges() []physmem.Range { return []physmem.Range{{End: m.size}} }

func (m *machineRAM) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	m.reads++
	f := m.frames[pfn]
	if f == nil {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	*dst = *f
	return nil
}

func (m *machineRAM) frame(pfn x86.PFN) *physmem.Frame {
	if m.frames[pfn] == nil {
		m.frames[pfn] = new(physmem.Frame)
	}
	return m.frames[pfn]
}

func (m *machineRAM) get(pfn x86.PFN, i int) uint64 {
	return binary.LittleEndian.Uint64(m.frame(pfn)[8*i:])
}

func (m *machineRAM) set(pfn x86.PFN, i int, e uint64) {
	binary.LittleEndian.PutUint64(m.frame(pfn)[8*i:], e)
}

func (m *machineRAM) write(pa x86.Phys, b []byte) {
	for len(b) > 0 {
		n := copy(m.frame(pa.PFN())[pa.Offset():], b)
		b, pa = b[n:], pa+x86.Phys(n)
	}
}

// tables builds page tables in RAM, taking frames from next on.
type tables struct {
	*machineRAM
	levels int
	enc    uint64
	root   x86.PFN
	next   x86.PFN
}

const (
	rw   = 0x8000000000000163 // PAGE_KERNEL
	rx   = 0x121              // PAGE_KERNEL_ROX
	ro   = 0x8000000000000121 // PAGE_KERNEL_RO
	psel = 0x80
)

func (b *tables) mapLeaf(va x86.Virt, pa x86.Phys, level x86.Level, flags uint64) {
	pfn := b.root
	for l := x86.Level(b.levels); l > level; l-- {
		e := b.get(pfn, va.Index(l))
		if e == 0 {
			e = uint64(b.next.Phys()) | 0x67 | b.enc
			b.frame(b.next)
			b.next++
			b.set(pfn, va.Index(l), e)
		}
		pfn = x86.PFN(e &^ b.enc & 0x000ffffffffff000 >> 12)
	}
	if level > x86.LevelPTE {
		flags |= psel
	}
	b.set(pfn, va.Index(level), uint64(pa)|flags|b.enc)
}

// fake describes a kernel to be made up.
type fake struct {
	levels                   int
	direct, vmalloc, vmemmap x86.Virt
	text                     x86.Virt
	phys                     x86.Phys // of text
	enc                      uint64
}

// fake4's vmemmap lies as close to its vmalloc area as KASLR can put it.
var fake4 = fake{4, 0xffff9a4240000000, 0xffffb123c0000000, 0xffffd123c0000000, 0xffffffff8f400000, 0x3000000, 0}

// make builds the tables of a kernel with 64 MiB of RAM, whose init_mm root lies in its image.
func (k fake) make() *tables {
	b := &tables{machineRAM: newRAM(64 << 20), levels: k.levels, enc: k.enc}
	b.root, b.next = (k.phys + 0x400000).PFN(), 0x100
	b.frame(b.root)
	for pa := x86.Phys(0); pa < 64<<20; pa += 2 << 20 {
		b.mapLeaf(k.direct+x86.Virt(pa), pa, x86.LevelPMD, rw)
	}
	b.mapLeaf(k.text, k.phys, x86.LevelPMD, rx)
	b.mapLeaf(k.text+0x200000, k.phys+0x200000, x86.LevelPMD, ro)
	b.mapLeaf(k.text+0x400000, k.phys+0x400000, x86.LevelPMD, rw)
	b.mapLeaf(k.vmalloc+0x3000, 0x5000, x86.LevelPTE, rw)
	b.mapLeaf(k.vmalloc+k.vmallocSize()-0x1000, 0x8000, x86.LevelPTE, rw)
	b.mapLeaf(k.vmemmap, 0x600000, x86.LevelPMD, rw)
	b.mapLeaf(0xfffffe0000000000, 0x7000, x86.LevelPTE, ro)
	return b
}

func (k fake) vmallocSize() x86.Virt {
	if k.levels == 5 {
		return 12800 << 40
	}
	return 32 << 40
}

func (k fake) abi() *x86.ABI {
	p := x86.DefaultPaging(k.levels)
	p.EncMask = k.enc
	return x86.MustABI(x86.Linux7_2(), p)
}

func (k fake) info() []byte {
	return fmt.Appendf(nil, "OSRELEASE=7.2.1\nSYMBOL(init_top_pgt)=%x\nNUMBER(phys_base)=%d\nNUMBER(pgtable_l5_enabled)=%d\n"+
		"KERNELOFFSET=%x\nNUMBER(KERNEL_IMAGE_SIZE)=1073741824\nNUMBER(sme_mask)=%d\nNUMBER(PG_hwpoison)=21\n",
		uint64(k.text)+0x400000, int64(k.phys)-int64(k.text-startKernelMap), k.levels-4, uint64(k.text-linkAddress), int64(k.enc))
}

func (k fake) check(t *testing.T, l *Layout) {
	t.Helper()
	if l.DirectMap.Addr != k.direct || l.VMalloc.Addr != k.vmalloc || l.VMemmap.Addr != k.vmemmap || l.TextFirst != k.text {
		t.Errorf("layout %+v, want %+v", l, k)
	}
}
