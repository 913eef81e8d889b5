package ptdump

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// manyProcesses is a machine with n processes that map so many PTE tables each, 4096 MiB times n times tables in all. The
// first half of each process's memory is its own, the other shared by all. Frames follow one another in runs of so many
// pages, and attributes differ from run to run.
func manyProcesses(n, tables, run int) *machineOf {
	m := newMachine()
	rng := rand.New(rand.NewPCG(1, 2))
	next := uint64(1 << 20)
	for i := range n {
		_, root := m.process(fmt.Sprintf("worker-%d", i))
		shared := uint64(1 << 19)
		for j := range tables {
			base := x86.Virt(0x7f0000000000) + x86.Virt(j)<<21
			var e uint64
			for k := range x86.EntriesPerTable {
				if k%run == 0 {
					e = 0x8000000000000025 | rng.Uint64N(2)*0x42
					if j < tables/2 {
						e |= next << 12
						next += uint64(run)
					} else {
						e = 0x8000000000000025 | shared<<12
						shared += uint64(run)
					}
				} else {
					e += 1 << 12
				}
				if k == 0 {
					m.user(root, base, x86.LevelPTE, e)
				}
				m.lastTable(root, base)[k] = e
			}
		}
	}
	return m
}

// lastTable returns the PTE table that translates va.
func (m *machineOf) lastTable(root x86.PFN, va x86.Virt) *physmem.Table {
	f := root
	for at := x86.LevelP4D; at > x86.LevelPTE; at-- {
		f = testABI.TableFrame(m.mem.At(f)[va.Index(at)])
	}
	return m.mem.At(f)
}

// BenchmarkProcesses measures the commands that look at all processes, on 1000 processes with 4 million pages, against
// reading each table once.
func BenchmarkProcesses(b *testing.B) {
	for _, run := range []int{1, 16, 512} {
		m := manyProcesses(1000, 8, run)
		path := m.write(b, 0)
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("run=%d/read", run), func(b *testing.B) {
			s, err := Open(path, SessionOptions{CPU: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
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
					o := &options{stdout: io.Discard, stderr: io.Discard, find: m.find}
					full := append(append([]string{args[0]}, path), args[1:]...)
					if code := o.main(b.Context(), full); code > 1 {
						b.Fatal(code)
					}
				}
			})
		}
	}
}

// BenchmarkCapturedProcesses is BenchmarkProcesses on captures of guests, without what it takes to open them and to find
// the processes.
func BenchmarkCapturedProcesses(b *testing.B) {
	folders, err := truth.Folders("../..")
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range folders {
		for _, dump := range f.Dumps() {
			if !f.HasProcesses() || !strings.Contains(dump, "full.") {
				continue
			}
			in, err := openForProcesses(b.Context(), dump, &machine{cpu: -1, root: rootNames[0]})
			if err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			spaces, err := in.processes(b.Context(), proc.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(f.Name()+"/"+filepath.Base(dump), func(b *testing.B) { benchSpaces(b, in, spaces) })
		}
	}
}

func benchSpaces(b *testing.B, in *opened, spaces *machineSpaces) {
	var frames []x86.PFN
	for _, p := range spaces.parts(false) {
		list := &tableList{seen: map[x86.PFN]bool{}}
		if err := pgtable.Walk(p.Mem, p.ABI, p.Root.PFN(), p.r, list); err != nil {
			b.Fatal(err)
		}
		frames = append(frames, list.frames...)
	}
	measure := func(name string, do func(o *options, w *work) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frames) * x86.PageSize))
			b.ReportAllocs()
			for b.Loop() {
				o := &options{stdout: io.Discard, stderr: io.Discard, jobs: 1, format: "text", who: whoOptions{min: 1}}
				if err := do(o, &work{opened: in, out: io.Discard, tally: &tally{}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	measure("read", func(o *options, _ *work) error {
		var t physmem.Table
		return each(b.Context(), o.jobs, len(frames), func(i int) error { return physmem.ReadTable(in.Mem, frames[i], &t) })
	})
	measure("ps", func(o *options, w *work) error {
		_, err := o.listProcesses(b.Context(), w, spaces)
		return err
	})
	measure("who", func(o *options, w *work) error {
		_, err := o.findWho(b.Context(), w, spaces, []whoTarget{{first: 0x1234, last: 0x1234}})
		return err
	})
	measure("who-all", func(o *options, w *work) error { return o.everyFrame(b.Context(), w, spaces) })
}
