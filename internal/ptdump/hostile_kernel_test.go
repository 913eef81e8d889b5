package ptdump

import (
	"debug/elf"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
	"ptemu/linux/ktype"
	"ptemu/linux/proc"
)

var hostileRounds = flag.Int("hostile-rounds", 1, "how often TestHostileKernels alters a kernel in each way")

// hostileKernel is a copy of a whole capture whose kernel is altered in place, and put right again.
type hostileKernel struct {
	*rand.Rand
	t     *testing.T
	path  string
	file  *os.File
	loads []elf.ProgHeader
	mem   *linux.KernelMemory
	sys   *linux.System
	syms  *kallsyms.Symbols
	types *ktype.Types
	btf   [2]x86.Virt
	procs []*proc.Process // with an address space and areas
	undo  []func()
}

// newHostileKernel copies a capture and finds what is to be altered.
func newHostileKernel(t *testing.T, from string) *hostileKernel {
	k := &hostileKernel{t: t, path: filepath.Join(t.TempDir(), "altered.elf")}
	k.check(k.copy(from))
	whole, err := elf.Open(k.path)
	k.check(err)
	for _, p := range whole.Progs {
		if p.Type == elf.PT_LOAD {
			k.loads = append(k.loads, p.ProgHeader)
		}
	}
	k.check(whole.Close())
	in, err := session.OpenForProcesses(t.Context(), from, &session.Options{CPU: -1, Root: session.RootNames[0]})
	k.check(err)
	t.Cleanup(func() { in.Close() })
	k.sys = in.System
	k.mem, err = k.sys.Memory(in.Mem)
	k.check(err)
	k.syms, err = kallsyms.Parse(k.mem, k.sys.VMCoreInfo)
	k.check(err)
	k.btf = [2]x86.Virt{k.symbol("__start_BTF"), k.symbol("__stop_BTF")}
	blob := make([]byte, k.btf[1]-k.btf[0])
	k.check(k.mem.ReadAt(blob, k.btf[0]))
	k.types, err = ktype.Parse(blob)
	k.check(err)
	found, err := in.Processes(t.Context(), proc.Options{})
	k.check(err)
	for _, s := range found.User {
		if len(s.MM.Areas) > 0 {
			k.procs = append(k.procs, s.Procs...)
		}
	}
	return k
}

func (k *hostileKernel) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *hostileKernel) copy(from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if k.file, err = os.Create(k.path); err != nil {
		return err
	}
	k.t.Cleanup(func() { k.file.Close() })
	_, err = io.Copy(k.file, src)
	return err
}

func (k *hostileKernel) symbol(name string) x86.Virt {
	va, ok := k.syms.Lookup(name)
	if !ok {
		k.t.Fatalf("no symbol %s", name)
	}
	return va
}

func (k *hostileKernel) offset(typ, path string) x86.Virt {
	off, err := k.types.Offset(typ, path)
	k.check(err)
	return x86.Virt(off)
}

func (k *hostileKernel) read(va x86.Virt) x86.Virt {
	v, err := k.mem.Uint64(va)
	k.check(err)
	return x86.Virt(v)
}

// poke writes into the altered kernel.
func (k *hostileKernel) poke(va x86.Virt, b []byte) {
	for len(b) > 0 {
		n := min(len(b), int(x86.PageSize-va.Offset()))
		if pa, err := k.mem.Phys(va); err == nil {
			k.pokePhys(pa, b[:n])
		}
		b, va = b[n:], va+x86.Virt(n)
	}
}

func (k *hostileKernel) pokePhys(pa x86.Phys, b []byte) {
	for _, p := range k.loads {
		if uint64(pa) >= p.Paddr && uint64(pa)+uint64(len(b)) <= p.Paddr+p.Filesz {
			k.pokeFile(int64(uint64(pa)-p.Paddr+p.Off), b)
		}
	}
}

func (k *hostileKernel) pokeFile(off int64, b []byte) {
	old := make([]byte, len(b))
	_, err := k.file.ReadAt(old, off)
	k.check(err)
	_, err = k.file.WriteAt(b, off)
	k.check(err)
	k.undo = append(k.undo, func() {
		_, err := k.file.WriteAt(old, off)
		k.check(err)
	})
}

func (k *hostileKernel) pokeWord(va x86.Virt, v uint64) {
	k.poke(va, binary.LittleEndian.AppendUint64(nil, v))
}

func (k *hostileKernel) restore() {
	for i := len(k.undo) - 1; i >= 0; i-- {
		k.undo[i]()
	}
	k.undo = nil
}

