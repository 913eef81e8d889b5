package mm_test

import (
	"errors"
	"fmt"
	"log"

	"ptemu/arch/x86"
	"ptemu/mm"
)

// A page that userfaultfd write-protects is migrated, on 6.12 and on kernels as they were until 6.1: there the end of the
// migration gives the write bit back, and the write that follows is lost to the monitor.
func ExampleMachine() {
	old := mm.Linux6_1()
	mistake, err := mm.HistoricNamed("restore-write-from-vm-page-prot")
	if err != nil {
		log.Fatal(err)
	}
	mistake.Apply(&old.Policy)
	for _, profile := range []mm.Profile{mm.Linux6_12(), old} {
		if err := protectAndMigrate(profile); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// protected 0x8400000000000c25, migrated 0x8400000000000c25, write fault seen: true
	// protected 0x8000000000000c65, migrated 0x8000000000000c67, write fault seen: false
}

func protectAndMigrate(p mm.Profile) error {
	m, err := mm.New(mm.Config{Profile: p})
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := m.NewSpace()
	if err != nil {
		return err
	}
	c := m.CPU(0)
	if err := c.Run(s); err != nil {
		return err
	}
	va, err := c.Mmap(mm.MmapArgs{Length: x86.PageSize, Prot: mm.ProtRead | mm.ProtWrite, Flags: mm.MapShared})
	if err != nil {
		return err
	}
	u, err := c.Userfaultfd(0)
	if err != nil {
		return err
	}
	err = errors.Join(c.Store(va, []byte{1}), u.Register(c, va, x86.PageSize, mm.UffdWP), u.WriteProtect(c, va, x86.PageSize, true))
	if err != nil {
		return err
	}
	entry := func() uint64 {
		way := s.Tree().Walk(va, nil)
		return x86.PTE(way[len(way)-1].Value).Flags(m.ABI())
	}
	protected := entry()
	if err := errors.Join(c.MovePages([]x86.Virt{va}, 1, false)...); err != nil {
		return err
	}
	migrated := entry()
	fault := c.Store(va, []byte{2})
	fmt.Printf("protected %#x, migrated %#x, write fault seen: %v\n", protected, migrated, fault != nil)
	return nil
}
