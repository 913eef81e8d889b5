package linux

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// DefaultScanFrames bounds a scan of RAM: 64 GiB. A scan ends early when it has found all that it looks for.
const DefaultScanFrames = 1 << 24

// maxFoundRoots bounds what a scan returns.
const maxFoundRoots = 1 << 12

// FoundRoot is a frame that holds the root table of a kernel.
type FoundRoot struct {
	Phys   x86.Phys
	Levels int
	// InitMM says that it is the kernel's own: init_mm's, in the kernel image.
	InitMM bool
	Why    string
}

// ScanResult is what a scan of RAM found.
type ScanResult struct {
	// VMCoreInfo is the VMCOREINFO text, nil if no frame holds one.
	VMCoreInfo []byte
	// InfoPhys is the address of the text.
	InfoPhys x86.Phys
	// Roots are the root tables in the order of their addresses.
	Roots []FoundRoot
	// Frames is the number of frames looked at, Complete whether those were all.
	Frames   uint64
	Complete bool
}

// InitMM returns the root of init_mm, if the scan found it.
func (r *ScanResult) InitMM() (FoundRoot, bool) {
	for _, f := range r.Roots {
		if f.InitMM {
			return f, true
		}
	}
	return FoundRoot{}, false
}

// Scan searches RAM for what the notes of a capture usually tell: the VMCOREINFO text and root tables. levels
// restricts the search to roots of 4 or 5 levels, 0 looks for both; roots false looks for the text only. It looks at
// no more than maxFrames frames (0 for [DefaultScanFrames]), and stops when it has the text and init_mm's root.
//
// The kernel keeps VMCOREINFO at the start of a frame, once as plain text and once as an ELF note. A root table is
// known by what it maps: the kernel image where Linux has it, RAM linearly, and the former in the latter. That of
// init_mm moreover lies within the image.
func Scan(mem physmem.Reader, levels int, roots bool, maxFrames uint64) *ScanResult {
	if maxFrames == 0 {
		maxFrames = DefaultScanFrames
	}
	s := scanner{mem: mem, res: &ScanResult{}, roots: roots, budget: scanBudget}
	for _, n := range []int{4, 5} {
		if roots && (levels == 0 || levels == n) {
			s.add(x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(n)))
		}
	}
	for _, r := range mem.Ranges() {
		first, end := r.Frames()
		for pfn := first; pfn < end; {
			if s.res.Frames >= maxFrames {
				return s.res
			}
			step := s.step()
			s.res.Frames += uint64(step)
			done, read := s.frame(pfn)
			switch {
			case done:
				return s.res
			case !read:
				s.unread++
			case step > 1 && pfn-first >= step: // some that were passed over may be there, too
				pfn, s.unread = pfn-(step-1), 0
				continue
			default:
				s.unread = 0
			}
			pfn += step
		}
	}
	s.res.Complete = !roots || s.budget > 0
	return s.res
}

type scanner struct {
	mem     physmem.Reader
	res     *ScanResult
	roots   bool
	walkers []*walker // one for each number of levels
	budget  int       // for judging candidates
	buf     physmem.Frame
	found   bool // init_mm's root
	unread  int  // frames in a row that could not be read
}

// Where many frames in a row cannot be read, one of so many is tried, until one can be: a file that was cut off, or that lies,
// may lack any number. What is looked for stands in the kernel image, which is larger.
const (
	manyUnread = 1 << 16
	longStep   = 1 << 9
)

func (s *scanner) step() x86.PFN {
	if s.unread >= manyUnread {
		return longStep
	}
	return 1
}

func (s *scanner) add(abi *x86.ABI) {
	s.walkers = append(s.walkers, newWalker(s.mem, abi, 0))
}

// frame looks at one frame and reports whether all has been found, and whether it could be read.
func (s *scanner) frame(pfn x86.PFN) (done, read bool) {
	if s.mem.ReadFrame(pfn, &s.buf) != nil {
		return false, false
	}
	if s.res.VMCoreInfo == nil {
		if text, off := vmcoreInfoIn(&s.buf); text != nil {
			s.res.VMCoreInfo, s.res.InfoPhys = bytes.Clone(text), pfn.Phys()+x86.Phys(off)
		}
	}
	if s.roots && s.budget > 0 && len(s.res.Roots) < maxFoundRoots && s.plausible() {
		for _, w := range s.walkers {
			allowed := max(0, min(candidateBudget, s.budget))
			w.allow(allowed)
			s.root(w, pfn)
			s.budget -= w.spent(allowed)
		}
	}
	return s.res.VMCoreInfo != nil && (s.found || !s.roots), true
}