func (k *hostileKernel) process() *proc.Process { return k.procs[k.IntN(len(k.procs))] }

func (k *hostileKernel) area() *proc.VMA {
	areas := k.process().MM.Areas
	return &areas[k.IntN(len(areas))]
}

// pointer is what a damaged pointer may be.
func (k *hostileKernel) pointer(self x86.Virt) uint64 {
	other := k.process()
	all := []x86.Virt{
		self, 0, 1, self + 8, self - 0x40, 0x7fff00001000, other.Task, other.Task + 0x123, other.MM.Addr, k.area().Addr, k.symbol("init_task"),
		k.btf[0], k.symbol("_stext"), ^x86.Virt(0), ^x86.Virt(7), k.sys.Layout.DirectMap.Addr, x86.Virt(k.Uint64()), self ^ 1<<k.IntN(64),
	}
	return uint64(all[k.IntN(len(all))])
}

// words damages some words of what lies at va.
func (k *hostileKernel) words(va x86.Virt, size uint64) {
	for range 1 << k.IntN(7) {
		at := va + x86.Virt(k.Uint64N(size/8)*8)
		k.pokeWord(at, k.pointer(at))
	}
}

func (k *hostileKernel) size(typ string) uint64 {
	n, err := k.types.Size(typ)
	k.check(err)
	return n
}

// mapleNode returns a node of a process's tree, and a pointer to it.
func (k *hostileKernel) mapleNode() (node x86.Virt, pointer uint64) {
	p := uint64(k.read(k.process().MM.Addr + k.offset("mm_struct", "mm_mt.ma_root")))
	slot := k.offset("maple_arange_64", "slot")
	for p>>3&0xf == k.types.Constants("maple_")["maple_arange_64"] && k.IntN(2) == 0 {
		p = uint64(k.read(x86.Virt(p&^0xff) + slot))
	}
	return x86.Virt(p &^ 0xff), p
}

// file returns the struct file of an area.
func (k *hostileKernel) fileOf() x86.Virt {
	for {
		if a := k.area(); a.File != nil {
			return k.read(a.Addr + k.offset("vm_area_struct", "vm_file"))
		}
	}
}

// tables returns the root and a table below it, and the entry that leads there.
func (k *hostileKernel) table() (table, entry x86.Phys) {
	table = k.process().MM.Roots.Kernel
	if k.IntN(4) == 0 {
		table = k.sys.InitMM.Kernel
	}
	direct := k.sys.Layout.DirectMap.Addr
	entry = table
	for depth := k.IntN(3); depth >= 0; depth-- {
		var used []x86.Phys
		for i := range x86.Phys(x86.EntriesPerTable) {
			if e := uint64(k.read(direct + x86.Virt(table+8*i))); e&x86.PagePresent != 0 && e&x86.PagePSE == 0 {
				used = append(used, table+8*i)
			}
		}
		if len(used) == 0 {
			break
		}
		entry = used[k.IntN(len(used))]
		if depth > 0 {
			table = k.sys.ABI.TableFrame(uint64(k.read(direct + x86.Virt(entry)))).Phys()
		}
	}
	return table, entry
}

