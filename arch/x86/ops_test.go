package x86

import (
	"strings"
	"testing"
)

// The rules of the helpers as data: which bits an operation sets (+) and clears (-), from left to right. "save" moves
// the dirty state of a read-only entry to SAVED_DIRTY, "restore" that of a writable one back; before 6.6 both do
// nothing. Rules that start with "6.1:" are that kernel's.
//
// Bit numbers stand here a second time, on purpose.
var opBits = map[string]uint{"P": 0, "RW": 1, "USER": 2, "A": 5, "D": 6, "PSE": 7, "G": 8, "SPECIAL": 9, "U": 10, "SD": 11, "S": 58, "NX": 63}

var opRules = map[string]string{
	"wrprotect":        "-RW save",
	"mkwrite":          "+RW restore",
	"mkwrite_novma":    "+RW",
	"mkwrite_shstk":    "-RW +D",
	"mkdirty":          "+D +SD save",
	"mkclean":          "-D -S",
	"mkyoung":          "+A",
	"mkold":            "-A",
	"mkexec":           "-NX",
	"mksoft_dirty":     "+SD",
	"clear_soft_dirty": "-SD",
	"mkuffd_wp":        "+U -RW save",
	"6.1:mkuffd_wp":    "+U",
	"clear_uffd_wp":    "-U",
	"mkspecial":        "+SPECIAL",
	"mkhuge":           "+PSE",
	"clrhuge":          "-PSE",
	"mkglobal":         "+G",
	"clrglobal":        "-G",
	"mksaveddirty":     "save",
	"clear_saveddirty": "restore",
	// For a writable area, one with shadow stacks, and one that is not writable.
	"mkwrite(vma)":       "+RW restore",
	"mkwrite(shstk)":     "-RW +D",
	"6.1:mkwrite(shstk)": "+RW",
	"mkwrite(ro)":        "",
}

// predicates: any of these bits set.
var anyRules = map[string]string{
	"young": "A", "dirty": "D S", "6.1:dirty": "D", "soft_dirty": "SD", "uffd_wp": "U", "special": "SPECIAL",
	"present_pte": "P G", "present_pmd": "P G PSE", "present_pud": "P", "write": "RW", "huge": "PSE", "global": "G",
}

func rule(rules map[string]string, kernel, name string) []string {
	if r, ok := rules[kernel+":"+name]; ok {
		return strings.Fields(r)
	}
	r, ok := rules[name]
	if !ok {
		panic(name)
	}
	return strings.Fields(r)
}

func applyRule(kernel string, v uint64, steps []string) uint64 {
	bit := func(name string) uint64 { return 1 << opBits[name] }
	for _, s := range steps {
		switch {
		case s[0] == '+':
			v |= bit(s[1:])
		case s[0] == '-':
			if v&bit(s[1:]) != 0 && !(kernel == "6.1" && s == "-S") {
				v -= bit(s[1:])
			}
		case kernel == "6.1":
		case s == "save":
			if v&bit("RW") == 0 && v&bit("D") != 0 {
				v = v - bit("D") | bit("S")
			}
		case s == "restore":
			if v&bit("RW") != 0 && v&bit("S") != 0 {
				v = v - bit("S") | bit("D")
			}
		}
	}
	return v
}

func unary[E ~uint64](f func(E) E) func(uint64) uint64 {
	return func(v uint64) uint64 { return uint64(f(E(v))) }
}

func unaryABI[E ~uint64](a *ABI, f func(E, *ABI) E) func(uint64) uint64 {
	return func(v uint64) uint64 { return uint64(f(E(v), a)) }
}

func area[E ~uint64](a *ABI, f func(E, *ABI, VMFlags) E, flags VMFlags) func(uint64) uint64 {
	return func(v uint64) uint64 { return uint64(f(E(v), a, flags)) }
}

func predicate[E ~uint64](f func(E) bool) func(uint64) bool {
	return func(v uint64) bool { return f(E(v)) }
}

