package where

import (
	"fmt"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/swapentry"
)

// Help documents the language of --where; it is the text of "ptdump help where".
const Help = `--where EXPR keeps the entries for which EXPR is true. It is asked during the walk, of every entry.

Rights, effective over all levels of the walk:
  r w x u           readable, writable, executable, accessible to user mode

Flags, bits of the entry itself; kernel names in lower case, with - or _ between words:
  rw user pwt pcd accessed hw-dirty pat pse global special devmap saved-dirty nx protnone enc ...
  hw-dirty          D, which the processor sets
  dirty             of a page: hw-dirty or saved-dirty, as pte_dirty() has it, and dump and ps count it
  soft-dirty        also in swap and migration entries
  uffd-wp           also in swap and migration entries and in markers
  exclusive         of a swap entry: its page belonged to one process only
  guard poisoned    bits of a marker
  A flag that the kernel of the capture does not have is false.

Kinds:
  present protnone swap migration device-private device-exclusive hwpoison marker swapin-error unknown
  unknown           in the kernel half: a page that was taken out of the mapping, not present
  kind==swap is the same as swap, level==pmd as pmd.

Levels:
  pte pmd pud

Comparisons, with == != < <= > >= (= is ==) and a number:
  va size raw       of every entry
  pkey              protection key; of present and protnone entries
  pfn pa            frame number and physical address; where the entry names a frame
  type offset       of swap, migration and the other non-present kinds, as /proc/pid/pagemap shows them
  entry             physical address of the entry itself
  A comparison with something that the entry does not have is false, also with !=.

Numbers are decimal, or hex with 0x; a suffix K, M, G or T stands for a power of 1024. pfn==100 and pfn==0x64 are the
same. Elsewhere (--range, --cr3, the addresses of translate) numbers are hex with or without 0x: --range 1000-2000 is
--where 'va>=0x1000 && va<0x2000'. What is compared with va, pa or entry is an address and must begin with 0x.

Operators, weakest last:
  ( )   ! not   && and   || or

Examples:
  --where 'w && x'                              writable and executable at once
  --where 'u and not nx and dirty'
  --where 'uffd-wp && (swap || marker)'
  --where 'present && pkey==5'
  --where 'pmd && pfn>=0x40000 && pfn<0x80000'
  --where 'va>=0x7f0000000000 && pa<0x100000000'
`

// Expr is a parsed --where expression.
type Expr struct {
	src  string
	root *node
}

// Limits that keep a hostile expression from exhausting the stack.
const (
	whereMaxLen = 16 << 10
	maxDepth    = 200
)

// Parse parses an expression as documented in [Help]. Its error is a [*Error].
func Parse(src string) (*Expr, error) {
	if strings.TrimSpace(src) == "" {
		return nil, &Error{src, 0, "the expression is empty"}
	}
	if len(src) > whereMaxLen {
		return nil, &Error{src[:40], 40, fmt.Sprintf("longer than %d bytes", whereMaxLen)}
	}
	p := &parser{src: src}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Expr{src, root}, nil
}

// String returns the expression in full parentheses and with the operators ! && ||.
func (w *Expr) String() string { return w.root.String() }

// Compile binds the expression to the entries of one kernel.
func (w *Expr) Compile(abi *x86.ABI) func(*tree.Leaf) bool { return w.root.compile(abi) }

// ReadsVA reports whether the answer depends on the address, so that an entry of a table that is mapped twice can have
// two. (The place of an entry is one, wherever its table is mapped.)
func (w *Expr) ReadsVA() bool { return w.root.reads("va") }

// node is an expression: an operator over its arguments, or a test.
type node struct {
	op   string // "!", "&&", "||", "test", "cmp"
	args []*node

	name string // test, cmp: in lower case, with "-"
	cmp  string // cmp: "==", "!=", "<", "<=", ">", ">="
	num  uint64
}

func (n *node) String() string {
	switch n.op {
	case "!":
		return "!" + n.args[0].String()
	case "&&", "||":
		return "(" + n.args[0].String() + " " + n.op + " " + n.args[1].String() + ")"
	case "cmp":
		return fmt.Sprintf("(%s %s %#x)", n.name, n.cmp, n.num)
	}
	return n.name
}

// reads reports whether the field is compared with something.
func (n *node) reads(field string) bool {
	return n.op == "cmp" && n.name == field || slices.ContainsFunc(n.args, func(a *node) bool { return a.reads(field) })
}

func (n *node) compile(abi *x86.ABI) func(*tree.Leaf) bool {
	switch n.op {
	case "!":
		a := n.args[0].compile(abi)
		return func(l *tree.Leaf) bool { return !a(l) }
	case "&&":
		a, b := n.args[0].compile(abi), n.args[1].compile(abi)
		return func(l *tree.Leaf) bool { return a(l) && b(l) }
	case "||":
		a, b := n.args[0].compile(abi), n.args[1].compile(abi)
		return func(l *tree.Leaf) bool { return a(l) || b(l) }
	case "cmp":
		return compileCompare(fields[n.name], n.cmp, n.num)
	}
	return Test(abi, n.name)
}

