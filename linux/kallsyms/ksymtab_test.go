package kallsyms_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
)

const imageLast = imageStart + 0x5fffff

// exports builds an export table of n names at va, with entries of a size. Symbol i is at first+16*i.
func exports(mem ram, va, first x86.Virt, size, n int) {
	text := va + 0x100000
	for i := range n {
		name := fmt.Sprintf("symbol_%04d", i)
		if i == n/2 {
			name = "symbol_0500_init" // between 0499 and 0501, if n is 1000
		}
		mem.write(text, append([]byte(name), 0))
		at := va + x86.Virt(i*size)
		e := binary.LittleEndian.AppendUint32(nil, uint32(first+x86.Virt(16*i)-at))
		e = binary.LittleEndian.AppendUint32(e, uint32(text-at-4))
		mem.write(at, append(e, make([]byte, size-8)...))
		text += x86.Virt(len(name) + 1)
	}
}

func TestFindExport(t *testing.T) {
	for _, size := range []int{12, 8} {
		mem := ram{}
		mem.write(imageStart, make([]byte, 0x600000))
		exports(mem, imageStart+0xffffc, imageStart, size, 1000) // the first entry and the first name lie across a megabyte's end
		for _, i := range []int{0, 1, 7, 321, 998, 999} {
			want := imageStart + x86.Virt(16*i)
			if va, err := kallsyms.FindExport(mem, imageStart, imageLast, fmt.Sprintf("symbol_%04d", i)); err != nil || va != want {
				t.Errorf("entries of %d bytes: symbol %d: %v, %v, want %v", size, i, va, err, want)
			}
		}
		if va, err := kallsyms.FindExport(mem, imageStart, imageLast, "symbol_0500_init"); err != nil || va != imageStart+16*500 {
			t.Errorf("entries of %d bytes: %v, %v", size, va, err)
		}
		for name, msg := range map[string]string{"": "no name", "symbol_0500": "does not hold", "init": "no entry", "symbol_1000": "does not hold"} {
			if _, err := kallsyms.FindExport(mem, imageStart, imageLast, name); !errors.Is(err, kallsyms.ErrNoExport) || !strings.Contains(err.Error(), msg) {
				t.Errorf("entries of %d bytes: %q: %v", size, name, err)
			}
		}
		// A table too short to be believed, and one that contradicts.
		exports(mem, imageStart+0x300004, imageStart+0x8000, size, 8)
		if va, err := kallsyms.FindExport(mem, imageStart, imageLast, "symbol_0001"); err != nil || va != imageStart+16 {
			t.Errorf("entries of %d bytes, beside a short table: %v, %v", size, va, err)
		}
		exports(mem, imageStart+0x300004, imageStart+0x8000, size, 1000)
		if _, err := kallsyms.FindExport(mem, imageStart, imageLast, "symbol_0001"); !errors.Is(err, kallsyms.ErrNoExport) || !strings.Contains(err.Error(), "and at") {
			t.Errorf("entries of %d bytes, two tables: %v", size, err)
		}
	}
}
