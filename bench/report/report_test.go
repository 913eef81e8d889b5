package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ptemu/bench"
)

// TestMain forks for the kernel's variant, if that is what this process is for.
func TestMain(m *testing.M) {
	if served, err := bench.ServeForks(); served {
		if err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// sample is a report made by hand: two cases, one of them not measured everywhere.
func sample() *Report {
	row := func(name, variant string, k bench.Kind, level string, ns, floor, kernel, scalar float64) bench.Row {
		return bench.Row{
			Name: name, Size: "256KiB", Order: bench.Contiguous, Variant: variant, Kind: k, Level: level, NsPerPTE: ns, Q1: ns * 0.9,
			Q3: ns * 1.1, RatioFloor: floor, RatioKernel: kernel, RatioScalar: scalar, PTEs: 32768, Rounds: 9,
		}
	}
	return &Report{
		Host: Host{
			CPU: `A <"fast"> & wide CPU`, CPUs: 2, Caches: []string{"L1d 48K"}, Level: "avx512", Kernel: "linux 6.18", Go: "go1.26",
		},
		Rows: []bench.Row{
			row(bench.CaseDense, "avx512", bench.Ours, "avx512", 0.2, 1.0, 120, 9),
			row(bench.CaseDense, "avx2", bench.Ours, "avx2", 0.26, 1.31, 92, 8),
			row(bench.CaseDense, "floor avx512", bench.Floor, "floor", 0.2, 1, 0, 0),
			row(bench.CaseDense, "kernel", bench.Kernel, "kernel", 24, 0, 0, 0),
			row(bench.CaseDense, "scalar", bench.Scalar, "scalar", 1.8, 0, 0, 0),
			{
				Name: bench.CaseNothing, Size: "256KiB", Order: bench.Contiguous, Variant: "kernel", Kind: bench.Kernel,
				Skipped: "not <asked>",
			},
		},
	}
}

// TestJSONRoundTrip: what is written reads back, and has the fields that readers of the rows know.
func TestJSONRoundTrip(t *testing.T) {
	var b bytes.Buffer
	want := sample()
	if err := want.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{
		"name", "size", "order", "level", "ns_per_pte", "ratio_floor", "ratio_kernel", "ratio_scalar", "cpu", "kernel",
	} {
		if !strings.Contains(b.String(), `"`+field+`":`) {
			t.Errorf("no field %q", field)
		}
	}
	var got Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("read %+v, written %+v", got, want)
	}
}

// TestSVG: the plot is XML, and has a mark for each time and the name of each case.
func TestSVG(t *testing.T) {
	var b bytes.Buffer
	if err := sample().writeSVG(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	marks := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "circle" || e.Name.Local == "path" || e.Name.Local == "rect") {
			marks++
		}
	}
	if want := 1 + len(plotted) + 5; marks != want { // background, legend, times
		t.Errorf("%d shapes, want %d", marks, want)
	}
	for _, s := range []string{bench.CaseDense, bench.CaseNothing, "256KiB of tables, contiguous"} {
		if !strings.Contains(text, ">"+s+"<") {
			t.Errorf("no %q", s)
		}
	}
}

// TestReach: what was aimed at is judged in the right direction.
func TestReach(t *testing.T) {
	var b bytes.Buffer
	p := &printer{w: &b, style: markdown}
	p.reach(sample())
	for _, want := range []string{
		"| dense, simple change, L2 | avx512 | 1.00 | <= 1.05 x floor | met |",
		"| dense, simple change, L2 | avx2 | 1.31 | <= 1.3 x floor | missed |",
		"| against the kernel's mprotect, L2 | avx512 | 120.00 | >= 100 x | met |",
		"| against the plain Go loop, L2 | avx512 | 9.00 | >= 10 x | missed |",
		"| against the plain Go loop, L2 | avx2 | 8.00 | >= 8 x | met |",
		"| one page at a random place | avx512 | - | <= 30 ns | not measured |",
		"| allocations per operation | avx512 | 0.00 | <= 0  | met |",
		"6 of 8 met.",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestQuick runs the program on one case and reads what it wrote.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it measures for a second")
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	c := command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(io.Discard)
	c.SetArgs([]string{"--quick", "--cases", bench.CaseFork, "--json", file("j"), "--svg", file("s"), "--markdown", file("m")})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file("j"))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) == 0 || r.Host.Go == "" {
		t.Errorf("rows %d, host %+v", len(r.Rows), r.Host)
	}
	for _, row := range r.Rows {
		if row.Skipped == "" && (row.NsPerPTE <= 0 || row.Rounds < minRounds) {
			t.Errorf("row %+v", row)
		}
	}
	for _, name := range []string{"s", "m"} {
		if b, err := os.ReadFile(file(name)); err != nil || !bytes.Contains(b, []byte(bench.CaseFork)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFlags: what cannot be is said.
func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "6"}, {"--sizes", "3MiB"}, {"--cases", "no such case"}, {"extra"}} {
		c := command()
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		c.SetArgs(args)
		if err := c.Execute(); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