// booted tells the tables of a kernel that runs from those it started on, of which a copy may be left in RAM: it has
// a CPU entry area, and it has taken away what the image's mapping covered below the image.
//
// Linux: arch/x86/mm/cpu_entry_area.c; arch/x86/mm/init_64.c:cleanup_highmap()
func booted(w *walker, root x86.PFN) bool {
	_, entryArea, _ := w.first(root, cpuEntryArea, cpuEntryArea+upperP4DSpan-1, x86.LevelPTE)
	_, _, below := w.lookup(root, startKernelMap)
	return entryArea && !below
}

// plausible reports whether the last entry of the frame could be that of a root table: every kernel's is a table
// entry, because the image lies below it.
func (s *scanner) plausible() bool {
	top := binary.LittleEndian.Uint64(s.buf[x86.PageSize-8:])
	if top&x86.PagePresent == 0 || top&(x86.PagePSE|x86.PageNX) != 0 || top&x86.PageRW == 0 {
		return false
	}
	_, ok := physmem.FindRange(s.mem.Ranges(), s.walkers[0].abi.TableFrame(top).Phys())
	return ok
}

func (s *scanner) root(w *walker, pfn x86.PFN) {
	if selfConsistent(w, pfn) != nil || !booted(w, pfn) {
		return
	}
	f := FoundRoot{
		Phys: pfn.Phys(), Levels: w.abi.Paging().Levels,
		Why: "its tables map the kernel image, and RAM linearly with that image in it",
	}
	if va, ok := mapsItself(w, pfn); ok {
		f.InitMM = true
		f.Why = fmt.Sprintf("%s; it lies in the image itself, at %v", f.Why, va)
		s.found = true
	}
	s.res.Roots = append(s.res.Roots, f)
}

// FindInitMM finds init_mm's root among the frames of the kernel image that root maps, for captures whose notes do not
// name it. l is the layout found below root.
func FindInitMM(mem physmem.Reader, abi *x86.ABI, root x86.PFN, l *Layout) (Roots, error) {
	s := scanner{mem: mem, res: &ScanResult{}, roots: true, budget: scanBudget}
	s.add(abi)
	w := newWalker(mem, abi, layoutBudget)
	for va := l.TextFirst; va != 0 && va <= l.TextLast; {
		e, ok, err := w.first(root, va, l.TextLast, x86.LevelPTE)
		if !ok || err != nil {
			break
		}
		for off := uint64(0); e.raw&x86.PageRW != 0 && off < e.level.Size(); off += x86.PageSize {
			if s.frame((w.phys(e) + x86.Phys(off)).PFN()); s.found {
				f, _ := s.res.InitMM()
				return FindRoots(mem, abi, uint64(f.Phys))
			}
		}
		va = e.end() + 1
	}
	return Roots{}, fmt.Errorf("init_mm: %w", ErrNoRoot)
}

// vmcoreInfoIn returns the VMCOREINFO text in a frame and where it starts, nil if there is none: at the start of the
// frame, or behind the header of an ELF note there.
//
// Linux: kernel/vmcore_info.c:crash_save_vmcoreinfo_init(), update_vmcoreinfo_note()
func vmcoreInfoIn(f *physmem.Frame) ([]byte, int) {
	const (
		start    = "OSRELEASE="
		noteName = "VMCOREINFO\x00"
		noteHead = 12
		noteText = noteHead + 12
	)
	off := 0
	if binary.LittleEndian.Uint32(f[0:]) == uint32(len(noteName)) &&
		bytes.HasPrefix(f[noteHead:], []byte(noteName)) {
		off = noteText
	}
	if !bytes.HasPrefix(f[off:], []byte(start)) {
		return nil, 0
	}
	text := f[off:]
	if n := bytes.IndexByte(text, 0); n >= 0 {
		text = text[:n]
	}
	if _, err := ParseVMCoreInfo(text); err != nil {
		return nil, 0
	}
	return text, off
}
