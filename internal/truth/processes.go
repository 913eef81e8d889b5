package truth

import (
	"slices"
	"sort"
	"strings"
)

// Processes is what a guest in the mode "processes" or "many" said of every process, itself included.
type Processes struct {
	// List holds them ascending by PID: kernel threads, zombies and stopped ones too. PID 0 is not in it.
	List []*Process
	// Frames holds what /proc/kpagecount and /proc/kpageflags said of every frame that is mapped at all.
	Frames map[uint64]FrameUse
}

// FrameUse is what the kernel says of one frame.
type FrameUse struct {
	Maps  uint64 // how many entries map it
	Flags uint64 // KPF_* bits
}

// Process is one process: a thread group.
type Process struct {
	PID, TGID, PPID int
	// State is the letter of /proc/pid/status: 'S', 'T', 'Z', ...
	State byte
	// Kernel says that it is a kernel thread.
	Kernel bool
	// Comm is the leader's name, without the escapes of /proc/pid/status. See [Process.Named] for kernel threads.
	Comm string
	// Threads are the tasks of the group without the leader, ascending.
	Threads []Thread
	// Status holds the numbers of /proc/pid/status by name, without the colon: "VmRSS" (kB), "VmSwap", "NSpid".
	Status map[string]string
	// FilesOf is the task whose maps, smaps and pagemap were read: PID, or another thread of a group whose leader is gone.
	FilesOf int
	// Areas are its areas, ascending, [vsyscall] included.
	Areas []Area
	// Runs are its pagemap words, ascending: every page of every area below the kernel's half is in exactly one.
	// Empty in the mode "many".
	Runs []Run
}

// Thread is one task of a process.
type Thread struct {
	TID  int
	Comm string
}

// Area is an area of an address space: its line of /proc/pid/maps, and what smaps says under it.
type Area struct {
	Start, End uint64
	// Perms is "rw-p" and the like.
	Perms  string
	Offset uint64
	// Major and Minor are the device's, Inode the file's; zero for anonymous memory.
	Major, Minor, Inode uint64
	// Path is the last column as printed, with the kernel's escapes (\012 for a newline) and " (deleted)"; "" if there is none.
	Path string
	// KB holds the amounts of smaps by name: "Rss", "Swap", "AnonHugePages", ... in KiB; "ProtectionKey" and
	// "THPeligible" are plain numbers.
	KB map[string]uint64
	// Flags are the two-letter flags of VmFlags, in its order.
	Flags []string
	// Line is the line of /proc/pid/maps whole.
	Line string
}

// Has reports whether the area has the flag.
func (a *Area) Has(flag string) bool { return a != nil && slices.Contains(a.Flags, flag) }

// Run is a number of pages with the same pagemap word, but for the frame: present pages of one run have frames one after
// the other.
type Run struct {
	VA    uint64
	Pages uint64
	Word  uint64 // of the first page
}

// Bits of pagemap words. Linux: Documentation/admin-guide/mm/pagemap.rst.
const (
	PagemapPresent   = 1 << 63
	PagemapSwapped   = 1 << 62
	PagemapFile      = 1 << 61 // of a file, or shared anonymous
	PagemapUffdWP    = 1 << 57
	PagemapOnce      = 1 << 56 // mapped once
	PagemapSoftDirty = 1 << 55
	PagemapFrame     = 1<<55 - 1 // of present pages

	pageSize = 4096
)

// at returns the word of a page of the run.
func (r Run) at(page uint64) uint64 {
	if r.Word&PagemapPresent != 0 {
		return r.Word + page
	}
	return r.Word
}

// ByPID returns the process, nil if there is none.
func (all *Processes) ByPID(pid int) *Process {
	for _, p := range all.List {
		if p.PID == pid {
			return p
		}
	}
	return nil
}

// Named reports whether a task_struct's name fits. /proc says more of kernel threads than their 15 bytes: longer names, and what a
// kworker works on.
func (p *Process) Named(comm string) bool { return commFits(p.Kernel, p.Comm, comm) }

