package x86_test

import (
	"fmt"
	"strings"

	"ptemu/arch/x86"
)

// A private anonymous page on 7.2: mapped by a read fault, written, and made inaccessible with mprotect(PROT_NONE).
func ExamplePTE() {
	abi := x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4))
	show := func(what string, e x86.PTE) {
		flags := strings.Join(abi.AppendFlags(nil, x86.LevelPTE, uint64(e)), " ")
		fmt.Printf("%-9s 0x%016x frame %#x, dirty %v: %s\n", what, uint64(e), uint64(e.PFN(abi)), e.Dirty(abi), flags)
	}
	e := x86.MkPTE(abi, 0x12345, (x86.VMRead | x86.VMWrite).PageProt(abi))
	show("read", e)
	e = e.MkDirty(abi).MaybeMkWrite(abi, x86.VMRead|x86.VMWrite)
	show("written", e)
	e = e.Modify(abi, x86.VMFlags(0).PageProt(abi))
	show("PROT_NONE", e)
	// Output:
	// read      0x8000000012345025 frame 0x12345, dirty false: USER ACCESSED NX
	// written   0x8000000012345867 frame 0x12345, dirty true: RW USER ACCESSED DIRTY SOFT_DIRTY NX
	// PROT_NONE 0x040fffffedcba920 frame 0x12345, dirty true: ACCESSED PROTNONE SOFT_DIRTY SAVED_DIRTY
}
