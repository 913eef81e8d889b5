package elfnote

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"ptemu/capture/internal/capturetest"
)

// words makes note bytes by hand: a uint32 is four bytes, a string is itself.
func words(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.LittleEndian.AppendUint32(b, uint32(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

func TestParse(t *testing.T) {
	const base = 0x1000
	zeros := strings.Repeat("\x00", 40)
	for _, c := range []struct {
		name  string
		align uint64
		in    []byte
		want  []Note
	}{
		{"empty", 4, nil, []Note{}},
		{"only padding", 4, []byte(zeros), []Note{}},
		{"both padded", 4, words(5, 3, 1, "CORE\x00\x00\x00\x00", "abc\x00", 5, 1, 0, "QEMU\x00\x00\x00\x00", "d\x00\x00\x00"),
			[]Note{{"CORE", 1, []byte("abc"), base}, {"QEMU", 0, []byte("d"), base + 24}}},
		{"last padding missing", 4, words(3, 1, 7, "ab\x00\x00", "x"),
			[]Note{{"ab", 7, []byte("x"), base}}},
		{"no content, name padding missing", 4, words(2, 0, 7, "a\x00"),
			[]Note{{"a", 7, []byte{}, base}}},
		{"no name", 4, words(0, 4, 9, "wxyz"), []Note{{"", 9, []byte("wxyz"), base}}},
		{"name without NUL", 4, words(4, 0, 9, "wxyz"), []Note{{"wxyz", 9, []byte{}, base}}},
		{"content ends in zeros", 4, words(2, 8, 1, "a\x00\x00\x00", "x\x00\x00\x00\x00\x00\x00\x00"),
			[]Note{{"a", 1, []byte("x\x00\x00\x00\x00\x00\x00\x00"), base}}},
		{"zeros behind", 4, words(2, 4, 1, "a\x00\x00\x00", "wxyz", zeros),
			[]Note{{"a", 1, []byte("wxyz"), base}}},
		{"aligned to 8", 8, words(4, 4, 1, "GNU\x00", "wxyz\x00\x00\x00\x00", 4, 8, 2, "GNU\x00", "12345678"),
			[]Note{{"GNU", 1, []byte("wxyz"), base}, {"GNU", 2, []byte("12345678"), base + 24}}},
		{"p_align 4096 pads to 4", 4096, words(4, 4, 1, "GNU\x00", "wxyz", 4, 8, 2, "GNU\x00", "12345678"),
			[]Note{{"GNU", 1, []byte("wxyz"), base}, {"GNU", 2, []byte("12345678"), base + 20}}},
	} {
		got, err := ParseAligned(c.in, base, c.align)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestParseHostile(t *testing.T) {
	const base = 0x1000
	good := words(5, 3, 1, "CORE\x00\x00\x00\x00", "abc\x00")
	for _, c := range []struct {
		name string
		in   []byte
		off  int64
	}{
		{"half a header", append(good[:len(good):len(good)], 1, 0, 0), base + 24},
		{"name too long", words(9, 0, 1, "12345678"), base},
		{"name of 2^32-1", words(-1, 0, 1, "12345678"), base},
		{"content too long", words(4, 5, 1, "abc\x00", "wxyz"), base},
		{"content of 2^32-1", words(4, -1, 1, "abc\x00", "wxyz"), base},
		{"all ones", words(-1, -1, -1, -1), base},
		{"content without its padded name", words(1, 1, 1, "a"), base},
	} {
		notes, err := Parse(c.in, base)
		if notes != nil {
			t.Errorf("%s: notes and an error", c.name)
		}
		capturetest.WantFormatError(t, err, c.off)
	}

	many := bytes.Repeat(words(0, 0, 1), MaxNotes+1)
	_, err := Parse(many, 0)
	capturetest.WantFormatError(t, err, 12*MaxNotes)
}

func TestAppendRoundTrip(t *testing.T) {
	want := []Note{
		{Name: "CORE", Type: 1, Desc: []byte("four")},
		{Name: "", Type: 0xffffffff, Desc: []byte{0, 0, 7}},
		{Name: "VMCOREINFO", Desc: []byte("OSRELEASE=7.2.13\n")},
		{Name: "end", Type: 2, Desc: []byte{}},
	}
	var b []byte
	for i := range want {
		want[i].Off = int64(len(b))
		b = Append(b, want[i])
		if len(b)%4 != 0 {
			t.Fatalf("note %d ends at %d", i, len(b))
		}
	}
	got, err := Parse(b, 0)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if got := VMCoreInfo(got); string(got) != "OSRELEASE=7.2.13\n" {
		t.Errorf("VMCOREINFO is %q", got)
	}
	if got := VMCoreInfo(want[:2]); got != nil {
		t.Errorf("VMCOREINFO where there is none: %q", got)
	}
}

func FuzzNotes(f *testing.F) {
	f.Add(words(5, 3, 1, "CORE\x00\x00\x00\x00", "abc\x00", 5, 1, 0, "QEMU\x00\x00\x00\x00", "d\x00\x00\x00"), uint64(4))
	f.Add(words(4, 4, 1, "GNU\x00", "wxyz\x00\x00\x00\x00", 4, 8, 2, "GNU\x00", "12345678"), uint64(8))
	c := CPU{CR3: 0x1000, HasKernelGSBase: true}
	f.Add(Append(nil, c.Note()), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, align uint64) {
		notes, err := ParseAligned(b, 0, align)
		if (err != nil) != (notes == nil) {
			t.Fatalf("%d notes with error %v", len(notes), err)
		}
		end := int64(0)
		for _, n := range notes {
			if n.Off < end || n.Off+headerSize+int64(len(n.Name)+len(n.Desc)) > int64(len(b)) {
				t.Fatalf("note at %#x with %d+%d bytes, the last ended at %#x of %#x", n.Off, len(n.Name), len(n.Desc), end, len(b))
			}
			end = n.Off + headerSize + int64(len(n.Desc))
		}
		cpus, err := CPUs(notes)
		if err != nil && cpus != nil {
			t.Fatalf("CPUs with error %v", err)
		}
		PRStatuses(notes)
		VMCoreInfo(notes)

		// What was parsed, written again, is parsed the same.
		var again []byte
		for i := range notes {
			notes[i].Off = int64(len(again))
			again = Append(again, notes[i])
		}
		if back, err := Parse(again, 0); err != nil || len(back) != len(notes) {
			t.Fatalf("written again: %v, %d notes of %d", err, len(back), len(notes))
		}
	})
}