func predicateABI[E ~uint64](a *ABI, f func(E, *ABI) bool) func(uint64) bool {
	return func(v uint64) bool { return f(E(v), a) }
}

// opsOf are the operations of each type, by the names of the rules.
func opsOf(a *ABI) map[string]map[string]func(uint64) uint64 {
	return map[string]map[string]func(uint64) uint64{
		"pte": {
			"wrprotect": unaryABI(a, PTE.WrProtect), "mkwrite": unaryABI(a, PTE.MkWrite), "mkwrite_novma": unary(PTE.MkWriteNoVMA),
			"mkwrite_shstk": unary(PTE.MkWriteShstk), "mkdirty": unaryABI(a, PTE.MkDirty), "mkclean": unaryABI(a, PTE.MkClean),
			"mkyoung": unary(PTE.MkYoung), "mkold": unary(PTE.MkOld), "mkexec": unary(PTE.MkExec), "mkspecial": unary(PTE.MkSpecial),
			"mksoft_dirty": unary(PTE.MkSoftDirty), "clear_soft_dirty": unary(PTE.ClearSoftDirty),
			"mkuffd_wp": unaryABI(a, PTE.MkUffdWP), "clear_uffd_wp": unary(PTE.ClearUffdWP),
			"mkhuge": unary(PTE.MkHuge), "clrhuge": unary(PTE.ClrHuge), "mkglobal": unary(PTE.MkGlobal), "clrglobal": unary(PTE.ClrGlobal),
			"mksaveddirty": unaryABI(a, PTE.MkSavedDirty), "clear_saveddirty": unaryABI(a, PTE.ClearSavedDirty),
			"mkwrite(vma)":   area(a, PTE.MaybeMkWrite, VMWrite),
			"mkwrite(shstk)": area(a, PTE.MaybeMkWrite, VMWrite|VMShadowStack),
			"mkwrite(ro)":    area(a, PTE.MaybeMkWrite, VMShadowStack|VMRead),
		},
		"pmd": {
			"wrprotect": unaryABI(a, PMD.WrProtect), "mkwrite": unaryABI(a, PMD.MkWrite), "mkwrite_novma": unary(PMD.MkWriteNoVMA),
			"mkwrite_shstk": unary(PMD.MkWriteShstk), "mkdirty": unaryABI(a, PMD.MkDirty), "mkclean": unaryABI(a, PMD.MkClean),
			"mkyoung": unary(PMD.MkYoung), "mkold": unary(PMD.MkOld), "mkspecial": unary(PMD.MkSpecial),
			"mksoft_dirty": unary(PMD.MkSoftDirty), "clear_soft_dirty": unary(PMD.ClearSoftDirty),
			"mkuffd_wp": unaryABI(a, PMD.MkUffdWP), "clear_uffd_wp": unary(PMD.ClearUffdWP), "mkhuge": unary(PMD.MkHuge),
			"mksaveddirty": unaryABI(a, PMD.MkSavedDirty), "clear_saveddirty": unaryABI(a, PMD.ClearSavedDirty),
			"mkwrite(vma)":   area(a, PMD.MaybeMkWrite, VMWrite),
			"mkwrite(shstk)": area(a, PMD.MaybeMkWrite, VMWrite|VMShadowStack),
			"mkwrite(ro)":    area(a, PMD.MaybeMkWrite, VMShadowStack|VMRead),
		},
		"pud": {
			"wrprotect": unaryABI(a, PUD.WrProtect), "mkwrite": unaryABI(a, PUD.MkWrite), "mkdirty": unaryABI(a, PUD.MkDirty),
			"mkclean": unaryABI(a, PUD.MkClean), "mkyoung": unary(PUD.MkYoung), "mkold": unary(PUD.MkOld), "mkspecial": unary(PUD.MkSpecial),
			"mksoft_dirty": unary(PUD.MkSoftDirty), "clear_soft_dirty": unary(PUD.ClearSoftDirty), "mkhuge": unary(PUD.MkHuge),
			"mksaveddirty": unaryABI(a, PUD.MkSavedDirty), "clear_saveddirty": unaryABI(a, PUD.ClearSavedDirty),
		},
	}
}

