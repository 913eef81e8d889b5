package ptdump

import (
	"fmt"

	"github.com/spf13/cobra"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/internal/ptdump/usage"
)

const translateLong = `Walk the tables for each virtual address as the processor does, and print every entry on the way: where it is, its value,
what it means. Then the physical address, the effective rights over all levels, and what a read, a write and an
instruction fetch would do, from user and from kernel mode: ok, or the exception, with the error code of a page fault.

The registers are those of the capture's CPU (--cpu). What a capture lacks (EFER, PKRU) is assumed, and said.

Formats:
  text   for reading
  json   one object: root, levels, what was assumed, and the translations
  jsonl  one object an address, as in the translations of json
  csv    a header and one record an address: the last entry of the walk, the whole way in path, and what each access
         does; lists are joined with |

Addresses are hex, with or without 0x, or symbols of the kernel, which are found in captures of whole machines; +OFFSET
and -OFFSET (hex, or as 2M) may follow. With --pid the area that an address lies in is named. The exit code is 1 if an
address is not mapped.`

const translateExample = `  ptdump translate vmcore ffffffff81000000
  ptdump translate vmcore init_task _text+2M
  ptdump translate --cpu 1 vmcore 7ffd12345000 0x401000
  ptdump translate --pkru 55555554 vmcore 10000000000   with the keys that a new process has
  ptdump translate --root pti-user vmcore ffffffff81e00000`

func newTranslateCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "translate [flags] CAPTURE ADDRESS...",
		Short:   "Walk single addresses, level by level",
		Long:    translateLong + "\n\n" + exitCodesHelp,
		Example: translateExample,
		Args:    captureArgs(1, "address"),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.runTranslate(cmd, args[0], args[1:]) },
	}
	cmd.Flags().StringVar(&o.pkru, "pkru", "", "`VALUE` of PKRU, hex (default 0: no key forbids anything)")
	cmd.Flags().BoolVar(&o.ac, "ac", false, "RFLAGS.AC is set, as while the kernel copies from or to user memory")
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	o.addPID(cmd)
	return cmd
}

func (o *options) runTranslate(cmd *cobra.Command, path string, args []string) error {
	if err := checkAddresses(args); err != nil {
		return err
	}
	pkru, err := optionalHex("--pkru", o.pkru)
	if err != nil {
		return err
	}
	if pkru != nil && *pkru>>32 != 0 {
		return usage.Errorf("--pkru %#x: the register has 32 bits", *pkru)
	}
	return o.run(cmd, path, func(w *work) error {
		var vas []x86.Virt
		for _, a := range args {
			va, err := w.places.address("address", a)
			if err != nil {
				return err
			}
			if w.NoUser != "" && va <= lastUser {
				return errNoUser(w.Session)
			}
			vas = append(vas, va)
		}
		t, err := newTranslator(w.Session, pkru, o.ac)
		if err != nil {
			return err
		}
		r := t.translate(vas)
		b, err := r.in(o.format, w.colors)
		if err != nil {
			return err
		}
		if o.format == "jsonl" || o.format == "csv" { // they have no place for what is of no single address
			for _, a := range r.Assumed {
				fmt.Fprintf(o.stderr, "ptdump: note: assumed: %s\n", a)
			}
		}
		if _, err := w.out.Write(b); err != nil {
			return err
		}
		for _, tr := range r.Translations {
			if tr.Outcome != mmu.Mapped.String() {
				w.tally.unmapped++
			}
		}
		return nil
	})
}
