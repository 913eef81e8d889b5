package who

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/ps"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// BenchmarkCapturedProcesses is BenchmarkProcesses on captures of guests, without what it takes to open them and to find
// the processes.
func BenchmarkCapturedProcesses(b *testing.B) {
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range folders {
		for _, dump := range f.Dumps() {
			if !f.HasProcesses() || !strings.Contains(dump, "full.") {
				continue
			}
			in, err := session.OpenForProcesses(b.Context(), dump, &session.Options{CPU: -1, Root: session.RootNames[0]})
			if err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			spaces, err := in.Processes(b.Context(), proc.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Run(f.Name()+"/"+filepath.Base(dump), func(b *testing.B) { benchSpaces(b, in, spaces) })
		}
	}
}

func benchSpaces(b *testing.B, in *session.Session, spaces *space.Machine) {
	var frames []x86.PFN
	for _, p := range partsOf(spaces, false) {
		list := &capturetest.TableList{Seen: map[x86.PFN]bool{}}
		if err := pgtable.Walk(p.Mem, p.ABI, p.Root.PFN(), p.r, list); err != nil {
			b.Fatal(err)
		}
		frames = append(frames, list.Frames...)
	}
	with := space.Workers{Jobs: 1}
	measure := func(name string, do func(*Search) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frames) * x86.PageSize))
			b.ReportAllocs()
			for b.Loop() {
				if err := do(&Search{Tree: in.Tree, Spaces: spaces, Workers: with, Tally: &entries.Tally{}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	measure("read", func(*Search) error {
		var t physmem.Table
		return with.Each(b.Context(), "reading", len(frames), func(i int) error { return physmem.ReadTable(in.Mem, frames[i], &t) })
	})
	measure("ps", func(s *Search) error {
		_, err := ps.List(b.Context(), spaces, with, s.Tally)
		return err
	})
	measure("who", func(s *Search) error {
		_, err := s.Find(b.Context(), []Target{{first: 0x1234, last: 0x1234}})
		return err
	})
	measure("who-all", func(s *Search) error {
		return s.EveryFrame(b.Context(), Output{W: io.Discard, Format: "text", Min: 1})
	})
}
