package capturetest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/swapentry"
)

// ABI is a kernel of the newest release with five levels: it has most flags.
var ABI = x86.MustABI(func() x86.Kernel {
	k := x86.Linux7_2()
	k.DevicePrivate = true
	return k
}(), x86.DefaultPaging(5))

// Leaf decodes one entry, spelled as its raw value, without a walk.
func Leaf(va x86.Virt, level x86.Level, raw uint64, rights tree.Rights) *tree.Leaf {
	layout := swapentry.NewLayout(ABI)
	l := &tree.Leaf{VA: va, Level: level, Raw: raw, Rights: rights, Table: 0x1000, Index: va.Index(level)}
	e := layout.Decode(level, raw)
	switch e.Kind {
	case swapentry.KindPresent:
		l.Kind, l.HasPFN = tree.KindPresent, true
		if x86.PTE(raw).Protnone() {
			l.Kind = tree.KindProtnone
		}
		l.PFN = x86.PTE(raw).PFN(ABI)
		if level == x86.LevelPMD {
			l.PFN = x86.PMD(raw).PFN(ABI)
		}
	default:
		l.Kind, l.Swap = tree.Kind(e.Kind.String()), e
		l.Invalid = layout.Check(level, raw) != nil
		l.PFN, l.HasPFN = e.PFN, e.Kind.HasPFN()
	}
	return l
}

// Unknown is what Linux never writes: a P4D that is neither empty nor present.
var Unknown = Leaf(0x20000000000, x86.LevelP4D, 0x00000000deadb000, tree.Rights{})

// Samples are entries of every kind. The raw values are worked examples of the kernel's encodings.
var Samples = []*tree.Leaf{
	Leaf(0x10000000000, x86.LevelPTE, 0x8000000012345867, tree.Rights{R: true, W: true, U: true}),
	Leaf(0x10000001000, x86.LevelPTE, 0x0000000012346025, tree.Rights{R: true, X: true, U: true}),
	Leaf(0x10000002000, x86.LevelPTE, 0xa800000000345425, tree.Rights{R: true, U: true}), // pkey 5, uffd-wp
	Leaf(0x10000003000, x86.LevelPTE, 0x040fffffedcba920, tree.Rights{X: true}),
	Leaf(0x10000004000, x86.LevelPTE, 0x07ffffffffdb960e, tree.Rights{}),
	Leaf(0x10000005000, x86.LevelPTE, 0xdff9fffffdb97402, tree.Rights{}),
	Leaf(0x10000006000, x86.LevelPTE, 0xfffffffffffff600, tree.Rights{}),
	Leaf(0x10000007000, x86.LevelPTE, 0xfffffffffffffc00, tree.Rights{}),
	Leaf(0x10000008000, x86.LevelPTE, 0xe7fffffffdb97400, tree.Rights{}), // device-private write, type 28
	Leaf(0x10000009000, x86.LevelPTE, 0xc7fffffffdb97400, tree.Rights{}), // hwpoison, type 24
	Leaf(0x10000200000, x86.LevelPMD, 0x80000000400018e7, tree.Rights{R: true, W: true, U: true}),
	Leaf(0xffff888000000000, x86.LevelPUD, 0x80000000400009e3, tree.Rights{R: true, W: true}),
	Leaf(0xffffffff81000000, x86.LevelPTE, 0x0000000001000963, tree.Rights{R: true, W: true, X: true}),
}

// Flags of table entries, as the kernel writes them.
const (
	UserTable   = 0x67
	KernelTable = 0x63
)

// Small writes an ELF core of one small machine: four levels, Linux 6.12, one CPU with SMEP, SMAP and PKE.
// Its tables hold every kind of entry; with damage, also what cannot be explained.
func Small(t testing.TB, damage bool) string { return Encrypted(t, damage, 0) }

