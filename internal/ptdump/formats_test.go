package ptdump

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/report"
)

// flatten makes of an object what its record is: names of nested fields are joined with "_" (the rights have none of their
// own), lists with "|"; true is 1, and null is empty.
func flatten(to map[string]string, prefix string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			switch {
			case name == "rights":
				flatten(to, prefix, field)
			default:
				flatten(to, prefix+name+"_", field)
			}
		}
		return
	case []any:
		var words []string
		for _, w := range v {
			words = append(words, fmt.Sprint(w))
		}
		to[strings.TrimSuffix(prefix, "_")] = strings.Join(words, "|")
	case bool:
		to[strings.TrimSuffix(prefix, "_")] = map[bool]string{true: "1", false: "0"}[v]
	case nil:
		to[strings.TrimSuffix(prefix, "_")] = ""
	default:
		to[strings.TrimSuffix(prefix, "_")] = fmt.Sprint(v)
	}
}

// TestFormatsHoldTheSame: json, jsonl and csv hold the same: every field of every object is in its record, by name, and a record has
// nothing besides.
func TestFormatsHoldTheSame(t *testing.T) {
	small, damaged := capturetest.Small(t, false), capturetest.Small(t, true)
	guest := filepath.Join(capturetest.Repository(), "testdata", "investigate", "processes.elf.zst")
	for _, args := range [][]string{
		{"entries", small}, {"entries", "--phys-bits", "46", damaged}, {"dump", small}, {"dump", "--phys-bits", "46", damaged},
		{"entries", "--kernel", "7.2", "--device-private", "on", small}, {"dump", "--kernel", "7.2", "--device-private", "on", small},
		{"who", "--swap", "0:0-0x1000000", guest, "0+32M", "b8000", "ffff000000"}, {"who", "--all", guest}, {"diff", small, damaged}, {"diff", damaged, small},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			with := func(format string) string {
				_, out, errors := run(t, append([]string{args[0], "--format", format}, args[1:]...)...)
				if out == "" {
					t.Fatalf("no output: %s", errors)
				}
				return out
			}
			read := func(text string) (objects []map[string]any) {
				for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
					dec.UseNumber()
					var o map[string]any
					if err := dec.Decode(&o); err != nil {
						t.Fatal(err)
					}
					objects = append(objects, o)
				}
				return objects
			}
			lines := read(with("jsonl"))
			var array []map[string]any
			dec := json.NewDecoder(strings.NewReader(with("json")))
			dec.UseNumber()
			if err := dec.Decode(&array); err != nil || fmt.Sprint(array) != fmt.Sprint(lines) {
				t.Errorf("json: %v, or differs from jsonl", err)
			}
			records, err := csv.NewReader(strings.NewReader(with("csv"))).ReadAll()
			if err != nil || len(records) != len(lines)+1 || len(lines) == 0 {
				t.Fatalf("%d records of %d objects: %v", len(records), len(lines), err)
			}
			for i, o := range lines {
				want := map[string]string{}
				flatten(want, "", o)
				bad := false
				for j, name := range records[0] {
					got := records[i+1][j]
					if s, ok := want[name]; ok && (name == "comm" || name == "area_name") {
						want[name] = report.QuoteName(s) // a name may hold anything, and a table is printed too
					}
					bad = bad || got != want[name] && !(want["kind"] == "problem" && name == "count")
					delete(want, name)
				}
				if bad || len(want) > 0 {
					t.Fatalf("record\n %q\n of the columns %q\n is not %v; without a column: %q", records[i+1], records[0], o, slices.Collect(maps.Keys(want)))
				}
			}
		})
	}
}
