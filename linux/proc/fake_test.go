package proc

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/physmem"
)

// fake is a machine with a tiny kernel, made by hand: an image of 2 MiB at 16 MiB, and structures behind it. Its
// members lie elsewhere than in any real kernel.
type fake struct {
	t      testing.TB
	frames map[x86.PFN]*physmem.Frame
	off    map[string]uint64 // of each member: "struct.member", bits 0-31; its size in bytes above
	next   x86.Phys          // where the next structure goes
	cpu    linux.CPU
	init   x86.Virt // init_task
	last   x86.Virt // the task that was linked last
	pgds   int
	old    bool // of a kernel before 6.1
	ranges []physmem.Range
}

const (
	fakeImage  = x86.Virt(0xffffffff81000000)
	fakePhys   = x86.Phys(16 << 20)
	fakeDirect = x86.Virt(0xffff888000000000)
	fakeRAM    = x86.Phys(32 << 20)
	fakeRoot   = fakePhys + 0x1000 // init_mm's, in the image
	fakeBTF    = fakePhys + 0x8000
	fakeTask   = fakePhys + 0x20000 // init_task
	fakePerCPU = fakePhys + 18<<20 - 16<<20 + 0x10000
	fakeHeap   = fakePhys + 4<<20
	kernelPage = x86.PagePresent | x86.PageRW | x86.PageAccessed | x86.PageDirty
)

func (f *fake) frame(pfn x86.PFN) *physmem.Frame {
	if f.frames[pfn] == nil {
		f.frames[pfn] = new(physmem.Frame)
	}
	return f.frames[pfn]
}

// Ranges implements [physmem.Reader].
func (f *fake) Ranges() []physmem.Range {
	if f.ranges == nil {
		for _, pfn := range f.sortedFrames() {
			if n := len(f.ranges); n > 0 && f.ranges[n-1].End == pfn.Phys() {
				f.ranges[n-1].End += x86.PageSize
			} else {
				f.ranges = append(f.ranges, physmem.Range{Start: pfn.Phys(), End: pfn.Phys() + x86.PageSize})
			}
		}
	}
	return f.ranges
}

// ReadFrame implements [physmem.Reader].
func (f *fake) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	got := f.frames[pfn]
	if got == nil {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	*dst = *got
	return nil
}

func (f *fake) writePhys(pa x86.Phys, b []byte) {
	for len(b) > 0 {
		n := copy(f.frame(pa.PFN())[pa.Offset():], b)
		b, pa = b[n:], pa+x86.Phys(n)
	}
}

func (f *fake) phys(va x86.Virt) x86.Phys {
	if va >= fakeImage {
		return x86.Phys(va-fakeImage) + fakePhys
	}
	return x86.Phys(va - fakeDirect)
}

func (f *fake) write(va x86.Virt, b []byte) { f.writePhys(f.phys(va), b) }

func (f *fake) word(va x86.Virt, v uint64) { f.write(va, binary.LittleEndian.AppendUint64(nil, v)) }

// set writes a member of the structure at va, with the size that it has.
func (f *fake) set(va x86.Virt, name string, v uint64) {
	m, ok := f.off[name]
	if !ok {
		f.t.Fatalf("no member %s", name)
	}
	f.write(va+x86.Virt(uint32(m)), binary.LittleEndian.AppendUint64(nil, v)[:min(m>>32, 8)])
}

func (f *fake) at(va x86.Virt, name string) x86.Virt {
	m, ok := f.off[name]
	if !ok {
		f.t.Fatalf("no member %s", name)
	}
	return va + x86.Virt(uint32(m))
}

// alloc returns the address of size bytes of zeros, aligned as maple nodes are.
func (f *fake) alloc(size int) x86.Virt {
	va := fakeDirect + x86.Virt(f.next)
	f.write(va, make([]byte, size))
	f.next += x86.Phys(size+255) &^ 255
	return va
}

func (f *fake) text(s string) x86.Virt {
	va := f.alloc(len(s) + 1)
	f.write(va, []byte(s))
	return va
}

