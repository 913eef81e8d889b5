package litmus

import "slices"

// argKind is an argument of a verb, in its place.
type argKind uint8

const (
	argPages    argKind = iota + 1 // REGION [FIRST[-LAST]]: Op.At
	argTo                          // the same: Op.To
	argRegion                      // the name of a new region: Op.Name
	argChild                       // of a new process: Op.Name
	argFile                        // of a new file
	argOfFile                      // of a file that exists
	argHandle                      // of new references to pages
	argOfHandle                    // of references that exist
	argMark                        // of remembered frames
	argCount                       // a number of pages: Op.Count
	argProt                        // none or rwx: Op.Prot
	argWordTo                      // the word "to"
	argWordAs                      // the word "as"
	argWordWith                    // the word "with"
	argAdvice                      // what madvise is told: first Option
)

// optKind is what follows an option.
type optKind uint8

const (
	optWord optKind = iota
	optNum
	optFile
	optRegion
)

// optSpec is an option of a verb. Those with the same group exclude each other.
type optSpec struct {
	name  string
	kind  optKind
	limit uint64
	group uint8
}

// outcomeKind is what an operation may end with.
type outcomeKind uint8

const (
	outcomeCall   outcomeKind = 1 << iota // fails ERRNO
	outcomeAccess                         // faults WHO, fault, no-fault
)

// verbSpec is the grammar of a verb.
type verbSpec struct {
	name    string
	args    []argKind
	options []optSpec
	outcome outcomeKind
	mayStop bool // can be started and stopped at a point
}

const maxPages = 1 << 18

var (
	byteOption   = optSpec{name: "=", kind: optNum, limit: 255}
	offsetOption = optSpec{name: "byte", kind: optNum, limit: 4095} // one byte, in place of all of a page
)

func words(group uint8, names ...string) (all []optSpec) {
	for _, n := range names {
		all = append(all, optSpec{name: n, group: group})
	}
	return all
}

func opts(parts ...[]optSpec) []optSpec { return slices.Concat(parts...) }

func num(name string, limit uint64) []optSpec {
	return []optSpec{{name: name, kind: optNum, limit: limit}}
}

// The advices of madvise.
var advices = []string{
	"dontneed", "free", "cold", "pageout", "hugepage", "nohugepage", "collapse", "hwpoison", "guard-install", "guard-remove",
	"populate-read", "populate-write", "mergeable", "unmergeable", "dontfork", "dofork", "wipeonfork", "keeponfork", "remove",
}

// The features of userfaultfd.
var uffdFeatures = []string{"wp-unpopulated", "wp-async", "event-fork", "event-remap", "sigbus"}

// pagesOnly is the grammar of an operation on pages without more.
func pagesOnly(name string, o ...optSpec) verbSpec {
	return verbSpec{name: name, args: []argKind{argPages}, options: o, outcome: outcomeCall, mayStop: true}
}

// verbs is the grammar.
var verbs = []verbSpec{
	{name: "file", args: []argKind{argFile, argCount}, options: opts(
		words(1, "shmem", "disk", "ramfs"), words(0, "mkwrite"), num("order", 9))},
	{name: "map", args: []argKind{argRegion, argCount, argProt}, outcome: outcomeCall, mayStop: true, options: opts(
		words(1, "private", "shared"), words(2, "anon"), []optSpec{{name: "of", kind: optFile, group: 2}}, num("offset", maxPages),
		[]optSpec{{name: "behind", kind: optRegion}}, words(0, "populate", "noreserve", "locked"), num("pkey", 15))},
	pagesOnly("unmap"),
	{name: "protect", args: []argKind{argPages, argProt}, options: num("pkey", 15), outcome: outcomeCall, mayStop: true},
	{name: "read", args: []argKind{argPages}, options: []optSpec{offsetOption, byteOption}, outcome: outcomeAccess, mayStop: true},
	{name: "write", args: []argKind{argPages}, options: []optSpec{offsetOption, byteOption}, outcome: outcomeAccess, mayStop: true},
	{name: "exec", args: []argKind{argPages}, outcome: outcomeAccess, mayStop: true},
	{name: "remap", args: []argKind{argPages, argWordAs, argRegion}, options: opts(num("pages", maxPages), words(0, "dontunmap")),
		outcome: outcomeCall, mayStop: true},
	{name: "advise", args: []argKind{argPages, argAdvice}, outcome: outcomeCall, mayStop: true},
	{name: "fork", args: []argKind{argChild}, outcome: outcomeCall, mayStop: true},
	{name: "exit"},
	{name: "pkru", options: opts(num("value", 1<<32-1))},
	{name: "uffd", options: words(0, uffdFeatures...), outcome: outcomeCall},
	pagesOnly("uffd-register", words(0, "missing", "wp")...),
	pagesOnly("uffd-unregister"),
	pagesOnly("uffd-protect"),
	pagesOnly("uffd-resolve"),
	pagesOnly("uffd-copy", byteOption, optSpec{name: "wp"}),
	pagesOnly("uffd-continue", words(0, "wp")...),
	pagesOnly("uffd-zero"),
	pagesOnly("uffd-poison"),
	{name: "uffd-move", args: []argKind{argPages, argWordTo, argTo}, options: words(0, "holes"), outcome: outcomeCall, mayStop: true},
	{name: "uffd-close", outcome: outcomeCall},
	{name: "clear-refs", options: words(1, "soft-dirty", "referenced"), outcome: outcomeCall, mayStop: true},
	pagesOnly("scan-protect"),
	pagesOnly("migrate", opts(num("node", 15), words(0, "own"))...),
	pagesOnly("swap-out"),
	pagesOnly("reclaim"),
	pagesOnly("msync"),
	{name: "swapoff", outcome: outcomeCall, mayStop: true},
	{name: "swapon"},
	{name: "ksm", options: words(0, "zero-pages"), outcome: outcomeCall},
	pagesOnly("swap-fail"),
	pagesOnly("numa"),
	{name: "get", args: []argKind{argHandle, argPages}, options: words(0, "write", "force"),
		outcome: outcomeCall | outcomeAccess, mayStop: true},
	{name: "pin", args: []argKind{argHandle, argPages}, options: words(0, "write", "longterm", "force"),
		outcome: outcomeCall | outcomeAccess, mayStop: true},
	{name: "release", args: []argKind{argOfHandle}},
	{name: "device-read", args: []argKind{argOfHandle}, options: []optSpec{offsetOption, byteOption}},
	{name: "device-write", args: []argKind{argOfHandle}, options: []optSpec{offsetOption, byteOption}},
	pagesOnly("collapse"),
	pagesOnly("khugepaged", opts(num("none", 511), num("swap", 511), num("shared", 511), words(0, "referenced"))...),
	pagesOnly("poison"),
	pagesOnly("device-exclusive"),
	{name: "truncate", args: []argKind{argOfFile, argCount}, outcome: outcomeCall},
	{name: "punch", args: []argKind{argOfFile, argCount}, options: num("pages", maxPages), outcome: outcomeCall},
	{name: "writeback", args: []argKind{argOfFile}, outcome: outcomeCall},
	{name: "file-write", args: []argKind{argOfFile, argCount}, options: []optSpec{offsetOption, byteOption}, outcome: outcomeCall},
	{name: "file-read", args: []argKind{argOfFile, argCount}, options: []optSpec{offsetOption, byteOption}, outcome: outcomeCall},
	{name: "remember", args: []argKind{argPages, argWordAs, argMark}},
	{name: "continue"},
	{name: "finish"},
	{name: "expect", args: []argKind{argPages}},
}

