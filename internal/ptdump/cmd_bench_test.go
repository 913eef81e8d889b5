package ptdump

import (
	"fmt"
	"io"
	"os"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/physmem"
)

// BenchmarkProcesses measures the commands that look at all processes, on 1000 processes with 4 million pages, against
// reading each table once.
func BenchmarkProcesses(b *testing.B) {
	for _, run := range []int{1, 16, 512} {
		m := capturetest.Workers(1000, 8, run)
		path := m.Write(b, 0)
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("run=%d/read", run), func(b *testing.B) {
			s := capturetest.Open(b, path, "cr3")
			b.SetBytes(info.Size())
			var t physmem.Table
			for b.Loop() {
				for _, r := range s.Mem.Ranges() {
					for at := r.Start; at < r.End; at += x86.PageSize {
						if err := physmem.ReadTable(s.Mem, at.PFN(), &t); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
		})
		for _, args := range [][]string{{"ps"}, {"who", "123000", "100000000"}, {"who", "--all"}, {"who", "--all", "--format", "jsonl"}} {
			b.Run(fmt.Sprintf("run=%d/%s", run, fmt.Sprint(args)), func(b *testing.B) {
				b.SetBytes(info.Size())
				b.ReportAllocs()
				for b.Loop() {
					o := &options{stdout: io.Discard, stderr: io.Discard, find: m.Find}
					full := append(append([]string{args[0]}, path), args[1:]...)
					if code := o.main(b.Context(), full); code > 1 {
						b.Fatal(code)
					}
				}
			})
		}
	}
}
