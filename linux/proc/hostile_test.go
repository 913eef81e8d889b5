package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/ktype"
	"ptemu/physmem"
)

// TestHostile alters the small machine in one way at a time: what is said, and what is still found.
func TestHostile(t *testing.T) {
	node := func(s *small, task x86.Virt) x86.Virt { return s.at(task, "task_struct.tasks") }
	leafOf := func(s *small) x86.Virt { // the first leaf of process 1's maple tree
		root := s.headOf(s.at(s.mm, "mm_struct.ma_root")) &^ mapleNodeMask
		return s.headOf(s.at(root, "maple_arange_64.slot")) &^ mapleNodeMask
	}
	for _, c := range []struct {
		name    string
		alter   func(s *small)
		warning string // a part of one
		list    int    // processes
		areas   int    // of process 1; -1 if it has no address space
	}{
		{"nothing", func(*small) {}, "no symbols", 4, 14},
		{"loop in the list of tasks", func(s *small) {
			s.word(node(s, s.shared), uint64(node(s, s.first)))
		}, "runs into the element", 4, 14},
		{"task that leads nowhere", func(s *small) {
			s.word(node(s, s.daemon), 0x1234)
		}, "backwards", 4, 14},
		{"task that leads nowhere, both ways", func(s *small) {
			s.word(node(s, s.daemon), 0)
			s.word(node(s, s.shared)+8, 0xffffffffdead0000)
		}, "backwards: kernel address", 4, 14},
		{"list broken in two places", func(s *small) {
			s.word(node(s, s.first), 0)
			s.word(node(s, s.shared)+8, 0)
		}, "those between are missing", 3, 14},
		{"list broken around a process", func(s *small) {
			s.word(node(s, s.shared), 0)
			s.word(node(s, s.init)+8, 0)
		}, "those between are missing", 4, 0}, // its root is found, by its looks
		{"task that is none", func(s *small) {
			s.set(s.shared, "task_struct.pid", 1<<31)
		}, "PID -2147483648", 4 - 1, 14},
		{"two tasks of one number", func(s *small) {
			s.set(s.shared, "task_struct.pid", 1)
			s.set(s.shared, "task_struct.tgid", 1)
		}, "already that of another", 3, 14},
		{"name without end", func(s *small) {
			s.write(s.at(s.first, "task_struct.comm"), []byte(strings.Repeat("x", 32)))
		}, "the threads of the task_struct", 4, 14},
		{"root that is no table", func(s *small) { s.set(s.mm, "mm_struct.pgd", uint64(fakeDirect)+0x300008) }, "is not the address of a table", 5, 0},
		{"root nowhere", func(s *small) { s.set(s.mm, "mm_struct.pgd", 0x4141414141414141) }, "pgd", 5, 0},
		{"root outside the capture", func(s *small) { s.set(s.mm, "mm_struct.pgd", uint64(fakeDirect)+0x7ff000) }, "not in capture", 5, 0},
		{"mm nowhere", func(s *small) { s.set(s.first, "task_struct.mm", 0x8000000000000000) }, "mm_struct at", 4, -1},
		{"tree that is none", func(s *small) { s.set(s.mm, "mm_struct.ma_root", 3) }, "which is no pointer", 4, 0},
		{"tree of one area", func(s *small) { s.set(s.mm, "mm_struct.ma_root", uint64(s.mm)) }, "is no range of pages", 4, 0},
		{"tree with a cycle", func(s *small) {
			root := s.headOf(s.at(s.mm, "mm_struct.ma_root"))
			s.word(s.at(root&^mapleNodeMask, "maple_arange_64.slot")+8, uint64(root))
		}, "linked twice", 4, 10},
		{"node of no type", func(s *small) {
			root := s.headOf(s.at(s.mm, "mm_struct.ma_root"))
			s.set(s.mm, "mm_struct.ma_root", uint64(root|0xf<<mapleTypeShift))
		}, "type 15 is not known", 4, 0},
		{"dense node", func(s *small) {
			root := s.headOf(s.at(s.mm, "mm_struct.ma_root"))
			s.set(s.mm, "mm_struct.ma_root", uint64(root&^(mapleTypeMask<<mapleTypeShift)|fakeDense<<mapleTypeShift))
		}, "slot 0 is", 4, 0},
		{"pivots that descend", func(s *small) {
			s.word(s.at(leafOf(s), "maple_range_64.pivot")+16, 0x10)
		}, "pivot 2 is 0x10", 4, 11},
		{"slot that is no pointer", func(s *small) {
			s.word(s.at(leafOf(s), "maple_range_64.slot")+8, 0xffff888001400123)
		}, "slot 1 is", 4, 13},
		{"area twice", func(s *small) {
			slot := s.at(leafOf(s), "maple_range_64.slot")
			s.word(slot+16, uint64(s.headOf(slot+8)))
		}, "the maple tree has it at", 4, 13},
		{"area of another space", func(s *small) {
			slot := s.at(leafOf(s), "maple_range_64.slot")
			s.set(s.headOf(slot+8), "vm_area_struct.vm_mm", 0x1000)
		}, "belongs to the mm_struct at", 4, 13},
		{"file nowhere", func(s *small) {
			slot := s.at(leafOf(s), "maple_range_64.slot")
			s.set(s.headOf(slot+8), "vm_area_struct.vm_file", 0x1000)
		}, "file at 0x", 4, 14},
		{"directory that contains itself", func(s *small) {
			slot := s.at(leafOf(s), "maple_range_64.slot")
			file := s.headOf(s.at(s.headOf(slot+8), "vm_area_struct.vm_file"))
			dentry := s.headOf(s.at(file, "file.f_path.dentry"))
			bin := s.headOf(s.at(dentry, "dentry.d_parent"))
			s.set(bin, "dentry.d_parent", uint64(dentry))
		}, "no symbols", 4, 14},
		{"ring of threads that does not close", func(s *small) {
			signal := s.headOf(s.at(s.first, "task_struct.signal"))
			other := s.headOf(s.at(s.daemon, "task_struct.signal"))
			s.word(s.at(signal, "signal_struct.thread_head"), uint64(s.at(other, "signal_struct.thread_head")))
		}, "the threads of the task_struct", 4, 14},
		{"no type information", func(s *small) { s.writePhys(fakeBTF, make([]byte, 64)) }, "no type information", 2, 0},
		{"type information that lies", func(s *small) {
			s.writePhys(fakeBTF+8, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0})
		}, "no type information", 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSmall(t)
			c.alter(s)
			p := s.bounded(t)
			if p == nil {
				t.Fatal("nothing found")
			}
			if all := strings.Join(p.Warnings, "\n"); !strings.Contains(all, c.warning) {
				t.Errorf("warnings %q", p.Warnings)
			}
			if len(p.List) != c.list {
				t.Errorf("%d processes, want %d: %q", len(p.List), c.list, p.Warnings)
			}
			if first := p.List[0]; len(first.Threads) > 0 {
				t.Errorf("%s has threads", describe(first))
			}
			areas := -1
			if mm := p.List[0].MM; mm != nil {
				areas = len(mm.Areas)
			}
			if areas != c.areas {
				t.Errorf("%d areas, want %d: %q", areas, c.areas, p.Warnings)
			}
		})
	}
}

