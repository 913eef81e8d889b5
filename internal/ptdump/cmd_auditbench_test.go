package ptdump

import (
	"fmt"
	"io"
	"os"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
)

// BenchmarkAudit measures an audit of 1000 processes with 4 million pages in 16 GiB, half of them each process's own, the
// others shared by all.
func BenchmarkAudit(b *testing.B) {
	for _, run := range []int{1, 512} {
		m := capturetest.Workers(1000, 8, run)
		for i := range x86.Virt(32) { // RAM: 32 GiB
			m.InKernel(directMapAt+i<<30, x86.LevelPUD, kernelPage|uint64(i)<<30|0x80)
		}
		m.InKernel(kernelText, x86.LevelPMD, kernelROPage|0x80)
		path := m.Write(b, 0)
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("run=%d", run), func(b *testing.B) {
			b.SetBytes(info.Size())
			b.ReportAllocs()
			for b.Loop() {
				o := &options{stdout: io.Discard, stderr: io.Discard, find: m.Find}
				if code := o.main(b.Context(), []string{"audit", path}); code > exitFinding {
					b.Fatal(code)
				}
			}
		})
	}
}
