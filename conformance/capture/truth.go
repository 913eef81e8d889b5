package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// said is everything that is said about the tables at the stopped instant.
type said struct {
	guestLog    []byte
	registers   string
	tlb, mem    []string // per processor; mem is empty with five levels
	qemuVersion string
}

func (m *machine) collectTruth(ctx context.Context, registers string) (said, error) {
	t := said{registers: registers}
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
func (t said) write(dir string) error {
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
