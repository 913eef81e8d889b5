package qemu

import (
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// mtreeText is, shortened, what QEMU 7.2 prints of a machine with two backends and memory above 4 GiB.
const mtreeText = `FlatView #0
 AS "cpu-smm-0", root: memory
 Root memory region: memory
  0000000000000000-00000000000c2fff (prio 0, ram): ram0

FlatView #1
 AS "piix3-ide", root: bus master container
 Root memory region: (none)
  No rendered FlatView

FlatView #3
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-00000000000c2fff (prio 0, ram): ram0
  00000000000c3000-00000000000e7fff (prio 0, rom): ram0 @00000000000c3000 KVM
  0000000000100000-000000000fffffff (prio 0, ram): ram0 @0000000000100000
  00000000fd000000-00000000fd0007ff (prio 1, ram): vga.vram
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000800-000000011fffffff (prio 0, ram): my ram: 1 @0000000010000800

FlatView #4
 AS "I/O", root: io
  0000000000000000-0000000000000007 (prio 0, ram): not memory
`

func TestParseMtree(t *testing.T) {
	want := []region{
		{0, 0xc3000, "ram0", 0},
		{0xc3000, 0xe8000, "ram0", 0xc3000},
		{0x100000, 0x10000000, "ram0", 0x100000},
		{0xfffc0000, 0x100000000, "pc.bios", 0},
		{0x100001000, 0x120000000, "my ram: 1", 0x10001000},
	}
	for name, text := range map[string]string{"lines": mtreeText, "CRLF": strings.ReplaceAll(mtreeText, "\n", "\r\n")} {
		if got, err := parseMtree(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "no memory": "FlatView #0\n AS \"memory\", root: system\n  No rendered FlatView\n",
		"overlap": "FlatView #0\n AS \"memory\", root: system\n  0000-1fff (prio 0, ram): a\n  1000-2fff (prio 0, ram): b\n",
	} {
		if got, err := parseMtree(text); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func FuzzMtree(f *testing.F) {
	f.Add(mtreeText)
	f.Fuzz(func(t *testing.T, text string) {
		regions, err := parseMtree(text)
		if (err == nil) != (len(regions) > 0) {
			t.Fatalf("%d regions, %v", len(regions), err)
		}
		for i, r := range regions {
			if r.start >= r.end || (r.start|r.end).Offset() != 0 || i > 0 && r.start < regions[i-1].end {
				t.Fatalf("region %d: %+v", i, r)
			}
		}
	})
}

func TestParseFrame(t *testing.T) {
	var text strings.Builder
	var want physmem.Frame
	for i := range x86.EntriesPerTable {
		if i%2 == 0 {
			if i > 0 {
				text.WriteByte('\n')
			}
			text.WriteString(strings.TrimPrefix(x86.Phys(0x7000+8*i).String(), "0x") + ":")
		}
		v := uint64(i)<<56 | uint64(i)
		want[8*i], want[8*i+1], want[8*i+7] = byte(v), byte(v>>8), byte(v>>56)
		text.WriteString(" " + x86.Phys(v).String())
	}
	var got physmem.Frame
	if err := parseFrame(text.String(), 0x7000, &got); err != nil || got != want {
		t.Fatalf("%v", err)
	}
	for name, bad := range map[string]string{
		"another place": strings.Replace(text.String(), "7000:", "8000:", 1),
		"no memory":     "Cannot access memory\n",
		"short":         text.String()[:200],
		"long":          text.String() + " 0x1",
	} {
		if parseFrame(bad, 0x7000, &got) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
