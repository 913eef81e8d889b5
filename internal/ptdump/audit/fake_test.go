package audit

import (
	"fmt"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/swapentry"
)

// auditMachine is a sound machine of 64 MiB with two processes, made by hand: four levels, Linux 6.12. Tests break it in one
// place and look what is found.
type auditMachine struct {
	mem    *pttree.Mem
	abi    *x86.ABI
	kernel x86.PFN
	roots  [2]x86.PFN
	areas  [2][]auditArea
	cpus   []auditCPU
	pti    bool
	noArea bool
}

// Where things are. Frames below ramFrames are RAM.
const (
	ramFrames             = 64 << 20 >> 12
	fakeDirect   x86.Virt = 0xffff888000000000
	fakeVMalloc  x86.Virt = 0xffffc90000000000
	fakeVMemmap  x86.Virt = 0xffffea0000000000
	fakeEntry    x86.Virt = 0xfffffe0000000000
	fakeText     x86.Virt = 0xffffffff81000000
	fakeModules  x86.Virt = 0xffffffffc0000000
	fakeVsyscall x86.Virt = 0xffffffffff600000

	vaText   x86.Virt = 0x400000     // r-x private
	vaData   x86.Virt = 0x600000     // rw- private
	vaShared x86.Virt = 0x700000     // rw- shared
	vaUffd   x86.Virt = 0x800000     // rw- private, uffd-wp
	vaTrack  x86.Virt = 0x900000     // rw- private, soft-dirty tracked
	vaNone   x86.Virt = 0xa00000     // ---
	vaDriver x86.Virt = 0xb00000     // rw- shared, VM_PFNMAP
	vaKey    x86.Virt = 0xc00000     // rw- private, key 5
	vaJIT    x86.Virt = 0xd00000     // rwx private
	vaHuge   x86.Virt = 0x40000000   // rw- private, a huge page
	vaTLB    x86.Virt = 0x8000000000 // rw- shared hugetlb, a table of its own
	vaHole   x86.Virt = 0xe00000     // nothing
)

// Entries.
const (
	eText   = 0x0000000000000025 // r-x
	eData   = 0x8000000000000867 // rw-, dirty, soft-dirty
	eClean  = 0x8000000000000025 // r--
	eNone   = 0x040ffffffffff920 // PROT_NONE of frame 0, to be exclusive-ored with a frame
	eUffd   = 0x8400000000000425 // r--, saved-dirty, uffd-wp
	eKernel = 0x8000000000000163
	eROX    = 0x0000000000000121
	eRO     = 0x8000000000000121
)

func at(e uint64, frame uint64) uint64 { return e ^ frame<<12 }

// newAuditMachine makes the machine, with PTI if asked.
func newAuditMachine(pti bool) *auditMachine {
	m := &auditMachine{mem: pttree.New(0x3000), pti: pti, abi: x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))}
	m.cpus = []auditCPU{{CPU: 0, CR0: 0x80050033, CR4: 0x370ef0}, {CPU: 1, CR0: 0x80050033, CR4: 0x370ef0}}
	m.kernel = m.root()
	m.kernelTables()
	if pti {
		m.userKernelHalf()
	}
	for i := range m.roots {
		m.roots[i] = m.root()
		copy(m.mem.At(m.roots[i])[256:], m.mem.At(m.kernel)[256:])
		if pti {
			copy(m.mem.At(m.roots[i] + 1)[256:], m.mem.At(m.kernel + 1)[256:])
		}
	}
	for i := range m.roots {
		m.process(i)
		if pti {
			m.splitRoots(i)
		}
	}
	return m
}

// root makes a root table; with PTI a pair, at an even frame.
func (m *auditMachine) root() x86.PFN {
	if !m.pti {
		return m.mem.Table()
	}
	f := m.mem.Table()
	if f&1 != 0 {
		f = m.mem.Table()
	}
	m.mem.Table()
	return f
}

