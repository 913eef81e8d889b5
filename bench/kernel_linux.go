package bench

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"ptemu/arch/x86"
)

// kernelPlaces is how many places a pass of a call about a few pages has. Each protection of its own splits a mapping
// in three, and their number is limited.
const kernelPlaces = 256

// kernel is the running kernel doing c to real memory: small pages, written to once. The memory exists from the first
// pass until Close.
func (s *Set) kernel(c kernelCall) Variant {
	v := Variant{Name: "kernel", Kind: Kernel, Note: string(c.op)}
	n := min(s.PTEs(), s.KernelPTEs, freePages()/2)
	if c.zero {
		v.Name, v.Kind = string(KernelZero), KernelZero
		v.Note += " of the zero page"
		n = min(s.PTEs(), zeroPTEs)
	}
	m := &kernelMem{kernelCall: c, n: n}
	v.PTEs, v.Close = n, m.close
	if c.op == opReferenced || c.op == opSoftDirty {
		v.Note += ", of the whole process"
	}
	switch {
	case c.skip != "":
		return skipped(v.Name, Kernel, c.skip)
	case n < x86.EntriesPerTable:
		return skipped(v.Name, Kernel, "there is no memory for it")
	case os.Getpagesize() != tableBytes:
		return skipped(v.Name, Kernel, "the pages of this machine are not of 4 KiB")
	case c.op == opFork:
		return forking(v)
	case c.pages != 0:
		v.Name += " " + string(c.op)
		v.PTEs = kernelPlaces * c.pages
	}
	v.Pass = func(odd int) (int64, error) {
		if m.mem == nil {
			if err := m.prepare(); err != nil {
				return 0, err
			}
		}
		return int64(v.PTEs), m.do(odd)
	}
	return v
}

// freePages returns how many pages of memory this machine can spare, as far as it tells.
func freePages() int {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return MaxKernelPTEs
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib / (tableBytes >> 10)
		}
	}
	return MaxKernelPTEs
}

// kernelMem is memory of this process, and what is done to it.
type kernelMem struct {
	kernelCall
	n      int // pages
	mem    []byte
	at     []int // places of calls about a few pages
	uffd   int
	refs   *os.File // /proc/self/clear_refs
	region *os.File // /proc/self/pagemap
	scan   scanArgs
}

func (m *kernelMem) prepare() (err error) {
	m.uffd = -1
	flags := unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	if m.mem, err = unix.Mmap(-1, 0, m.n*tableBytes, unix.PROT_READ|unix.PROT_WRITE, flags); err != nil {
		return &refused{fmt.Sprintf("mmap of %d pages: %v", m.n, err)}
	}
	if err := unix.Madvise(m.mem, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL { // EINVAL: it has none anyway
		return &refused{fmt.Sprintf("madvise(NOHUGEPAGE): %v", err)}
	}
	r := random()
	for range kernelPlaces {
		if m.pages != 0 {
			m.at = append(m.at, r.IntN(m.n-m.pages+1))
		}
	}
	if m.zero {
		if err := unix.Madvise(m.mem, unix.MADV_POPULATE_READ); err != nil {
			return &refused{fmt.Sprintf("%s: %v", opPopulate, err)}
		}
	} else if m.op != opPopulate {
		m.touch()
	}
	return m.open()
}

// open gets what the call needs.
func (m *kernelMem) open() (err error) {
	switch m.op {
	case opMprotect:
		if m.pages == 0 {
			err = unix.Mprotect(m.mem, m.back)
		}
	case opUffd:
		m.uffd, err = openUffd(m.mem)
	case opPagemapScan:
		if m.region, err = os.Open("/proc/self/pagemap"); err == nil {
			m.scan = scanPresent(m.mem)
			err = m.scan.run(m.region)
		}
	case opReferenced, opSoftDirty:
		m.refs, err = os.OpenFile("/proc/self/clear_refs", os.O_WRONLY, 0)
		if err == nil && m.op == opSoftDirty {
			err = tracksSoftDirty(m.mem)
		}
	}
	if err != nil {
		return &refused{fmt.Sprintf("%s: %v", m.op, err)}
	}
	return nil
}

// touch writes to the pages that shall be there.
func (m *kernelMem) touch() {
	r, step := random(), tableBytes
	if m.every8 {
		step *= 8
	}
	if !m.every8 && !m.holes && unix.Madvise(m.mem, unix.MADV_POPULATE_WRITE) == nil {
		return
	}
	for i := 0; i < len(m.mem); i += step {
		if !m.holes || r.IntN(8) != 0 {
			m.mem[i]++
		}
	}
}

func (m *kernelMem) do(odd int) error {
	if m.pages != 0 {
		return m.doPlaces(odd)
	}
	switch m.op {
	case opMprotect:
		return unix.Mprotect(m.mem, [...]int{m.there, m.back}[odd])
	case opUffd:
		return writeProtect(m.uffd, m.mem, odd == 0)
	case opDontneed:
		if odd == 0 {
			return unix.Madvise(m.mem, unix.MADV_DONTNEED)
		}
		m.touch()
	case opPopulate:
		return unix.Madvise(m.mem, [...]int{unix.MADV_POPULATE_READ, unix.MADV_DONTNEED}[odd])
	case opPagemapScan:
		return m.scan.run(m.region)
	case opReferenced, opSoftDirty:
		return m.clearRefs(odd)
	}
	return nil
}

func (m *kernelMem) clearRefs(odd int) error {
	if odd == 1 {
		for i := 0; i < len(m.mem); i += tableBytes {
			m.mem[i]++
		}
		return nil
	}
	what := "1"
	if m.op == opSoftDirty {
		what = "4"
	}
	_, err := m.refs.WriteString(what)
	return err
}

func (m *kernelMem) doPlaces(odd int) error {
	for _, i := range m.at {
		mem := m.mem[i*tableBytes : (i+m.pages)*tableBytes]
		var err error
		if m.op == opUffd {
			err = writeProtect(m.uffd, mem, odd == 0)
		} else {
			err = unix.Mprotect(mem, [...]int{m.there, m.back}[odd])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *kernelMem) close() error {
	if m.mem == nil {
		return nil
	}
	for _, f := range []*os.File{m.refs, m.region} {
		if f != nil {
			f.Close()
		}
	}
	if m.uffd >= 0 {
		unix.Close(m.uffd)
	}
	err := unix.Munmap(m.mem)
	m.mem = nil
	return err
}