// hostileWays alter a kernel.
var hostileWays = []struct {
	name  string
	alter func(*hostileKernel)
}{
	{"nothing", func(*hostileKernel) {}},
	{"type information", func(k *hostileKernel) {
		for range 1 << k.IntN(14) {
			at := k.btf[0] + x86.Virt(k.Uint64N(uint64(k.btf[1]-k.btf[0])/4)*4)
			v := []uint32{0, 1, k.Uint32N(1 << 17), k.Uint32(), ^uint32(0), 0x04ffffff, 0x0400ffff}[k.IntN(7)]
			k.poke(at, binary.LittleEndian.AppendUint32(nil, v))
		}
	}},
	{"header of the type information", func(k *hostileKernel) {
		k.poke(k.btf[0]+x86.Virt(4*k.IntN(6)), binary.LittleEndian.AppendUint32(nil, []uint32{0, 24, ^uint32(0), 32 << 20, k.Uint32()}[k.IntN(5)]))
	}},
	{"kallsyms", func(k *hostileKernel) {
		noted := func(name string) x86.Virt {
			va, ok := k.sys.VMCoreInfo.Symbol(name)
			if !ok {
				k.t.Fatalf("VMCOREINFO has no %s", name)
			}
			return va
		}
		first, last := noted("kallsyms_names"), noted("kallsyms_token_index")
		if first > last {
			first, last = last, first
		}
		if k.IntN(3) == 0 {
			k.poke(noted("kallsyms_num_syms"), binary.LittleEndian.AppendUint32(nil, []uint32{0, 1, 1 << 20, 1 << 30, ^uint32(0)}[k.IntN(5)]))
		}
		for range 1 << k.IntN(14) {
			k.poke(first+x86.Virt(k.Uint64N(uint64(last-first)+512)), []byte{byte(k.Uint32())})
		}
	}},
	{"VMCOREINFO", func(k *hostileKernel) {
		head := make([]byte, 64<<10)
		_, err := k.file.ReadAt(head, 0)
		k.check(err)
		text := strings.Index(string(head), "OSRELEASE=")
		for range 1 << k.IntN(8) {
			k.pokeFile(int64(text+k.IntN(4000)), []byte{"0123456789abcdef=\n()\x1b"[k.IntN(21)]})
		}
	}},
	{"list of tasks", func(k *hostileKernel) {
		for range 1 + k.IntN(3) {
			node := k.process().Task + k.offset("task_struct", "tasks")
			k.pokeWord(node+8*x86.Virt(k.IntN(2)), k.pointer(node))
		}
	}},
	{"two tasks of a cycle", func(k *hostileKernel) {
		a, b := k.process().Task+k.offset("task_struct", "tasks"), k.process().Task+k.offset("task_struct", "tasks")
		k.pokeWord(a, uint64(b))
		k.pokeWord(b, uint64(a))
		k.pokeWord(b+8, uint64(b))
	}},
	{"tasks", func(k *hostileKernel) { k.words(k.process().Task, k.size("task_struct")) }},
	{"signal_struct", func(k *hostileKernel) {
		signal := k.read(k.process().Task + k.offset("task_struct", "signal"))
		k.words(signal+k.offset("signal_struct", "thread_head"), 16)
	}},
	{"name without an end", func(k *hostileKernel) {
		for range 10 {
			k.poke(k.process().Task+k.offset("task_struct", "comm"), []byte(strings.Repeat("\x1b[2J\xff\n%s", 8)))
		}
	}},
	{"mm_struct", func(k *hostileKernel) { k.words(k.process().MM.Addr, k.size("mm_struct")) }},
	{"roots", func(k *hostileKernel) {
		for range 1 + k.IntN(4) {
			at := k.process().MM.Addr + k.offset("mm_struct", "pgd")
			k.pokeWord(at, k.pointer(at))
		}
	}},
	{"roots that are frames", func(k *hostileKernel) {
		for range 4 {
			frame := k.Uint64N(uint64(k.sys.Layout.DirectMapEnd-k.sys.Layout.DirectMap.Addr)) &^ (x86.PageSize - 1)
			k.pokeWord(k.process().MM.Addr+k.offset("mm_struct", "pgd"), uint64(k.sys.Layout.DirectMap.Addr)+frame)
		}
	}},
	{"maple nodes", func(k *hostileKernel) {
		for range 1 + k.IntN(6) {
			node, _ := k.mapleNode()
			k.words(node, 256)
		}
	}},
	{"maple cycles", func(k *hostileKernel) {
		a, p := k.mapleNode()
		b, q := k.mapleNode()
		for i := range x86.Virt(32) {
			k.pokeWord(a+8*i, q)
			k.pokeWord(b+8*i, p)
		}
	}},
	{"maple types", func(k *hostileKernel) {
		at := k.process().MM.Addr + k.offset("mm_struct", "mm_mt.ma_root")
		k.pokeWord(at, uint64(k.read(at))^(1+k.Uint64N(255)))
	}},
	{"areas", func(k *hostileKernel) {
		for range 1 + k.IntN(20) {
			k.words(k.area().Addr, k.size("vm_area_struct"))
		}
	}},
	{"flags of areas", func(k *hostileKernel) {
		for range 30 {
			k.pokeWord(k.area().Addr+k.offset("vm_area_struct", "vm_flags"), k.Uint64())
		}
	}},
	{"files", func(k *hostileKernel) { k.words(k.fileOf(), k.size("file")) }},
	{"dentries", func(k *hostileKernel) {
		dentry := k.read(k.fileOf() + k.offset("file", "f_path.dentry"))
		parent := k.read(dentry + k.offset("dentry", "d_parent"))
		switch k.IntN(3) {
		case 0:
			k.pokeWord(parent+k.offset("dentry", "d_parent"), uint64(dentry))
		case 1:
			k.poke(dentry+k.offset("dentry", "d_name.len"), []byte{255, 255, 255, 255})
		default:
			k.words(dentry, k.size("dentry"))
		}
	}},
	{"mounts", func(k *hostileKernel) {
		mnt := k.read(k.fileOf() + k.offset("file", "f_path.mnt"))
		mount := mnt - k.offset("mount", "mnt")
		if k.IntN(2) == 0 {
			k.pokeWord(mnt+k.offset("vfsmount", "mnt_root"), uint64(k.read(k.fileOf()+k.offset("file", "f_path.dentry"))))
			k.pokeWord(mount+k.offset("mount", "mnt_mountpoint"), uint64(k.read(k.fileOf()+k.offset("file", "f_path.dentry"))))
		}
		k.words(mount, k.size("mount"))
	}},
	{"entries", func(k *hostileKernel) {
		for range 1 << k.IntN(8) {
			table, _ := k.table()
			k.pokePhys(table+8*x86.Phys(k.IntN(512)), binary.LittleEndian.AppendUint64(nil, k.Uint64()))
		}
	}},
	{"tables that lead to themselves", func(k *hostileKernel) {
		for range 1 << k.IntN(8) {
			table, _ := k.table()
			k.pokePhys(table+8*x86.Phys(k.IntN(512)), binary.LittleEndian.AppendUint64(nil, uint64(table)|x86.PageTable))
		}
	}},
	{"tables that lead to the root", func(k *hostileKernel) {
		for range 64 {
			_, entry := k.table()
			k.pokePhys(entry, binary.LittleEndian.AppendUint64(nil, uint64(k.process().MM.Roots.Kernel)|x86.PageTable))
		}
	}},
	{"a table of tables", func(k *hostileKernel) {
		root, other := k.process().MM.Roots.Kernel, k.process().MM.Roots.Kernel
		for i := range x86.Phys(256) {
			k.pokePhys(root+8*i, binary.LittleEndian.AppendUint64(nil, uint64(other)|x86.PageTable))
			k.pokePhys(other+8*i, binary.LittleEndian.AppendUint64(nil, uint64(root)|x86.PageTable))
		}
	}},
	{"anything of the kernel", func(k *hostileKernel) {
		first, last := k.symbol("_stext"), k.symbol("_end")
		for range 1 << k.IntN(15) {
			at := first + x86.Virt(k.Uint64N(uint64(last-first)))&^7
			k.pokeWord(at, k.pointer(at))
		}
	}},
	{"anything", func(k *hostileKernel) {
		size := uint64(k.sys.Layout.DirectMapEnd - k.sys.Layout.DirectMap.Addr)
		for range 1 << k.IntN(16) {
			at := k.sys.Layout.DirectMap.Addr + x86.Virt(k.Uint64N(size))&^7
			k.pokeWord(at, k.pointer(at))
		}
	}},
}

