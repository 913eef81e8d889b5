//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// areas gathers smaps, and the pagemap words of every area.
func (s *scribe) areas(dir string) {
	smaps := s.read(dir + "/smaps")
	s.lines("A ", smaps, nil)
	pagemap, err := unix.Open(dir+"/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		s.err = err
		return
	}
	defer unix.Close(pagemap)
	for len(smaps) > 0 {
		var line []byte
		line, smaps, _ = bytes.Cut(smaps, []byte{'\n'})
		bounds, _, _ := bytes.Cut(line, []byte{' '})
		from, to, _ := bytes.Cut(bounds, []byte{'-'})
		start, okStart := parseNumber(from, 16)
		end, okEnd := parseNumber(to, 16)
		if okStart && okEnd && start>>63 == 0 {
			s.area(pagemap, start, end)
		}
	}
}

// wordRun is a number of pages whose words are the same, but for ascending frames.
type wordRun struct{ va, pages, word uint64 }

// takes reports whether the word continues the run.
func (r *wordRun) takes(word uint64) bool {
	if r.pages == 0 {
		return false
	}
	if r.word&pagemapPresent != 0 {
		return word == r.word+r.pages
	}
	return word == r.word
}

func (s *scribe) area(pagemap int, start, end uint64) {
	var run wordRun
	for va := start; va < end; {
		want := min(int(end-va)/pageSize*8, len(s.words))
		n, err := unix.Pread(pagemap, s.words[:want], int64(va/pageSize*8))
		if err != nil || n < 8 {
			break
		}
		for at := 0; at+8 <= n; at, va = at+8, va+pageSize {
			word := binary.LittleEndian.Uint64(s.words[at:])
			if run.takes(word) {
				run.pages++
				continue
			}
			s.run(run)
			run = wordRun{va, 1, word}
		}
	}
	s.run(run)
}

func (s *scribe) run(r wordRun) {
	if r.pages == 0 {
		return
	}
	s.print("R")
	s.hex(r.va)
	s.number(r.pages)
	s.hex(r.word)
	s.print("\n")
}

// frames gathers and prints the use of every frame that is mapped. It allocates nothing.
func (s *scribe) frames() {
	half := len(s.words) / 2
	for frame := 0; ; {
		n, _ := unix.Pread(s.count, s.words[:half], int64(frame)*8)
		m, _ := unix.Pread(s.flags, s.words[half:], int64(frame)*8)
		if n < 8 || m < n {
			break
		}
		for at := 0; at+8 <= n; at, frame = at+8, frame+1 {
			maps := binary.LittleEndian.Uint64(s.words[at:])
			if maps == 0 {
				continue
			}
			s.print("F")
			s.hex(uint64(frame))
			s.number(maps)
			s.hex(binary.LittleEndian.Uint64(s.words[half+at:]))
			s.print("\n")
		}
		s.flush()
	}
}