// Encrypted is Small on a machine that sets the bits of enc in every present entry and in CR3.
func Encrypted(t testing.TB, damage bool, enc uint64) string {
	t.Helper()
	m := pttree.New(0x1000)
	root := m.Table()
	user := func(va x86.Virt, l x86.Level, e uint64) { m.Map(root, 4, va, l, e, UserTable) }
	kernel := func(va x86.Virt, l x86.Level, e uint64) { m.Map(root, 4, va, l, e, KernelTable) }
	user(0x400000, x86.LevelPTE, 0x0000000000200025) // text
	user(0x401000, x86.LevelPTE, 0x0000000000201025)
	user(0x402000, x86.LevelPTE, 0x8000000000205025) // read-only data
	user(0x600000, x86.LevelPTE, 0x8000000000300867) // data, dirty, soft-dirty
	user(0x601000, x86.LevelPTE, 0x8000000000301867)
	user(0x602000, x86.LevelPTE, 0x8000000000400867)       // elsewhere
	user(0x603000, x86.LevelPTE, 0x8400000000303025)       // read-only, saved-dirty
	user(0x604000, x86.LevelPTE, 0xa800000000304025)       // key 5
	user(0x605000, x86.LevelPTE, 0x8000000000305425)       // uffd-wp
	user(0x606000, x86.LevelPTE, 0x0000000000306067)       // writable and executable
	user(0x7f0000000000, x86.LevelPTE, 0x040fffffffcf8920) // PROT_NONE, frame 0x307
	user(0x7f0000001000, x86.LevelPTE, 0x07fffffffffffc00) // swap 0:1
	user(0x7f0000002000, x86.LevelPTE, 0x07fffffffffff800) // swap 0:3: not the next slot
	user(0x7f0000003000, x86.LevelPTE, 0x07ffffffffdb960e) // swap 0:0x1234, all flags
	user(0x7f0000004000, x86.LevelPTE, 0xf7ffe7fffdb97400) // migration write young dirty
	user(0x7f0000005000, x86.LevelPTE, 0xfffffffffffffc00) // uffd-wp marker
	user(0x7f0000006000, x86.LevelPTE, 0xfffffffffffffc00) // and again
	user(0x7f0000007000, x86.LevelPTE, 0xfffffffffffffa00) // poisoned marker
	user(0x7f0000008000, x86.LevelPTE, 0xdffffffffdb97400) // hwpoison, type 27
	user(0x7f0040000000, x86.LevelPMD, 0x80000000400008e7) // 2M
	user(0x7f0040200000, x86.LevelPMD, 0x80000000402008a5) // 2M, read-only
	user(0x7f0040400000, x86.LevelPMD, 0xf7ffe7fff7fffe00) // 2M, migrating, frame 0x40000
	user(0x7f0080000000, x86.LevelPUD, 0x80000000800000e7) // 1G
	kernel(0xffff888000000000, x86.LevelPMD, 0x8000000000000163|0x80)
	kernel(0xffff888000200000, x86.LevelPTE, 0x8000000000200163)
	kernel(0xffffffff81000000, x86.LevelPMD, 0x00000000010001e1)
	kernel(0xffffffff81200000, x86.LevelPMD, 0x80000000012001e1)
	for i := range x86.Virt(20) {
		kernel(0xffffff0000000000+i<<16, x86.LevelPTE, 0x800000000106e121) // espfix: one page again and again
	}
	if damage {
		m.Map(root, 4, 0x7f00c0000000, x86.LevelPMD, 0x9999067, UserTable) // a table that is not there
		user(0x7f0100000000, x86.LevelPTE, 0x8008000000305027)             // beyond the width given by --phys-bits
		m.At(root)[300] = uint64(root.Phys()) | KernelTable                // the root is its own child
	}
	for _, r := range m.Ranges() {
		for at := r.Start; at < r.End; at += x86.PageSize {
			table := m.At(at.PFN())
			for i := range table {
				table[i] |= enc & -(table[i] & 1)
			}
		}
	}
	cpu := elfnote.CPU{CR0: 0x80050033, CR3: uint64(root.Phys()) | enc, CR4: 0x750ef0, RIP: 0x401000, CS: 0x33}
	info := "OSRELEASE=6.12.0-test\nPAGESIZE=4096\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n" +
		"NUMBER(sme_mask)=0\nNUMBER(PG_hwpoison)=22\nNUMBER(KERNEL_IMAGE_SIZE)=1073741824\nKERNELOFFSET=0\n"
	var b bytes.Buffer
	err := elfcore.Write(&b, m, m.Ranges(), []elfnote.Note{cpu.Note(), elfnote.VMCoreInfoNote([]byte(info))})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