var verbByName = func() map[string]*verbSpec {
	m := map[string]*verbSpec{}
	for i := range verbs {
		m[verbs[i].name] = &verbs[i]
	}
	return m
}()

func (s *verbSpec) option(name string) (int, bool) {
	i := slices.IndexFunc(s.options, func(o optSpec) bool { return o.name == name })
	return i, i >= 0
}

// The ways in which an access is refused.
var faultNames = []string{"uffd-wp", "uffd-missing", "segv-map", "segv-access", "segv-pkey", "bus", "hwpoison", "killed", "waits"}

// The errnos with which calls fail.
var errnoNames = []string{"EINVAL", "ENOMEM", "EAGAIN", "EEXIST", "ENOENT", "EFAULT", "EBUSY", "EACCES", "EPERM",
	"ENOSYS", "EIO", "EHWPOISON", "ESRCH", "ERESTARTNOINTR"}

// itemKind is what follows the name of an expected item.
type itemKind uint8

const (
	itemWord itemKind = iota
	itemNum
	itemPlace
	itemMark
	itemList
)

// itemSpec is an item that an entry can be expected to have.
type itemSpec struct {
	name string
	kind itemKind
	list []string // what a list may hold
}

func itemWords(names ...string) (all []itemSpec) {
	for _, n := range names {
		all = append(all, itemSpec{name: n})
	}
	return all
}

var (
	scanNames    = []string{"wpallowed", "written", "file", "present", "swapped", "pfnzero", "huge", "soft-dirty", "guard"}
	pagemapNames = []string{"present", "swapped", "file", "exclusive", "soft-dirty", "uffd-wp", "guard"}
	areaNames    = []string{"rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "um", "pf", "gu", "uw", "lo", "dc", "ac", "nr", "wf", "sd", "hg",
		"nh", "mg"}
)

// items is everything that can be expected.
var items = slices.Concat(
	// Kinds.
	itemWords("none", "present", "swap", "migration", "migration-read", "migration-read-exclusive", "migration-write", "marker",
		"marker-uffd-wp", "marker-poisoned", "marker-guard", "hwpoison", "swapin-error", "device-private", "device-exclusive", "zero-page",
		"huge", "protnone"),
	// Flags of a page, as the kernel names them.
	itemWords("rw", "user", "pwt", "pcd", "accessed", "dirty", "pse", "global", "special", "uffd-wp", "soft-dirty", "saved-dirty", "nx"),
	// Flags of an entry without a page.
	itemWords("swp-soft-dirty", "swp-uffd-wp", "swp-exclusive", "swp-write", "swp-young", "swp-dirty"),
	// The page behind.
	itemWords("anon-exclusive", "anon", "ksm", "pinned", "swap-cached", "page-dirty", "flush-pending"),
	[]itemSpec{
		{name: "mapcount", kind: itemNum}, {name: "refs", kind: itemNum}, {name: "contents", kind: itemNum}, {name: "order", kind: itemNum},
		{name: "node", kind: itemNum}, {name: "pkey", kind: itemNum}, {name: "value", kind: itemNum}, {name: "vm-page-prot", kind: itemNum},
		{name: "areas", kind: itemNum}, {name: "frame", kind: itemMark}, {name: "same-as", kind: itemPlace},
		{name: "area", kind: itemList, list: areaNames}, {name: "scan", kind: itemList, list: scanNames},
		{name: "pagemap", kind: itemList, list: pagemapNames},
	},
)

var itemByName = func() map[string]*itemSpec {
	m := map[string]*itemSpec{}
	for i := range items {
		m[items[i].name] = &items[i]
	}
	return m
}()