func (m *auditMachine) k(va x86.Virt, l x86.Level, e uint64) {
	m.mem.Map(m.kernel, 4, va, l, e, capturetest.KernelTable)
}

func (m *auditMachine) kernelTables() {
	for i := x86.Virt(0); i < 32; i++ {
		switch pa := uint64(i) << 21; {
		case i == 0 || i == 9: // in pages of 4 KiB
			for j := range uint64(512) {
				m.k(fakeDirect+i<<21+x86.Virt(j)<<12, x86.LevelPTE, eKernel|pa|j<<12)
			}
		case i == 8: // the kernel's text: read-only here, too
			m.k(fakeDirect+i<<21, x86.LevelPMD, eRO|pa|0x80)
		default:
			m.k(fakeDirect+i<<21, x86.LevelPMD, eKernel|pa|0x80)
		}
	}
	m.k(fakeDirect+0x99000, x86.LevelPTE, at(eROX, 0x99)) // starts processors
	m.k(fakeDirect+0x1210000, x86.LevelPTE, at(eRO, 0x1210))
	m.k(fakeVMalloc+0x1000, x86.LevelPTE, at(eKernel, 0x500))
	m.k(fakeVMalloc+0x3000, x86.LevelPTE, at(eKernel, 0xfee00)) // a device
	m.k(fakeVMemmap, x86.LevelPMD, eKernel|0x600000|0x80)
	m.k(fakeEntry, x86.LevelPTE, at(eRO, 0x510))
	m.k(fakeEntry+0x1000, x86.LevelPTE, at(eKernel, 0x511))
	m.k(fakeText, x86.LevelPMD, eROX|0x1000000|0x80)
	for j := range uint64(16) {
		e := uint64(eROX)
		if j >= 8 {
			e = eKernel // what is left of the last 2 MiB
		}
		m.k(fakeText+0x200000+x86.Virt(j)<<12, x86.LevelPTE, at(e, 0x1200+j))
	}
	for j := range uint64(8) { // and read-only in the direct map
		m.k(fakeDirect+0x1200000+x86.Virt(j)<<12, x86.LevelPTE, at(eRO, 0x1200+j))
	}
	m.k(fakeText+0x400000, x86.LevelPMD, eRO|0x1400000|0x80)
	m.k(fakeText+0x600000, x86.LevelPMD, eKernel|0x1600000|0x80)
	m.k(fakeModules, x86.LevelPTE, at(eROX, 0x1210))
	m.k(fakeModules+0x1000, x86.LevelPTE, at(eKernel, 0x521))
	m.mem.Map(m.kernel, 4, fakeVsyscall, x86.LevelPTE, at(0x8000000000000125, 0x1400), capturetest.UserTable)
	or(m.slot(m.kernel, fakeVsyscall, x86.LevelP4D), x86.PageUser)
	or(m.slot(m.kernel, fakeVsyscall, x86.LevelPUD), x86.PageUser)
	m.k(0xffffffffff5fd000, x86.LevelPTE, 0x80000000fee0017b) // the local APIC
}

// userKernelHalf makes the kernel half of init_mm's user root: entry area, entry code, and a TSS in the direct map.
func (m *auditMachine) userKernelHalf() {
	own, user := m.mem.At(m.kernel), m.kernel+1
	m.mem.At(user)[fakeEntry.Index(x86.LevelP4D)] = own[fakeEntry.Index(x86.LevelP4D)]
	m.mem.Map(user, 4, fakeText, x86.LevelPMD, eROX|0x1000000|0x80, capturetest.KernelTable)
	m.mem.Map(user, 4, fakeVsyscall, x86.LevelPTE, at(0x8000000000000125, 0x1400), capturetest.UserTable)
	m.mem.Map(user, 4, fakeDirect+0x511000, x86.LevelPTE, at(eKernel, 0x511), capturetest.KernelTable)
}

// setRoot sets an entry of the user half of a process's root; with PTI of both.
func (m *auditMachine) setRoot(i, slot int, e uint64) {
	m.mem.At(m.roots[i])[slot] = e
	m.mem.At(m.userRoot(i))[slot] = e
}