func predicatesOf(a *ABI) map[string]map[string]func(uint64) bool {
	all := map[string]map[string]func(uint64) bool{
		"pte": {
			"young": predicate(PTE.Young), "dirty": predicateABI(a, PTE.Dirty), "soft_dirty": predicate(PTE.SoftDirty),
			"uffd_wp": predicate(PTE.UffdWP), "special": predicate(PTE.Special), "present_pte": predicate(PTE.Present),
			"write": predicateABI(a, PTE.Write), "huge": predicate(PTE.Huge), "global": predicate(PTE.Global),
		},
		"pmd": {
			"young": predicate(PMD.Young), "dirty": predicateABI(a, PMD.Dirty), "soft_dirty": predicate(PMD.SoftDirty),
			"uffd_wp": predicate(PMD.UffdWP), "present_pmd": predicate(PMD.Present), "write": predicateABI(a, PMD.Write),
			"huge": predicate(PMD.Leaf),
		},
		"pud": {
			"young": predicate(PUD.Young), "dirty": predicateABI(a, PUD.Dirty), "soft_dirty": predicate(PUD.SoftDirty),
			"present_pud": predicate(PUD.Present), "write": predicate(PUD.Write),
		},
	}
	if a.kernel.Release != "6.1" {
		all["pmd"]["special"], all["pud"]["special"] = predicateABI(a, PMD.Special), predicateABI(a, PUD.Special)
		all["pud"]["huge"] = predicateABI(a, PUD.Leaf)
	}
	return all
}

// TestOps holds every operation and predicate of PTE, PMD and PUD against the rules, for every subset of the bits that
// any of them reads, beside a frame, a key and cache bits that none may touch.
func TestOps(t *testing.T) {
	const rest = 5<<59 | 0x2345<<30 | 3<<3
	for release, a := range abis(t) {
		for level, ops := range opsOf(a) {
			for name, f := range ops {
				steps := rule(opRules, release, name)
				subsets(deciding, func(v uint64) {
					v |= rest
					if got, want := f(v), applyRule(release, v, steps); got != want {
						t.Fatalf("%s: %s_%s(%#016x) = %#016x, want %#016x", release, level, name, v, got, want)
					}
				})
			}
		}
		for level, predicates := range predicatesOf(a) {
			for name, f := range predicates {
				var mask uint64
				for _, b := range rule(anyRules, release, name) {
					mask |= 1 << opBits[b]
				}
				subsets(deciding, func(v uint64) {
					if got, want := f(v|rest), v&mask != 0; got != want {
						t.Fatalf("%s: %s_%s(%#016x) = %v", release, level, name, v|rest, got)
					}
				})
			}
		}
	}
}

// TestShadowStackPredicates: on a processor with shadow stacks D without RW can be written, in a PMD if it is a leaf.
func TestShadowStackPredicates(t *testing.T) {
	for name, a := range variants(t) {
		has := strings.HasSuffix(name, "/shstk") && !strings.HasPrefix(name, "6.1/")
		subsets(deciding, func(v uint64) {
			stack := has && v>>6&1 == 1 && v>>1&1 == 0
			huge := stack && v>>7&1 == 1
			rw := v>>1&1 == 1
			if PTE(v).Shstk(a) != stack || PMD(v).Shstk(a) != huge || PUD(v).Shstk(a) != huge ||
				PTE(v).Write(a) != (rw || stack) || PMD(v).Write(a) != (rw || huge) || PUD(v).Write() != rw {
				t.Fatalf("%s: %#016x", name, v)
			}
		})
	}
}