// TestHostileKernels alters the kernels of real captures: each command ends soon, in little memory, and says what it could not use.
func TestHostileKernels(t *testing.T) {
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range folders {
		full := filepath.Join(f.Dir, "full.elf")
		if _, err := os.Stat(full); err != nil || !strings.HasPrefix(f.Name(), "procs-") {
			continue
		}
		n++
		t.Run(f.Name(), func(t *testing.T) {
			k := newHostileKernel(t, full)
			out := filepath.Join(t.TempDir(), "out")
			for round := range *hostileRounds {
				for i, way := range hostileWays {
					k.Rand = rand.New(rand.NewPCG(uint64(round), uint64(i)))
					way.alter(k)
					pid := fmt.Sprint(k.process().PID)
					all := [][]string{
						{"ps", "--threads", k.path}, {"audit", k.path}, {"maps", k.path, pid}, {"extract", k.path, "-o", out + ".elf"},
						{"who", k.path, "5000000+1M"}, {"diff", full, k.path}, {"map", k.path, pid, "-o", out + ".html"}, {"who", "--all", "--min", "2", k.path},
						{"diff", k.path, full}, {"map", k.path, "-o", out + ".svg"}, {"info", k.path},
					}
					for _, args := range [][]string{all[(i+round)%len(all)], all[(2*i+7*round+1)%len(all)]} {
						exit, stderr := survive(t, fmt.Sprintf("%s, round %d", way.name, round), args...)
						t.Logf("%s, round %d: %s: exit %d: %.120q", way.name, round, args[0], exit, stderr)
					}
					k.restore()
				}
			}
		})
	}
	if n == 0 {
		t.Skip("no whole captures of machines with many processes: name some in PTEMU_CAPTURES")
	}
}
