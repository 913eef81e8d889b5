package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// dump is one file made of the machine's memory.
type dump struct {
	name   string
	format string // QEMU's; "filtered" is made of full.elf by makedumpfile
	paging bool
}

const filtered = "filtered"

var (
	everyDump = []dump{
		{name: "full.elf", format: "elf"},
		{name: "full.paging.elf", format: "elf", paging: true},
		{name: "full.kdump-zlib", format: "kdump-zlib"},
	}
	processDumps = []dump{
		{name: "full.elf", format: "elf"},
		{name: "full.kdump", format: "kdump-zlib"},
		{name: "filtered.kdump", format: filtered},
	}
)

// dumpAll writes the memory in every format, the machine still standing.
func (m *machine) dumpAll(ctx context.Context, dir string, guestLog []byte) error {
	for _, d := range m.v.dumps {
		path, err := filepath.Abs(filepath.Join(dir, d.name))
		if err != nil {
			return err
		}
		if d.format == filtered {
			err = filter(ctx, filepath.Join(dir, "full.elf"), path)
		} else {
			err = m.dump(ctx, d, path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
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

func (m *machine) dump(ctx context.Context, d dump, path string) error {
	arguments := map[string]any{"paging": d.paging, "protocol": "file:" + path}
	if d.format != "elf" {
		arguments["format"] = d.format
	}
	_, err := m.Do(ctx, "dump-guest-memory", arguments)
	return err
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