func commFits(kernel bool, said, comm string) bool {
	return said == comm || kernel && comm != "" && strings.HasPrefix(said, comm)
}

// HasMM reports whether the process has an address space.
func (p *Process) HasMM() bool { return len(p.Areas) > 0 }

// Area returns the area that holds va, nil if there is none.
func (p *Process) Area(va uint64) *Area {
	i := sort.Search(len(p.Areas), func(i int) bool { return p.Areas[i].End > va })
	if i == len(p.Areas) || p.Areas[i].Start > va {
		return nil
	}
	return &p.Areas[i]
}

// Word returns the pagemap word of the page at va; ok is false for a page outside all areas.
func (p *Process) Word(va uint64) (word uint64, ok bool) {
	i := sort.Search(len(p.Runs), func(i int) bool { return p.Runs[i].VA+p.Runs[i].Pages*pageSize > va })
	if i == len(p.Runs) || p.Runs[i].VA > va {
		return 0, false
	}
	return p.Runs[i].at((va - p.Runs[i].VA) / pageSize), true
}

// EachPage calls fn with every page of every area and its pagemap word, ascending.
func (p *Process) EachPage(fn func(va, word uint64) error) error {
	for _, r := range p.Runs {
		for i := range r.Pages {
			if err := fn(r.VA+i*pageSize, r.at(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// PageCounts are sums over pagemap words.
type PageCounts struct {
	Present, Swapped, File, UffdWP, SoftDirty uint64
}

// Counts adds the process's words up. Soft-dirty counts present and swapped pages only.
func (p *Process) Counts() PageCounts {
	var c PageCounts
	_ = p.EachPage(func(_, word uint64) error {
		count := func(to *uint64, bit uint64) {
			if word&bit != 0 {
				*to++
			}
		}
		count(&c.Present, PagemapPresent)
		count(&c.Swapped, PagemapSwapped)
		count(&c.UffdWP, PagemapUffdWP)
		if word&(PagemapPresent|PagemapSwapped) != 0 {
			count(&c.File, PagemapFile)
			count(&c.SoftDirty, PagemapSoftDirty)
		}
		return nil
	})
	return c
}

// Mapping is one page of one process.
type Mapping struct {
	PID int
	VA  uint64
}

// WhoMaps inverts the pagemaps: for every frame that a process maps, where. Processes that share an address space
// (CLONE_VM) are each listed, as each has the pagemap. Pages of processes are in the order of [Processes.List].
func (all *Processes) WhoMaps() map[uint64][]Mapping {
	who := map[uint64][]Mapping{}
	for _, p := range all.List {
		_ = p.EachPage(func(va, word uint64) error {
			if word&PagemapPresent != 0 {
				frame := word & PagemapFrame
				who[frame] = append(who[frame], Mapping{p.PID, va})
			}
			return nil
		})
	}
	return who
}

// SwapSlot is a page's place on a swap device, as pagemap prints it.
type SwapSlot struct {
	Type   uint8
	Offset uint64
}

// Slot returns the swap slot of a swapped word.
func Slot(word uint64) SwapSlot {
	const typeBits = 5
	return SwapSlot{uint8(word & (1<<typeBits - 1)), word & PagemapFrame >> typeBits}
}

// WhoSwapped inverts the pagemaps' swapped words. Migration, device and hwpoison entries count as swapped to pagemap, with
// the types from the number of devices on.
func (all *Processes) WhoSwapped() map[SwapSlot][]Mapping {
	who := map[SwapSlot][]Mapping{}
	for _, p := range all.List {
		_ = p.EachPage(func(va, word uint64) error {
			if word&PagemapSwapped != 0 {
				slot := Slot(word)
				who[slot] = append(who[slot], Mapping{p.PID, va})
			}
			return nil
		})
	}
	return who
}