// splitRoots gives the user half of a process's root to the user root, and NX to the kernel's.
func (m *auditMachine) splitRoots(i int) {
	own, user := m.mem.At(m.roots[i]), m.mem.At(m.roots[i]+1)
	for n := range own[:256] {
		if user[n] = own[n]; own[n] != 0 {
			own[n] |= x86.PageNX
		}
	}
}

func (m *auditMachine) process(i int) {
	r := m.roots[i]
	u := func(va x86.Virt, l x86.Level, e uint64) { m.mem.Map(r, 4, va, l, e, capturetest.UserTable) }
	own := uint64(0x800 + 0x100*i) // frames of this process
	u(vaText, x86.LevelPTE, at(eText, 0x700))
	u(vaText+0x1000, x86.LevelPTE, at(eText, 0x701))
	for j := range uint64(4) {
		u(vaData+x86.Virt(j)<<12, x86.LevelPTE, at(eData, own+j))
	}
	u(vaData+0x4000, x86.LevelPTE, at(0x8000000000000225, 0x777))         // the zero page
	u(vaData+0x5000, x86.LevelPTE, 0x07fffffffffffc08-uint64(i)<<9)       // swap 0:1 and 0:2, exclusive
	u(vaData+0x6000, x86.LevelPTE, at(0x040ffffffffff920, own+6)|1<<11)   // a NUMA hint
	u(vaData+0x7000, x86.LevelPTE, at(0x8400000000000025, own+7))         // read-only, saved-dirty
	u(vaShared, x86.LevelPTE, at(eData, 0x710))                           // one page of shared memory, in both
	u(vaUffd, x86.LevelPTE, at(eUffd, own+0x10))                          //
	u(vaUffd+0x1000, x86.LevelPTE, at(eData, own+0x11))                   //
	u(vaUffd+0x2000, x86.LevelPTE, 0xfffffffffffffc00)                    // a uffd-wp marker
	u(vaTrack, x86.LevelPTE, at(0x8400000000000025, own+0x20))            // clean
	u(vaTrack+0x1000, x86.LevelPTE, at(eData, own+0x21))                  //
	u(vaNone, x86.LevelPTE, at(eNone, own+0x30))                          //
	u(vaDriver, x86.LevelPTE, at(0x8000000000000227, 0xfee00))            // a device, in both
	u(vaKey, x86.LevelPTE, at(eData|5<<59, own+0x40))                     //
	u(vaJIT, x86.LevelPTE, at(0x0000000000000867, own+0x50))              //
	u(vaHuge, x86.LevelPMD, 0x80000000020008e7+uint64(i)<<21)             // frames 0x2000 and 0x2200
	u(vaTLB, x86.LevelPMD, 0x80000000024008e7)                            // frame 0x2400, in both
	u(vaTLB+0x200000, x86.LevelPMD, at(0x84000000000000e7, 0x2600)|0x840) // as the kernel leaves it: RW and SAVED_DIRTY
	rw := auditArea{Read: true, Write: true, SoftDirty: true}
	add := func(va x86.Virt, size x86.Virt, a auditArea) {
		a.Start, a.End, a.Name = va, va+size, fmt.Sprintf("%x", uint64(va))
		m.areas[i] = append(m.areas[i], a)
	}
	add(vaText, 0x4000, auditArea{Read: true, Exec: true, SoftDirty: true})
	add(vaData, 0x10000, rw)
	add(vaShared, 0x10000, auditArea{Read: true, Write: true, Shared: true, SoftDirty: true})
	add(vaUffd, 0x10000, auditArea{Read: true, Write: true, UffdWP: true, SoftDirty: true})
	add(vaTrack, 0x10000, auditArea{Read: true, Write: true})
	add(vaNone, 0x10000, auditArea{SoftDirty: true})
	add(vaDriver, 0x10000, auditArea{Read: true, Write: true, Shared: true, PFNMap: true, Driver: true, SoftDirty: true})
	add(vaKey, 0x10000, auditArea{Read: true, Write: true, SoftDirty: true, Pkey: 5})
	add(vaJIT, 0x10000, auditArea{Read: true, Write: true, Exec: true, SoftDirty: true})
	add(vaHuge, 0x400000, rw)
	add(vaTLB, 0x40000000, auditArea{Read: true, Write: true, Shared: true, Huge: true, SoftDirty: true})
}

