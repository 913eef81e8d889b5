package bench

// kernelCall is what the running kernel is asked to do to as many pages as the tables have entries.
type kernelCall struct {
	op     kernelOp
	there  int  // argument of pass 0: PROT_ bits
	back   int  // of pass 1
	every8 bool // only every eighth page is there
	holes  bool // a random eighth of the pages is not there
	zero   bool // the pages are the zero page, mapped by reads
	pages  int  // of one operation, 0: all
	skip   string
}

// kernelOp is a system call.
type kernelOp string

const (
	opMprotect    kernelOp = "mprotect"
	opUffd        kernelOp = "UFFDIO_WRITEPROTECT"
	opDontneed    kernelOp = "madvise(DONTNEED)"
	opPopulate    kernelOp = "madvise(POPULATE_READ)"
	opFork        kernelOp = "fork"
	opPagemapScan kernelOp = "PAGEMAP_SCAN"
	opSoftDirty   kernelOp = "clear_refs 4"
	opReferenced  kernelOp = "clear_refs 1"
)

// MaxKernelPTEs is how many pages the kernel's variants map at most, unless Set.KernelPTEs says otherwise: 4 GiB.
const MaxKernelPTEs = 1 << 20

// zeroPTEs is how many entries for the zero page the kernel's variants make at most: 128 MiB of tables.
const zeroPTEs = 1 << 24

// kernels are the kernel's variants of a change of all entries: on pages of their own and, where a set has more entries
// than the memory has pages, on the zero page.
func (s *Set) kernels(c kernelCall) []Variant {
	all := []Variant{s.kernel(c)}
	if c == kernelRWtoR && s.PTEs() > s.KernelPTEs {
		c.zero = true
		all = append(all, s.kernel(c))
	}
	return all
}

// refused is the error of a call that this kernel does not permit or does not know.
type refused struct{ why string }

func (e *refused) Error() string { return "bench: the kernel refuses: " + e.why }

// noCall says why the kernel has nothing to compare with.
func noCall(why string) kernelCall { return kernelCall{skip: why} }

// The changes of protection of a mapping.
var (
	kernelRWtoR    = kernelCall{op: opMprotect, there: protRead, back: protRead | protWrite}
	kernelRtoRW    = kernelCall{op: opMprotect, there: protRead | protWrite, back: protRead}
	kernelRWtoNone = kernelCall{op: opMprotect, there: 0, back: protRead | protWrite}
	kernelSparse   = kernelCall{op: opMprotect, there: protRead, back: protRead | protWrite, every8: true}
	kernelHoles    = kernelCall{op: opMprotect, there: protRead, back: protRead | protWrite, holes: true}
	kernelUffdWP   = kernelCall{op: opUffd}
)

// The PROT_ bits of mmap(), which are the same everywhere.
const (
	protRead  = 1
	protWrite = 2
)