// newFake makes the machine with init_task and no other process.
func newFake(t testing.TB) *fake { return makeFake(t, false) }

func makeFake(t testing.TB, old bool) *fake {
	f := &fake{t: t, old: old, frames: map[x86.PFN]*physmem.Frame{}, off: map[string]uint64{}, next: fakeHeap}
	f.writePhys(fakeBTF, f.types())
	f.tables()
	f.cpu = linux.CPU{CR0: x86.CR0PG, CR4: x86.CR4PAE, CR3: uint64(fakeRoot), KernelGSBase: fakeDirect + x86.Virt(fakePerCPU)}
	f.init = fakeImage + x86.Virt(fakeTask-fakePhys)
	f.last = f.init
	f.fill(f.init, 0, "swapper/0", f.init)
	node := uint64(f.at(f.init, "task_struct.tasks"))
	f.set(f.init, "task_struct.tasks.next", node)
	f.set(f.init, "task_struct.tasks.prev", node)
	return f
}

// tables makes init_mm's tables: the image and RAM in pages of 2 MiB.
func (f *fake) tables() {
	table := func(pa x86.Phys, va x86.Virt, l x86.Level, e uint64) {
		f.writePhys(pa+x86.Phys(8*va.Index(l)), binary.LittleEndian.AppendUint64(nil, e))
	}
	pa := fakeRoot
	for _, area := range []struct {
		va    x86.Virt
		pa    x86.Phys
		pages int
	}{{fakeImage, fakePhys, 2}, {fakeDirect, 0, int(fakeRAM >> 21)}} {
		pud, pmd := pa+0x1000, pa+0x2000
		table(fakeRoot, area.va, x86.LevelP4D, uint64(pud)|kernelPage)
		table(pud, area.va, x86.LevelPUD, uint64(pmd)|kernelPage)
		for i := range area.pages {
			table(pmd, area.va+x86.Virt(i)<<21, x86.LevelPMD, uint64(area.pa+x86.Phys(i)<<21)|kernelPage|x86.PagePSE)
		}
		pa = pmd
	}
}

// note is the VMCOREINFO of the machine.
func (f *fake) note() []byte {
	return fmt.Appendf(nil, "OSRELEASE=7.2.0\nSYMBOL(swapper_pg_dir)=%x\nNUMBER(phys_base)=0\n", uint64(fakeImage)+uint64(fakeRoot-fakePhys))
}