// fields are the numbers of an entry; false where it has none.
var fields = map[string]func(*tree.Leaf) (uint64, bool){
	"va":     func(l *tree.Leaf) (uint64, bool) { return uint64(l.VA), true },
	"size":   func(l *tree.Leaf) (uint64, bool) { return l.Level.Size(), true },
	"raw":    func(l *tree.Leaf) (uint64, bool) { return l.Raw, true },
	"entry":  func(l *tree.Leaf) (uint64, bool) { return uint64(l.Place()), true },
	"pkey":   func(l *tree.Leaf) (uint64, bool) { return uint64(l.Pkey()), l.IsPage() },
	"pfn":    func(l *tree.Leaf) (uint64, bool) { return uint64(l.PFN), l.HasPFN },
	"pa":     func(l *tree.Leaf) (uint64, bool) { return uint64(l.PFN.Phys()), l.HasPFN },
	"type":   func(l *tree.Leaf) (uint64, bool) { return uint64(l.Swap.Type), l.HasSwap() },
	"offset": func(l *tree.Leaf) (uint64, bool) { return l.SwapOffset(), l.HasSwap() },
}

func compileCompare(field func(*tree.Leaf) (uint64, bool), op string, num uint64) func(*tree.Leaf) bool {
	test := map[string]func(uint64) bool{
		"==": func(v uint64) bool { return v == num },
		"!=": func(v uint64) bool { return v != num },
		"<":  func(v uint64) bool { return v < num },
		"<=": func(v uint64) bool { return v <= num },
		">":  func(v uint64) bool { return v > num },
		">=": func(v uint64) bool { return v >= num },
	}[op]
	return func(l *tree.Leaf) bool {
		v, ok := field(l)
		return ok && test(v)
	}
}

// addresses are the fields whose numbers are addresses, which nobody writes in decimal.
var addresses = []string{"va", "pa", "entry"}

// rightsTests are the tests on effective rights.
var rightsTests = map[string]func(*tree.Leaf) bool{
	"r": func(l *tree.Leaf) bool { return l.Rights.R },
	"w": func(l *tree.Leaf) bool { return l.Rights.W },
	"x": func(l *tree.Leaf) bool { return l.Rights.X },
	"u": func(l *tree.Leaf) bool { return l.Rights.U },
}

// levelNames are the tests on the level.
var levelNames = map[string]x86.Level{"pte": x86.LevelPTE, "pmd": x86.LevelPMD, "pud": x86.LevelPUD}

// markerBits are the marker bits with a name of their own; uffd-wp is also a flag.
var markerBits = map[string]swapentry.Marker{
	"uffd-wp": swapentry.MarkerUffdWP, "poisoned": swapentry.MarkerPoisoned, "guard": swapentry.MarkerGuard,
}

// flagNames are names that stand for more than the flag of that name.
var flagNames = map[string][]string{
	"soft-dirty": {"SOFT_DIRTY", "SWP_SOFT_DIRTY"},
	"uffd-wp":    {"UFFD_WP", "SWP_UFFD_WP"},
	"hw-dirty":   {"DIRTY"},
	"exclusive":  {"SWP_EXCLUSIVE"},
	"pat":        {"PAT", "PAT_LARGE"},
}

// Kinds are the kinds that an entry can have.
var Kinds = []tree.Kind{
	tree.KindPresent, tree.KindProtnone, tree.KindSwap, tree.KindMigration, tree.KindDevicePrivate, tree.KindDeviceExclusive, tree.KindHWPoison,
	tree.KindMarker, tree.KindSwapinError, tree.KindUnknown,
}

// formCount is the number of forms that an entry can have.
const formCount = x86.FormRoot + 1

// Test returns the test that a name of the language stands for, compiled for a kernel. The name must be one that can stand
// alone.
func Test(abi *x86.ABI, name string) func(*tree.Leaf) bool {
	if f := rightsTests[name]; f != nil {
		return f
	}
	if level, ok := levelNames[name]; ok {
		return func(l *tree.Leaf) bool { return l.Level == level }
	}
	if kind := tree.Kind(name); slices.Contains(Kinds, kind) {
		return func(l *tree.Leaf) bool { return l.Kind == kind }
	}
	if name == "dirty" { // Linux: arch/x86/include/asm/pgtable.h:pte_dirty()
		bits := x86.PageDirty | abi.SavedDirtyMask()
		return func(l *tree.Leaf) bool { return l.IsPage() && l.Raw&bits != 0 }
	}
	masks := flagMasks(abi, name)
	marker := markerBits[name]
	return func(l *tree.Leaf) bool {
		if marker != 0 && l.Kind == tree.KindMarker && l.Swap.Marker&marker != 0 {
			return true
		}
		raw := l.Raw
		if l.Kind == tree.KindUnknown {
			raw &^= l.Kind.FrameMask(abi, l.Level)
		}
		return raw&masks[l.Level][l.Kind.Form(abi, l.Level, l.Raw)] != 0
	}
}

// flagMasks finds the bits that a name of the language stands for, by level and form of the entry.
func flagMasks(abi *x86.ABI, name string) (masks [x86.LevelPGD + 1][formCount]uint64) {
	names := flagNames[name]
	if names == nil {
		names = []string{strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
	}
	for level := x86.LevelPTE; level <= x86.LevelPUD; level++ {
		for form := range formCount {
			for _, f := range abi.FlagsOf(level, form) {
				if slices.Contains(names, f.Name) {
					masks[level][form] |= f.Mask
				}
			}
		}
	}
	return masks
}