// bounded is find, which must end soon.
func (f *fake) bounded(t testing.TB) *Processes {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sys, err := linux.Detect(f, f.note(), []linux.CPU{f.cpu}, linux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Find(ctx, f, sys, Options{CPUs: []linux.CPU{f.cpu}})
	if ctx.Err() != nil {
		t.Fatalf("it did not end: %v", err)
	}
	if (p == nil) != (err != nil) || err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatalf("%v, %v", p, err)
	}
	return p
}

// TestExcluded leaves each frame out in turn: nothing is made up.
func TestExcluded(t *testing.T) {
	s := newSmall(t)
	whole := s.bounded(t)
	for _, pfn := range s.sortedFrames() {
		frame := s.frames[pfn]
		delete(s.frames, pfn)
		p := s.bounded(t)
		s.frames[pfn] = frame
		if p == nil {
			continue
		}
		for _, q := range p.List {
			if q.PID < 0 || q.MM == nil {
				continue
			}
			if full := withPID(t, whole, q.PID).MM; len(q.MM.Areas) > len(full.Areas) || len(q.MM.Areas) < len(full.Areas) && q.MM.AreasErr == "" {
				t.Errorf("without frame %#x: process %d has %d areas, and %q is said", uint64(pfn), q.PID, len(q.MM.Areas), q.MM.AreasErr)
			}
		}
	}
}

// FuzzProc changes words of the small machine: type information, structures and tables. A search ends, and what it
// finds makes sense.
func FuzzProc(f *testing.F) {
	s := newSmall(f)
	frames := s.sortedFrames()
	word := func(place uint32, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, place), v)
	}
	f.Add(word(0, 0))
	f.Add(append(word(1<<9, ^uint64(0)), word(2<<9+17, uint64(s.init))...))
	f.Fuzz(func(t *testing.T, edits []byte) {
		altered := &fake{t: t, frames: map[x86.PFN]*physmem.Frame{}, off: s.off, cpu: s.cpu, init: s.init}
		for pfn, frame := range s.frames {
			altered.frames[pfn] = frame
		}
		for ; len(edits) >= 12; edits = edits[12:] {
			place := binary.LittleEndian.Uint32(edits)
			pfn := frames[int(place>>9)%len(frames)]
			frame := *altered.frames[pfn]
			copy(frame[place%512*8:], edits[4:12])
			altered.frames[pfn] = &frame
		}
		p := altered.bounded(t)
		if p == nil {
			return
		}
		if _, err := ktype.Parse(altered.frame(fakeBTF.PFN())[:]); err != nil && !errors.Is(err, ktype.ErrFormat) {
			t.Fatal(err)
		}
		for i, q := range p.List {
			if i > 0 && q.PID <= p.List[i-1].PID && q.PID != -1 {
				t.Fatalf("PID %d after %d", q.PID, p.List[i-1].PID)
			}
			if q.MM == nil {
				continue
			}
			end := x86.Virt(0)
			for _, a := range q.MM.Areas {
				if a.Start < end || a.End <= a.Start {
					t.Fatalf("area %v-%v after %v", a.Start, a.End, end)
				}
				end = a.End
			}
		}
	})
}