// detect finds out what there is to know of the machine.
func (f *fake) detect() *linux.System {
	s, err := linux.Detect(f, f.note(), []linux.CPU{f.cpu}, linux.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// fill writes what every task has. Its one thread is itself.
func (f *fake) fill(task x86.Virt, pid int, comm string, parent x86.Virt) {
	f.set(task, "task_struct.pid", uint64(pid))
	f.set(task, "task_struct.tgid", uint64(pid))
	f.write(f.at(task, "task_struct.comm"), []byte(comm)[:min(len(comm), 16)])
	f.set(task, "task_struct.real_parent", uint64(parent))
	if f.old {
		f.link(f.at(task, "task_struct.thread_group"))
		return
	}
	signal := f.alloc(64)
	f.set(task, "task_struct.signal", uint64(signal))
	f.link(f.at(signal, "signal_struct.thread_head"), f.at(task, "task_struct.thread_node"))
}

// link makes a ring of list_heads.
func (f *fake) link(nodes ...x86.Virt) {
	for i, n := range nodes {
		next := nodes[(i+1)%len(nodes)]
		f.word(n, uint64(next))
		f.word(next+8, uint64(n))
	}
}

// task adds a process behind the last.
func (f *fake) task(pid int, comm string, mm x86.Virt) x86.Virt {
	task := f.alloc(512)
	f.fill(task, pid, comm, f.init)
	f.set(task, "task_struct.mm", uint64(mm))
	if mm == 0 {
		f.set(task, "task_struct.flags", pfKthread)
	}
	node, first, last := f.at(task, "task_struct.tasks"), f.at(f.init, "task_struct.tasks"), f.at(f.last, "task_struct.tasks")
	f.word(last, uint64(node))
	f.word(node+8, uint64(last))
	f.word(node, uint64(first))
	f.word(first+8, uint64(node))
	f.last = task
	return task
}

// mm makes an address space with a root table that maps one frame, and these areas in its maple tree.
func (f *fake) mm(areas ...x86.Virt) x86.Virt {
	mm := f.alloc(256)
	root := x86.PFN(0x300 + 2*f.pgds)
	f.pgds++
	*f.frame(root) = *f.frame(fakeRoot.PFN())
	f.writePhys(root.Phys(), binary.LittleEndian.AppendUint64(nil, uint64(root.Phys())|kernelPage|x86.PageUser))
	f.set(mm, "mm_struct.pgd", uint64(fakeDirect)+uint64(root.Phys()))
	if !f.old {
		f.set(mm, "mm_struct.ma_root", f.tree(areas))
	}
	for i, a := range areas {
		f.set(a, "vm_area_struct.vm_mm", uint64(mm))
		switch {
		case !f.old:
		case i == 0:
			f.set(mm, "mm_struct.mmap", uint64(a))
		default:
			f.set(areas[i-1], "vm_area_struct.vm_next", uint64(a))
		}
	}
	return mm
}

// vma makes an area.
func (f *fake) vma(start, end x86.Virt, flags uint64) x86.Virt {
	v := f.alloc(192)
	f.set(v, "vm_area_struct.vm_start", uint64(start))
	f.set(v, "vm_area_struct.vm_end", uint64(end))
	f.set(v, "vm_area_struct.flags", flags)
	return v
}

// slot is what a maple node maps from the end of the slot before it to last.
type slot struct {
	last uint64
	p    uint64
}

// tree makes a maple tree of leaves with up to four areas, below one node.
func (f *fake) tree(areas []x86.Virt) uint64 {
	var leaves []slot
	next := uint64(0)
	for part := range slices.Chunk(areas, 4) {
		var slots []slot
		for _, a := range part {
			b := make([]byte, 16)
			for i := range b { // vm_start and vm_end lie side by side
				pa := f.phys(f.at(a, "vm_area_struct.vm_start")) + x86.Phys(i)
				b[i] = f.frame(pa.PFN())[pa.Offset()]
			}
			start, end := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
			if start > next {
				slots = append(slots, slot{start - 1, 0})
			}
			slots = append(slots, slot{end - 1, uint64(a)})
			next = end
		}
		leaves = append(leaves, slot{next - 1, f.node(fakeLeaf, slots)})
	}
	if len(leaves) == 0 {
		return 0
	}
	leaves[len(leaves)-1].last = ^uint64(0)
	return f.node(fakeArange, leaves) | 2
}

// The numbers of the types of maple nodes, as the fake kernel's enumeration has them.
const (
	fakeDense, fakeLeaf, fakeRange, fakeArange = 5, 4, 3, 2
)

// node makes a maple node and returns the pointer to it.
func (f *fake) node(typ uint64, slots []slot) uint64 {
	kind := "maple_range_64"
	if typ == fakeArange {
		kind = "maple_arange_64"
	}
	n := f.alloc(256)
	for i, s := range slots {
		if i < len(slots)-1 || s.last != ^uint64(0) {
			f.word(f.at(n, kind+".pivot")+x86.Virt(8*i), s.last)
		}
		f.word(f.at(n, kind+".slot")+x86.Virt(8*i), s.p)
	}
	end := len(slots) - 1
	if last := slots[end].last; last != ^uint64(0) && typ != fakeArange {
		end++ // what is above the last area is empty
	}
	f.set(n, kind+".end", uint64(end))
	return uint64(n) | typ<<mapleTypeShift | 4
}

// types makes the type information, and notes where the members are.
func (f *fake) types() []byte {
	b, err := btf.NewBuilder(f.fakeTypes(), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// sortedFrames are the numbers of the frames that there are.
func (f *fake) sortedFrames() []x86.PFN { return slices.Sorted(maps.Keys(f.frames)) }
