package ptdump_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/ptdump"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// TestEmulatedMemory: ptdump explains memory that the emulator wrote out.
func TestEmulatedMemory(t *testing.T) {
	for _, levels := range []int{4, 5} {
		ram, err := physmem.NewRAM(0x80000, 1024)
		if err != nil {
			t.Fatal(err)
		}
		defer ram.Close()
		tree, err := pgtable.New(ram, x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(levels)))
		if err != nil {
			t.Fatal(err)
		}
		r := pgtable.Range{First: 0x7f0000000000, Last: 0x7f0000000000 + 600*x86.PageSize - 1}
		if err := tree.Map(r, 0x1000, x86.ProtShared); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "emulated.elf")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := elfcore.Write(f, ram, ram.Ranges(), nil); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		var out, complaints bytes.Buffer
		args := []string{"dump", "--kernel", "6.12", "--levels", fmt.Sprint(levels), "--cr3", tree.Root().Phys().String(), path}
		if code := ptdump.Main(t.Context(), args, &out, &complaints); code != 0 {
			t.Fatalf("ptdump ends with %d: %s", code, complaints.String())
		}
		for _, want := range []string{"0x00007f0000000000-0x00007f0000258000", "2400K"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%d levels: the dump lacks %q:\n%s%s", levels, want, out.String(), complaints.String())
			}
		}
	}
}