// slot returns the entry of level l that translates va, in the tree of root.
func (m *auditMachine) slot(root x86.PFN, va x86.Virt, l x86.Level) *uint64 {
	f := root
	for level := x86.LevelP4D; level > l; level-- {
		f = m.abi.TableFrame(m.mem.At(f)[va.Index(level)])
	}
	return &m.mem.At(f)[va.Index(l)]
}

// user and kern return PTEs.
func (m *auditMachine) user(i int, va x86.Virt) *uint64 {
	return m.slot(m.userRoot(i), va, x86.LevelPTE)
}
func (m *auditMachine) kern(va x86.Virt) *uint64 { return m.slot(m.kernel, va, x86.LevelPTE) }

func (m *auditMachine) userRoot(i int) x86.PFN {
	if m.pti {
		return m.roots[i] + 1
	}
	return m.roots[i]
}

// table returns the frame of the table of level l that translates va.
func (m *auditMachine) table(root x86.PFN, va x86.Virt, l x86.Level) uint64 {
	return uint64(m.abi.TableFrame(*m.slot(root, va, l+1)))
}

func (m *auditMachine) pair(r x86.PFN) linux.Roots {
	if m.pti {
		return linux.Roots{Kernel: r.Phys(), User: (r + 1).Phys(), PTI: true}
	}
	return linux.Roots{Kernel: r.Phys(), User: r.Phys()}
}

// input is the machine as the audit sees it.
func (m *auditMachine) input(t testing.TB) *Input {
	t.Helper()
	layout, warnings := linux.FindLayout(m.mem, m.abi, m.kernel, nil)
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	roots := m.pair(m.kernel)
	s := &tree.Tree{
		Mem: m.mem, ABI: m.abi, Layout: swapentry.NewLayout(m.abi), Root: m.kernel.Phys(),
		System: &linux.System{ABI: m.abi, InitMM: &roots, Layout: layout},
	}
	in := &Input{Tree: s, Markers: layout.Markers(), CPUs: m.cpus}
	in.Kernel = &addressSpace{Space: &space.Space{Tree: s}, name: "kernel", roots: roots}
	for i, r := range m.roots {
		p := &proc.Process{PID: 10 + i, Comm: fmt.Sprint("p", i)}
		a := &addressSpace{Space: &space.Space{Tree: s.At(r.Phys()), Procs: []*proc.Process{p}}, num: i + 1, roots: m.pair(r)}
		if !m.noArea {
			a.areas, a.complete = m.areas[i], true
		}
		in.User = append(in.User, a)
	}
	if in.Tracks = !m.noArea; m.noArea {
		in.Why = "for a test"
	}
	return in
}

// audit runs all rules.
func (m *auditMachine) audit(t testing.TB, jobs int) *Report {
	t.Helper()
	return auditAll(t, m.input(t), jobs)
}

func auditAll(t testing.TB, in *Input, jobs int) *Report {
	t.Helper()
	var opt Options
	for i := range opt.Rules {
		opt.Rules[i] = true
	}
	rep, err := in.Audit(t.Context(), opt, space.Workers{Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// faults are the findings that are not explained, as text.
func faults(r *Report) []string {
	var all []string
	for _, f := range r.Findings {
		if f.Explained == "" {
			all = append(all, describe(f))
		}
	}
	slices.Sort(all)
	return all
}

func describe(f *finding) string {
	return fmt.Sprintf("%s %s %v %d: %s", f.Rule, f.Space.who(), f.VA, f.Count, f.Text)
}
