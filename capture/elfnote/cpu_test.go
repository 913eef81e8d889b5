package elfnote

import (
	"debug/elf"
	"encoding/binary"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ptemu/capture/internal/capturetest"
)

// machineNotes returns the notes of a captured machine; the standard library's ELF reader finds them.
func machineNotes(t *testing.T, machine string) []Note {
	t.Helper()
	f, err := elf.Open(filepath.Join(capturetest.Dir(t), machine, "tables.elf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			t.Fatal(err)
		}
		notes, err := Parse(b, int64(p.Off))
		if err != nil {
			t.Fatal(err)
		}
		return notes
	}
	t.Fatal("no notes")
	return nil
}

// TestMachines holds the notes of real captures against what QEMU printed of the same moment.
func TestMachines(t *testing.T) {
	for machine := range capturetest.Machines {
		t.Run(machine, func(t *testing.T) {
			notes := machineNotes(t, machine)
			regs := capturetest.Registers(t, machine)
			cpus, err := CPUs(notes)
			if err != nil {
				t.Fatal(err)
			}
			status := PRStatuses(notes)
			if len(cpus) != len(regs) || len(status) != len(regs) {
				t.Fatalf("%d CPU states, %d NT_PRSTATUS, want %d", len(cpus), len(status), len(regs))
			}
			for i, c := range cpus {
				for name, got := range map[string]uint64{
					"CR0": c.CR0, "CR2": c.CR2, "CR3": c.CR3, "CR4": c.CR4, "RIP": c.RIP, "RSP": c.RSP, "RFL": c.RFLAGS,
					"CS": uint64(c.CS), "GS base": c.GSBase,
				} {
					want, ok := regs[i][name]
					if !ok {
						t.Fatalf("no %s among the registers", name)
					}
					if got != want {
						t.Errorf("CPU %d: %s is %#x, want %#x", i, name, got, want)
					}
				}
				if got, want := uint64(c.CPL()), regs[i]["CPL"]; got != want {
					t.Errorf("CPU %d: CPL is %d, want %d", i, got, want)
				}
				// Linux keeps the per-CPU area in the direct map, whatever ran.
				if base, ok := c.PerCPUBase(); !ok || base>>56 != 0xff {
					t.Errorf("CPU %d: per-CPU base is %#x, %v", i, base, ok)
				}

				s := status[i]
				if s.PID != uint32(i)+1 || s.RIP != regs[i]["RIP"] || s.RSP != regs[i]["RSP"] || s.RBP != regs[i]["RBP"] ||
					s.RFLAGS != regs[i]["RFL"] || uint64(s.CS) != regs[i]["CS"] || s.FSBase != regs[i]["FS base"] ||
					s.GSBase != regs[i]["GS base"] {
					t.Errorf("NT_PRSTATUS %d is %+v, registers are %#x", i, s, regs[i])
				}
			}
			info := VMCoreInfo(notes)
			if !strings.HasPrefix(string(info), "OSRELEASE=") || !strings.Contains(string(info), "\nSYMBOL(swapper_pg_dir)=") {
				t.Errorf("VMCOREINFO starts with %.40q", info)
			}
		})
	}
}

// TestQEMUOffsets places a number at each offset that was found by setting registers in QEMU (note of 440 bytes).
func TestQEMUOffsets(t *testing.T) {
	d := make([]byte, 440)
	put := func(off int, v uint64) { binary.LittleEndian.PutUint64(d[off:], v) }
	put(0, 1|440<<32)
	put(56, 0x56)
	put(136, 0x136)
	put(144, 0x144)
	put(152, 0x33)
	put(264, 0x264)
	put(384, 0x384)
	put(392, 0x392)
	put(408, 0x408)
	put(416, 0x416)
	put(424, 0x424)
	put(432, 0x432)
	want := CPU{
		CR0: 0x392, CR2: 0x408, CR3: 0x416, CR4: 0x424, GSBase: 0x264, KernelGSBase: 0x432, HasKernelGSBase: true,
		IDTBase: 0x384, RIP: 0x136, RSP: 0x56, RFLAGS: 0x144, CS: 0x33,
	}
	note := Note{Name: "QEMU", Desc: d}
	got, err := CPUs([]Note{note})
	if err != nil || !reflect.DeepEqual(got, []CPU{want}) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if again := want.Note(); !reflect.DeepEqual(again, note) {
		t.Errorf("written as %x\nwant       %x", again.Desc, d)
	}

	// The note before QEMU 3 ends eight bytes earlier.
	want.KernelGSBase, want.HasKernelGSBase = 0, false
	old := want.Note()
	if len(old.Desc) != 432 {
		t.Fatalf("note without kernel GS base has %d bytes", len(old.Desc))
	}
	if got, err := CPUs([]Note{old}); err != nil || !reflect.DeepEqual(got, []CPU{want}) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if _, ok := want.PerCPUBase(); ok {
		t.Error("a per-CPU base from user mode without the kernel GS base")
	}
}

func TestQEMUHostile(t *testing.T) {
	for name, spoil := range map[string]func(d []byte) []byte{
		"version 2":    func(d []byte) []byte { d[0] = 2; return d },
		"too short":    func(d []byte) []byte { return d[:431] },
		"empty":        func(d []byte) []byte { return nil },
		"size too big": func(d []byte) []byte { d[4]++; return d },
		"size 2^32-1":  func(d []byte) []byte { binary.LittleEndian.PutUint32(d[4:], 0xffffffff); return d },
		"size 0":       func(d []byte) []byte { binary.LittleEndian.PutUint32(d[4:], 0); return d },
	} {
		c := CPU{HasKernelGSBase: true}
		n := c.Note()
		n.Off = 0x123
		n.Desc = spoil(n.Desc)
		cpus, err := CPUs([]Note{n})
		if cpus != nil {
			t.Errorf("%s: CPUs and an error", name)
		}
		capturetest.WantFormatError(t, err, 0x123)
	}
	// Not ours: another name or type, whatever it holds.
	cpus, err := CPUs([]Note{{Name: "CORE"}, {Name: "QEMU", Type: 1}})
	if cpus != nil || err != nil {
		t.Errorf("foreign notes: %v, %v", cpus, err)
	}
}
