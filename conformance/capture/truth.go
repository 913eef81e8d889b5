package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// truth is everything that is said about the tables at the stopped instant.
type truth struct {
	guestLog    []byte
	registers   string
	tlb, mem    []string // per processor; mem is empty with five levels
	qemuVersion string
}

func (m *machine) collectTruth(ctx context.Context, registers string) (truth, error) {
	t := truth{registers: registers}
	var err error
	if t.guestLog, err = os.ReadFile(m.serial()); err != nil {
		return t, err
	}
	for cpu := range m.v.cpus {
		tlb, err := m.Human(ctx, "info tlb", cpu)
		if err != nil {
			return t, err
		}
		t.tlb = append(t.tlb, tlb)
		if fiveLevels(registers) {
			continue // QEMU 7.2's info mem searches for minutes and prints nothing
		}
		mem, err := m.Human(ctx, "info mem", cpu)
		if err != nil {
			return t, err
		}
		t.mem = append(t.mem, mem)
	}
	answer, err := m.Do(ctx, "query-version", nil)
	if err != nil {
		return t, err
	}
	var version struct {
		QEMU struct{ Major, Minor, Micro int } `json:"qemu"`
	}
	if err := json.Unmarshal(answer, &version); err != nil {
		return t, err
	}
	t.qemuVersion = fmt.Sprintf("%d.%d.%d", version.QEMU.Major, version.QEMU.Minor, version.QEMU.Micro)
	return t, nil
}

// write puts the truth's files into the folder: the first processor's under the plain
// names, the others' under names that end in their number.
func (t truth) write(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "qemu-registers.txt"), []byte(t.registers), 0o644); err != nil {
		return err
	}
	if err := writeGzip(filepath.Join(dir, "guest.log.gz"), t.guestLog); err != nil {
		return err
	}
	for cpu := range t.tlb {
		suffix := ""
		if cpu > 0 {
			suffix = fmt.Sprintf("-cpu%d", cpu)
		}
		if err := writeGzip(filepath.Join(dir, "qemu-info-tlb"+suffix+".txt.gz"), []byte(t.tlb[cpu])); err != nil {
			return err
		}
		if len(t.mem) == 0 {
			continue
		}
		if err := writeGzip(filepath.Join(dir, "qemu-info-mem"+suffix+".txt.gz"), []byte(t.mem[cpu])); err != nil {
			return err
		}
	}
	return nil
}

func writeGzip(path string, data []byte) error {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644)
}

// dumpAll writes the memory in every format, the machine still standing.
func (m *machine) dumpAll(ctx context.Context, dir string, guestLog []byte) error {
	dumps := []struct {
		name   string
		paging bool
		format string
	}{
		{"full.elf", false, "elf"},
		{"full.paging.elf", true, "elf"},
		{"full.kdump-zlib", false, "kdump-zlib"},
	}
	for _, dump := range dumps {
		path, err := filepath.Abs(filepath.Join(dir, dump.name))
		if err != nil {
			return err
		}
		arguments := map[string]any{"paging": dump.paging, "protocol": "file:" + path}
		if dump.format != "elf" {
			arguments["format"] = dump.format
		}
		if _, err := m.Do(ctx, "dump-guest-memory", arguments); err != nil {
			return fmt.Errorf("%s: %w", dump.name, err)
		}
	}
	if err := writeTables(filepath.Join(dir, "full.elf"), filepath.Join(dir, "tables.elf.zst")); err != nil {
		return fmt.Errorf("tables.elf.zst: %w", err)
	}
	if !m.v.raw {
		return nil
	}
	return m.dumpRaw(dir, guestLog)
}

// dumpRaw keeps the memory file, and makes a LiME file of the ranges that the kernel
// calls its memory. Neither has notes, so their names differ from the dumps'.
func (m *machine) dumpRaw(dir string, guestLog []byte) error {
	memory, err := os.Open(m.memory())
	if err != nil {
		return err
	}
	defer memory.Close()
	raw, err := os.Create(filepath.Join(dir, "memory.raw"))
	if err != nil {
		return err
	}
	defer raw.Close()
	if _, err := io.Copy(raw, memory); err != nil {
		return err
	}
	if err := raw.Close(); err != nil {
		return err
	}
	lime, err := os.Create(filepath.Join(dir, "memory.lime"))
	if err != nil {
		return err
	}
	defer lime.Close()
	if err := writeLiME(lime, memory, systemRAM(guestLog)); err != nil {
		return err
	}
	return lime.Close()
}
