package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"ptemu/arch/x86"
	"ptemu/capture"
)

// filter leaves out what kdump's usual setting leaves out: pages of zeros, page cache, user pages, free pages. Which pages
// are which, makedumpfile finds by the VMCOREINFO. Without makedumpfile there is no such file, and a word about it.
func filter(ctx context.Context, full, out string) error {
	const allKinds = "31"
	tool, err := exec.LookPath("makedumpfile")
	if err != nil {
		fmt.Fprintf(os.Stderr, "capture: %s is left out: makedumpfile is not installed\n", filepath.Base(out))
		return nil
	}
	vmcore := out + ".vmcore"
	defer os.Remove(vmcore)
	if err := asVMCore(full, vmcore); err != nil {
		return err
	}
	var said bytes.Buffer
	run := exec.CommandContext(ctx, tool, "-c", "-d", allKinds, vmcore, out)
	run.Stdout, run.Stderr = &said, &said
	if err := run.Run(); err != nil {
		os.Remove(out)
		fmt.Fprintf(os.Stderr, "capture: %s is left out: makedumpfile: %v: %s\n", filepath.Base(out), err, tail(said.Bytes()))
	}
	return nil
}

// asVMCore copies a dump of QEMU's and gives it the header of /proc/vmcore, as makedumpfile wants it: the program headers come
// right after the ELF header, where QEMU has section headers, and say at which address the direct map has the memory.
func asVMCore(full, vmcore string) error {
	directMap, err := directMapOf(full)
	if err != nil {
		return err
	}
	in, err := os.Open(full)
	if err != nil {
		return err
	}
	defer in.Close()
	head, err := vmcoreHead(in, directMap)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	file, err := os.Create(vmcore)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(head); err != nil {
		return err
	}
	if _, err := in.Seek(int64(len(head)), io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(file, in); err != nil {
		return err
	}
	return file.Close()
}

func directMapOf(full string) (x86.Virt, error) {
	c, err := capture.Open(full, capture.Options{})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	system, err := detect(c)
	if err != nil {
		return 0, err
	}
	if !system.Layout.DirectMap.Found {
		return 0, fmt.Errorf("%s: no direct map found", full)
	}
	return system.Layout.DirectMap.Addr, nil
}

// vmcoreHead makes the bytes before the notes. They take no more room than QEMU's.
func vmcoreHead(in io.ReaderAt, directMap x86.Virt) ([]byte, error) {
	var header elf.Header64
	if err := binary.Read(io.NewSectionReader(in, 0, 64), binary.LittleEndian, &header); err != nil {
		return nil, err
	}
	programs := make([]elf.Prog64, header.Phnum)
	if err := binary.Read(io.NewSectionReader(in, int64(header.Phoff), 1<<20), binary.LittleEndian, programs); err != nil {
		return nil, err
	}
	first := programs[0].Off
	for i := range programs {
		first = min(first, programs[i].Off)
		if elf.ProgType(programs[i].Type) == elf.PT_LOAD {
			programs[i].Vaddr = uint64(directMap) + programs[i].Paddr
		}
	}
	header.Phoff = uint64(header.Ehsize)
	header.Shoff, header.Shnum, header.Shstrndx = 0, 0, 0
	var head bytes.Buffer
	for _, part := range []any{header, programs} {
		if err := binary.Write(&head, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	if uint64(head.Len()) > first {
		return nil, fmt.Errorf("the headers overlap the contents at %#x", first)
	}
	return append(head.Bytes(), make([]byte, first-uint64(head.Len()))...), nil
}
