package linux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
	"ptemu/physmem"
)

// pgdList returns the roots that the kernel itself keeps a list of: the list leads through the page structures of all, from
// pgd_list on. The structure has 64 bytes, and the list's links lie at offset 8.
//
// Linux: arch/x86/mm/pgtable.c:pgd_list_add()
func pgdList(t *testing.T, s *System, m *KernelMemory) []x86.Phys {
	t.Helper()
	syms, err := kallsyms.Parse(m, s.VMCoreInfo)
	if err != nil {
		t.Fatal(err)
	}
	head, ok := syms.Lookup("pgd_list")
	if !ok {
		t.Fatal("no pgd_list")
	}
	var out []x86.Phys
	for at := head; len(out) < 1<<20; {
		next, err := m.Uint64(at)
		if err != nil {
			t.Fatal(err)
		}
		if at = x86.Virt(next); at == head {
			break
		}
		out = append(out, x86.PFN((at-8-s.Layout.VMemmap.Addr)/64).Phys())
	}
	slices.Sort(out)
	return out
}

// TestAllRootsOfCaptures: in whole dumps, the roots found are those that the kernel has in its list.
func TestAllRootsOfCaptures(t *testing.T) {
	for _, c := range committed {
		if c.levels == 5 {
			continue
		}
		t.Run(c.dir, func(t *testing.T) {
			s, cap := detect(t, sharedCapture(t, c.dir, "full.kdump-zlib"), Options{})
			m, err := s.Memory(cap.Mem)
			if err != nil {
				t.Fatal(err)
			}
			want := pgdList(t, s, m)
			start := time.Now()
			all, err := FindAllRoots(context.Background(), cap.Mem, s, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d frames, %d unread, %d empty, %v", all.Frames, all.Unread, all.Empty, time.Since(start))
			var got []x86.Phys
			for _, r := range all.Roots {
				got = append(got, r.Kernel)
			}
			if !slices.Equal(got, want) {
				t.Errorf("found %v, the kernel lists %v", got, want)
			}
		})
	}
}

// spaces is a made-up machine with processes.
type spaces struct {
	*tables
	k fake
}

// process makes a root at pfn as Linux does: the upper half of init_mm's, and one page of a program.
func (s *spaces) process(pfn x86.PFN) {
	for i := upperFirst; i < x86.EntriesPerTable; i++ {
		s.set(pfn, i, s.get(s.root, i)&^x86.PageAccessed)
	}
	kernel := s.root
	s.root = pfn
	s.mapLeaf(0x400000, 0x9000, x86.LevelPTE, 0x25)
	s.root = kernel
}

// isolate gives a process a user root in the next frame.
func (s *spaces) isolate(pfn x86.PFN) {
	user := pfn | 1
	for i := range upperFirst {
		e := s.get(pfn, i)
		if s.set(user, i, e); e != 0 {
			s.set(pfn, i, e|x86.PageNX)
		}
	}
	s.set(user, upperTop, 0x55000|0x67)
}

// TestAllRoots: which frames are roots of processes.
func TestAllRoots(t *testing.T) {
	for _, k := range []fake{fake4, fake5} {
		for _, pti := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d levels, PTI %v", k.levels, pti), func(t *testing.T) {
				s := &spaces{k.make(), k}
				want := []x86.Phys{0x2000000, 0x2004000, 0x2008000, 0x3ffe000}
				for _, pa := range want {
					s.process(pa.PFN())
				}
				level := x86.Level(k.levels)
				vmemmap, ldt := k.vmemmap.Index(level), s.ldt()
				if vmemmap != k.direct.Index(level) {
					s.set(0x2004, vmemmap, 0)
				}
				s.set(0x2008, ldt, 0x77000|0x67)
				if pti {
					for _, pa := range want {
						s.isolate(pa.PFN())
					}
				}
				s.process(0x2010) // ended
				s.set(0x2010, 0, 0)
				s.process(0x2012) // the table on which processors start
				s.set(0x2012, 0, s.get(s.root, k.direct.Index(level)))
				s.process(0x201c) // the same, with KASLR
				s.set(0x201c, 0, 0x88000|0x63)
				s.process(0x2014) // EFI's
				s.set(0x2014, upperTop, 0x99000|0x67)
				s.process(0x2016) // has an entry that the kernel's has not
				s.set(0x2016, 300, 0x99000|0x67)
				s.process(0x2018) // lacks RAM
				s.set(0x2018, k.direct.Index(level), 0)
				mem := still{s.machineRAM, map[x86.PFN]bool{0x201a: true}}
				all, err := FindAllRoots(context.Background(), mem, kernelOf(t, k, mem), nil)
				if err != nil {
					t.Fatal(err)
				}
				var got []x86.Phys
				for _, r := range all.Roots {
					got = append(got, r.Kernel)
					if r.PTI != pti || pti && r.User != r.Kernel|0x1000 || !pti && r.User != r.Kernel {
						t.Errorf("%+v", r)
					}
				}
				if !slices.Equal(got, want) || all.Empty != 3 {
					t.Fatalf("found %v, want %v; empty %d", got, want, all.Empty)
				}
				if all.Frames != uint64(len(s.frames)) || all.Frames+all.Unread != uint64(s.size.PFN()) {
					t.Errorf("%d frames, %d unread", all.Frames, all.Unread)
				}
				less := strings.Contains(all.Roots[1].Why, fmt.Sprintf("less entries [%d]", vmemmap))
				if less != (vmemmap != k.direct.Index(level)) {
					t.Errorf("%s", all.Roots[1].Why)
				}
			})
		}
	}
}

