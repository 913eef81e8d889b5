package proc

import (
	"encoding/json"
	"reflect"
	"testing"

	"ptemu/linux"
)

// TestJSON: what comes back is the same, shared spaces and files included.
func TestJSON(t *testing.T) {
	file := &File{Dev: 5 << 20, Inode: 7, Path: "/bin/a\x01 b\xff", Shmem: true}
	mm := &MM{
		Addr: 0xffff888000001000, Roots: linux.Roots{Kernel: 0x2000, User: 0x3000, PTI: true, Why: "pair"}, AreasErr: "cut off",
		Areas: []VMA{
			{Start: 0x1000, End: 0x3000, Flags: 1 << 63, File: file, Offset: 4096},
			{Start: 0x3000, End: 0x4000, Flags: 3, File: file, Anon: true},
			{Start: 0x5000, End: 0x6000, Name: "[anon:\xc3]"},
		},
	}
	want := &Processes{
		List: []*Process{
			{PID: 1, TGID: 1, Comm: "init", MM: mm, Threads: []Thread{{PID: 9, Comm: "w\x80\xff", Task: 3}}},
			{PID: 2, TGID: 2, Comm: "\x00:größe", Kernel: true},
			{PID: 3, TGID: 3, PPID: 1, Comm: "\x01\x7f\xff", MM: mm},
			{PID: -1, TGID: -1, MM: &MM{Roots: linux.Roots{Kernel: 0x9000}, Areas: []VMA{}}},
		},
		Facts: []linux.Finding{{What: "tasks", Value: "2", Why: "list"}}, Warnings: []string{"odd"},
		flags: &flagSet{[]flagCode{{1, "rd"}, {1 << 63, "zz"}}},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := &Processes{}
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s", text)
	}
	if got.List[0].MM != got.List[2].MM || got.List[0].MM.Areas[0].File != got.List[0].MM.Areas[1].File {
		t.Error("what was shared is not any more")
	}
	if got.Flag("zz") != 1<<63 {
		t.Error("flags are lost")
	}
	if want.List[1].Comm != "\x00:größe" || file.Path != "/bin/a\x01 b\xff" {
		t.Error("the original was changed")
	}
	for _, bad := range []string{
		`{"Processes":[{"PID":1,"MM":1}]}`, `{"Processes":[{"PID":1,"MM":-1}]}`, `{"Processes":[null]}`,
		`{"Spaces":[{"Areas":[{"Start":1,"File":1}]}]}`, `{"Spaces":[{"Areas":[null]}]}`, `[]`,
		`{"Processes":[{"PID":-2,"TGID":1}]}`, `{"Processes":[{"PID":5000000}]}`, `{"Processes":[{"PID":1},{"PID":1}]}`,
		`{"Processes":[{"PID":1,"Threads":[{"PID":-1}]}]}`,
		`{"Spaces":[{"Areas":[{"Start":4096,"End":4096}]}]}`, `{"Spaces":[{"Areas":[{"Start":8192,"End":4096}]}]}`,
		`{"Spaces":[{"Areas":[{"Start":4096,"End":5000}]}]}`, `{"Spaces":[{"Areas":[{"Start":4096,"End":18446744073709547520}]}]}`,
		`{"Spaces":[{"Areas":[{"Start":4096,"End":12288},{"Start":8192,"End":16384}]}]}`,
		`{"Spaces":[{"Areas":[{"Start":8192,"End":12288},{"Start":0,"End":4096}]}]}`,
		`{"Spaces":[{"Roots":{"Kernel":4097}}]}`, `{"Files":[null]}`,
	} {
		if err := json.Unmarshal([]byte(bad), &Processes{}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
