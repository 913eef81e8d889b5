package kdump

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

func gunzip(t testing.TB, path string) []byte {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A machine of 1 MiB and two processors that QEMU 7.2 dumped before its first instruction. Its firmware is 64 KiB, seen
// below 1 MiB and below 4 GiB: page p is zeros if p is even, else byte i of it is i*i/(p+1)+p. Made with
//
//	qemu-system-x86_64 -S -m 1 -smp 2 -vga none -nodefaults -display none -bios FIRMWARE -qmp stdio
//	{"execute":"dump-guest-memory","arguments":{"paging":false,"protocol":"file:bare.kdump","format":"kdump-zlib"}}
func TestQEMU(t *testing.T) {
	f := mustOpen(t, gunzip(t, "testdata/qemu-7.2-bare.kdump.gz"))
	if got, want := f.Format(), "kdump-compressed, flattened, zlib"; got != want {
		t.Errorf("Format() = %q, want %q", got, want)
	}
	if f.Header.Version != 6 || f.Header.Machine != "x86_64" || f.Header.MaxPFN != 1<<20 || f.Header.NrCPUs != 2 {
		t.Errorf("header %+v", f.Header)
	}
	want := []physmem.Range{{Start: 0, End: 1 << 20}, {Start: 1<<32 - 1<<16, End: 1 << 32}}
	if !reflect.DeepEqual(f.Ranges(), want) {
		t.Errorf("ranges %v, want %v", f.Ranges(), want)
	}
	if len(f.CPUs) != 2 || len(f.Notes) != 4 || f.VMCoreInfo != nil {
		t.Fatalf("%d CPUs, %d notes, VMCOREINFO %q", len(f.CPUs), len(f.Notes), f.VMCoreInfo)
	}
	for i, c := range f.CPUs { // the state after reset
		if c.CR0 != 0x60000010 || c.CR3 != 0 || c.RIP != 0xfff0 || c.CS != 0xf000 || c.RFLAGS != 2 {
			t.Errorf("CPU %d: %+v", i, c)
		}
	}
	firmware := func(p int) (want physmem.Frame) {
		if p%2 == 1 {
			for i := range want {
				want[i] = byte(i*i/(p+1) + p)
			}
		}
		return want
	}
	for _, r := range want {
		for pfn := r.Start.PFN(); pfn < r.End.PFN(); pfn++ {
			var want, got physmem.Frame
			if pfn >= 1<<20-16 || pfn >= 0xf0 && pfn < 0x100 {
				want = firmware(int(pfn % 16))
			}
			if err := f.ReadFrame(pfn, &got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("frame %#x has wrong content", uint64(pfn))
			}
		}
	}
	for _, pfn := range []x86.PFN{1 << 8, 1<<20 - 17, 1 << 20} {
		wantErr(t, f.ReadFrame(pfn, new(physmem.Frame)), uint64(pfn), physmem.ErrAbsent)
	}
}

// Pages that other programs packed.
func TestForeignPages(t *testing.T) {
	in, err := os.Open("testdata/pages.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<16)
	n := 0
	for ; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var codec, sum, packed string
		if _, err := fmt.Sscan(lines.Text(), &codec, &sum, &packed); err != nil {
			t.Fatal(err)
		}
		flag := map[string]uint32{"zlib": flagZlib, "lzo": flagLZO, "zstd": flagZstd}[codec]
		b, err := hex.DecodeString(packed)
		if err != nil {
			t.Fatal(err)
		}
		var page physmem.Frame
		if err := new(scratch).unpack(flag, b, &page); err != nil {
			t.Errorf("line %d, %s: %v", n+1, codec, err)
		} else if got := fmt.Sprintf("%x", sha256.Sum256(page[:])); got != sum {
			t.Errorf("line %d, %s: SHA-256 %s, want %s", n+1, codec, got, sum)
		}
		// Less than all of it is never a page.
		for cut := range len(b) {
			err := new(scratch).unpack(flag, b[:cut], &page)
			if err == nil {
				t.Fatalf("line %d, %s: cut at %d of %d: no error", n+1, codec, cut, len(b))
			}
		}
	}
	if n == 0 || lines.Err() != nil {
		t.Fatalf("%d lines, %v", n, lines.Err())
	}
}