// TestAllRootsWithoutUserRoots: a capture may lack them, as filtered ones do.
func TestAllRootsWithoutUserRoots(t *testing.T) {
	s := &spaces{fake4.make(), fake4}
	s.process(0x2000)
	s.isolate(0x2000)
	mem := still{s.machineRAM, map[x86.PFN]bool{0x2001: true}}
	sys := kernelOf(t, fake4, mem)
	sys.InitMM.PTI = true
	all, err := FindAllRoots(context.Background(), mem, sys, nil)
	if err != nil || len(all.Roots) != 1 {
		t.Fatal(err, all)
	}
	if r := all.Roots[0]; r.PTI || r.User != r.Kernel || !strings.Contains(r.Why, "no user root") || !strings.Contains(r.Why, "not in the capture") {
		t.Errorf("%+v", r)
	}
}

func (s *spaces) ldt() int { return geometryOf(s.k.abi().Paging()).ldt.Index(x86.Level(s.k.levels)) }

// TestAllRootsOfDamaged: no root to compare with, one that lacks something, and memory made of roots.
func TestAllRootsOfDamaged(t *testing.T) {
	ctx := context.Background()
	s := &spaces{fake4.make(), fake4}
	mem := still{s.machineRAM, nil}
	sys := kernelOf(t, fake4, mem)
	if _, err := FindAllRoots(ctx, mem, &System{ABI: sys.ABI, Layout: sys.Layout}, nil); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without init_mm: %v", err)
	}
	if _, err := FindAllRoots(ctx, without{mem, s.root}, sys, nil); err == nil || !strings.Contains(err.Error(), "init_mm") {
		t.Errorf("without its frame: %v", err)
	}
	s.process(0x2000)
	forged := allSame{still{newRAM(1 << 40), nil}, *s.frame(0x2000)}
	forged.frames[s.root] = s.frame(s.root)
	all, err := findAllRoots(ctx, forged, sys, nil, 1000)
	if !errors.Is(err, ErrTooManyRoots) || len(all.Roots) <= 1000 || len(all.Roots) > 1000+64*chunkFrames {
		t.Errorf("everything is a root: %v", err)
	}
	canceled, stop := context.WithCancel(ctx)
	stop()
	if all, err := FindAllRoots(canceled, mem, sys, nil); all != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v, %v", all, err)
	}
	s.set(s.root, upperTop, 0)
	if _, err := FindAllRoots(ctx, mem, sys, nil); err == nil || !strings.Contains(err.Error(), "entry 511") {
		t.Errorf("without the image: %v", err)
	}
}

// allSame is memory in which all frames but one hold the same.
type allSame struct {
	still
	all physmem.Frame
}

func (m allSame) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if m.still.ReadFrame(pfn, dst) != nil {
		*dst = m.all
	}
	return nil
}
