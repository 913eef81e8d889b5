//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// Where words that process 1 reads are put in its data, behind the name of the file.
const wordsAt = 256

// maxWords is how many fit.
const maxWords = (x86.PageSize - wordsAt) / 8

// words reads n words of a file of the guest, as process 1, from word first on.
func (k *Kernel) words(file string, first uint64, n int) ([]uint64, error) {
	if n > maxWords {
		return nil, fmt.Errorf("%s: %d words at a time", file, n)
	}
	fd, err := k.open(file, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	got, err := k.call(unix.SYS_PREAD64, fd, k.at(wordsAt), uint64(8*n), 8*first)
	_, closing := k.call(unix.SYS_CLOSE, fd)
	if err := errors.Join(err, closing); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := make([]uint64, got/8)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(k.init.Data()[wordsAt+8*i:])
	}
	return out, nil
}

// Bits of /proc/kpageflags. Linux: include/uapi/linux/kernel-page-flags.h
const (
	kpfCompoundHead = 1 << 15
	kpfCompoundTail = 1 << 16
	kpfKSM          = 1 << 21
	kpfZeroPage     = 1 << 24
)

// pageFacts adds what /proc/kpagecount and /proc/kpageflags say of a page.
func (t *Target) pageFacts(pfn x86.PFN, page *litmus.Page) error {
	count, err := t.k.words("/proc/kpagecount", uint64(pfn), 1)
	if err != nil || len(count) == 0 {
		return err
	}
	page.Mapcount = int(count[0])
	flags, err := t.k.words("/proc/kpageflags", uint64(pfn), 1)
	if err != nil || len(flags) == 0 {
		return err
	}
	f := flags[0]
	page.Anon, page.KSM, page.Zero = f&kpfAnon != 0 && f&kpfKSM == 0, f&kpfKSM != 0, f&kpfZeroPage != 0
	page.SwapCached = f&kpfSwapCache != 0
	if f&(kpfCompoundHead|kpfCompoundTail) != 0 {
		page.Order, err = t.k.order(pfn)
	}
	return err
}

// order returns the order of the large folio that a page is part of.
func (k *Kernel) order(pfn x86.PFN) (int, error) {
	const around = maxWords &^ 7
	first := pfn &^ (x86.EntriesPerTable - 1)
	var flags []uint64
	for i := 0; i < x86.EntriesPerTable; i += around {
		part, err := k.words("/proc/kpageflags", uint64(first)+uint64(i), min(around, x86.EntriesPerTable-i))
		if err != nil {
			return 0, err
		}
		flags = append(flags, part...)
	}
	own := int(pfn - first)
	if own >= len(flags) {
		return 0, nil
	}
	return orderOf(flags, own), nil
}

// orderOf returns the order of the folio of page i, of which the flags of all pages of a table's worth are known.
func orderOf(flags []uint64, i int) int {
	head := i
	for head > 0 && flags[head]&kpfCompoundTail != 0 {
		head--
	}
	if flags[head]&kpfCompoundHead == 0 {
		return 0
	}
	n := 1
	for head+n < len(flags) && flags[head+n]&kpfCompoundTail != 0 {
		n++
	}
	return bits.Len(uint(n)) - 1
}

// Pagemap implements [litmus.Target]: what /proc/pid/pagemap shows to the administrator.
func (t *Target) Pagemap(process string, va x86.Virt) ([]string, error) {
	p := t.processes[process]
	if p == nil {
		return nil, fmt.Errorf("there is no process %s any more", process)
	}
	words, err := t.k.words(fmt.Sprintf("/proc/%d/pagemap", p.pid), uint64(va)/x86.PageSize, 1)
	if err != nil || len(words) == 0 {
		return nil, err
	}
	return litmus.PagemapNames(swapentry.Pagemap(words[0]).Parts()), nil
}

// Where a process lets PAGEMAP_SCAN put its answer, in its data.
const regionAt = 3072

// Scan implements [litmus.Target]: the categories that PAGEMAP_SCAN names.
func (t *Target) Scan(process string, va x86.Virt) ([]string, error) {
	p := t.processes[process]
	if p == nil {
		return nil, fmt.Errorf("there is no process %s any more", process)
	}
	fd, err := p.pagemap()
	if err != nil {
		return nil, err
	}
	const size = 96 // of struct pm_scan_arg
	for all := uint64(1)<<litmus.ScanCategories - 1; ; all >>= 1 {
		args := []uint64{size, 0, uint64(va), uint64(va) + x86.PageSize, 0, p.at(regionAt), 1, 0, 0, 0, 0, all}
		for i, w := range args {
			binary.LittleEndian.PutUint64(p.slot.Data()[i*8:], w)
		}
		regions, err := p.call(unix.SYS_IOCTL, fd, pagemapScan, p.at(0))
		switch {
		case errors.Is(err, unix.EINVAL) && all > 1:
			continue // a kernel that does not know the newest category
		case err != nil || regions == 0:
			return nil, err
		}
		return litmus.ScanNames(binary.LittleEndian.Uint64(p.slot.Data()[regionAt+16:])), nil
	}
}
