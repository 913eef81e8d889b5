//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// scribe prints what /proc says of processes. It works in memory of its own and hardly allocates, because
// it prints its own process too. What a process does not have (a kernel thread no maps, a zombie neither) is not printed.
type scribe struct {
	console int
	pages   bool // print areas and pagemap words, too
	out     []byte
	spare   []byte // as large as out
	text    []byte // of a file
	words   []byte // of pagemap
	list    []int
	count   int // /proc/kpagecount
	flags   int // /proc/kpageflags
	err     error
}

func newScribe(console *os.File, pages bool) (*scribe, error) {
	s := &scribe{console: int(console.Fd()), pages: pages, list: make([]int, 4096)}
	for _, memory := range []struct {
		to   *[]byte
		size int
	}{{&s.out, 4 << 20}, {&s.spare, 4 << 20}, {&s.text, 1 << 20}, {&s.words, 1 << 20}} {
		mem, err := unix.Mmap(-1, 0, memory.size, readWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return nil, err
		}
		*memory.to = mem
	}
	s.out = s.out[:0]
	var errCount, errFlags error
	s.count, errCount = unix.Open("/proc/kpagecount", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	s.flags, errFlags = unix.Open("/proc/kpageflags", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return s, errors.Join(errCount, errFlags)
}

// flush prints what is gathered.
func (s *scribe) flush() {
	for left := s.out; len(left) > 0 && s.err == nil; {
		var n int
		if n, s.err = unix.Write(s.console, left); n > 0 {
			left = left[n:]
		}
	}
	s.out = s.out[:0]
}

// read returns a file's contents, valid until the next read. A file that cannot be read is empty.
func (s *scribe) read(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n := 0
	for n < len(s.text) {
		got, err := unix.Read(fd, s.text[n:])
		if err != nil || got <= 0 {
			break
		}
		n += got
	}
	return s.text[:n]
}

// numbers lists the directories whose names are numbers. The list is valid until the next.
func (s *scribe) numbers(path string) []int {
	list := s.list[:0]
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	const lengthAt, nameAt = 16, 19
	for {
		n, err := unix.ReadDirent(fd, s.text)
		if err != nil || n <= 0 {
			return list
		}
		for entry := s.text[:n]; len(entry) > nameAt; {
			length := binary.LittleEndian.Uint16(entry[lengthAt:])
			name, _, _ := bytes.Cut(entry[nameAt:length], []byte{0})
			if number, ok := parseNumber(name, 10); ok {
				list = append(list, int(number))
			}
			entry = entry[length:]
		}
	}
}

func parseNumber(digits []byte, base uint64) (number uint64, ok bool) {
	for _, d := range digits {
		switch {
		case d >= '0' && d <= '9':
			number = number*base + uint64(d-'0')
		case base == 16 && d >= 'a' && d <= 'f':
			number = number*base + uint64(d-'a'+10)
		default:
			return 0, false
		}
	}
	return number, len(digits) > 0
}

func (s *scribe) print(text string) { s.out = append(s.out, text...) }
func (s *scribe) number(n uint64)   { s.out = strconv.AppendUint(append(s.out, ' '), n, 10) }
func (s *scribe) hex(n uint64)      { s.out = strconv.AppendUint(append(s.out, ' '), n, 16) }
func (s *scribe) lines(prefix string, text []byte, keep func(line []byte) bool) {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		if keep == nil || keep(line) {
			s.print(prefix)
			s.out = append(append(s.out, line...), '\n')
		}
	}
}

// comm prints the quoted name of a task.
func (s *scribe) comm(dir string) {
	name := s.read(dir + "/comm")
	s.out = append(s.out, ' ')
	s.out = strconv.AppendQuoteToASCII(s.out, string(bytes.TrimSuffix(name, []byte{'\n'})))
	s.out = append(s.out, '\n')
}

// process gathers the lines of one process.
func (s *scribe) process(pid int) {
	dir := "/proc/" + strconv.Itoa(pid)
	if !s.head(pid, dir) {
		return
	}
	s.lines("U ", s.read(dir+"/status"), isAmount)
	filesOf := dir
	threads := s.numbers(dir + "/task")
	for _, tid := range threads {
		if tid == pid {
			continue
		}
		s.print("T")
		s.number(uint64(tid))
		s.comm(dir + "/task/" + strconv.Itoa(tid))
	}
	if !s.hasMaps(dir) {
		filesOf = ""
		for _, tid := range threads {
			task := dir + "/task/" + strconv.Itoa(tid)
			if tid != pid && s.hasMaps(task) {
				s.print("Q")
				s.number(uint64(tid))
				s.print("\n")
				filesOf = task
				break
			}
		}
	}
	if filesOf == "" {
		return
	}
	s.lines("U ", s.read(filesOf+"/smaps_rollup"), isAmount)
	if s.pages {
		s.areas(filesOf)
	}
}

func (s *scribe) hasMaps(dir string) bool { return len(s.read(dir+"/maps")) > 0 }

// isAmount keeps lines with kilobytes.
func isAmount(line []byte) bool { return bytes.HasSuffix(line, []byte(" kB")) }

// head prints the line of the process from its stat: pid (comm) state ppid pgrp session tty tpgid flags.
func (s *scribe) head(pid int, dir string) bool {
	const kernelThread = 0x00200000 // PF_KTHREAD
	stat := s.read(dir + "/stat")
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return false
	}
	var field [7][]byte
	rest := stat[at+2:]
	for i := range field {
		field[i], rest, _ = bytes.Cut(rest, []byte{' '})
	}
	parent, _ := parseNumber(field[1], 10)
	flags, _ := parseNumber(field[6], 10)
	s.print("P")
	s.number(uint64(pid))
	s.number(uint64(pid))
	s.number(parent)
	s.print(" ")
	s.out = append(s.out, field[0]...)
	if flags&kernelThread != 0 {
		s.print(" kernel")
	} else {
		s.print(" user")
	}
	s.comm(dir)
	return true
}
