package ptdump

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux"
	"ptemu/pgtable"
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

Addresses are hex, with or without 0x. The exit code is 1 if one of them is not mapped.`

const translateExample = `  ptdump translate vmcore ffffffff81000000
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
	var vas []x86.Virt
	for _, a := range args {
		va, err := usage.Hex("address", a)
		if err != nil {
			return err
		}
		vas = append(vas, x86.Virt(va))
	}
	pkru, err := optionalHex("--pkru", o.pkru)
	if err != nil {
		return err
	}
	if pkru != nil && *pkru>>32 != 0 {
		return usage.Errorf("--pkru %#x: the register has 32 bits", *pkru)
	}
	return o.run(cmd, path, func(w *work) error {
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

// translations is what ptdump translate prints; its JSON form is stable. Addresses are hex strings.
type translations struct {
	Root         string         `json:"root"`
	Levels       int            `json:"levels"`
	Assumed      []string       `json:"assumed"`
	Translations []*translation `json:"translations"`
}

type translation struct {
	VA      string `json:"va"`
	Region  string `json:"region"`
	Outcome string `json:"outcome"`
	Steps   []step `json:"steps"`
	// Error is why the walk could not go on, if it could not.
	Error string `json:"error,omitempty"`
	// PA is what the address translates to; it and what follows up to Pkey hold only if it is mapped.
	PA         string       `json:"pa,omitempty"`
	PageSize   uint64       `json:"page_size,omitempty"`
	Rights     *tree.Rights `json:"rights,omitempty"`
	MemoryType string       `json:"memory_type,omitempty"`
	Pkey       *uint8       `json:"pkey,omitempty"`
	Access     []access     `json:"access"`
}

type step struct {
	Level   string    `json:"level"`
	EntryPA string    `json:"entry_pa"`
	Raw     string    `json:"raw"`
	Meaning string    `json:"meaning"`
	Kind    tree.Kind `json:"kind,omitempty"` // of an entry in leaf position
	Bits    []string  `json:"bits"`
}

type access struct {
	Mode   string `json:"mode"`   // user or kernel
	Access string `json:"access"` // read, write or execute
	OK     bool   `json:"ok"`
	// Exception and Code hold if it is not OK. Without an exception nobody knows, for a table is unreadable.
	Exception string   `json:"exception,omitempty"`
	Code      *uint32  `json:"code,omitempty"`
	CodeNames []string `json:"code_names,omitempty"`
	Why       string   `json:"why,omitempty"`
}

// translator walks addresses with the registers of one CPU.
type translator struct {
	*session.Session
	mmu     *mmu.MMU
	markers []linux.Marker
	assumed []string
	noPKRU  bool // none was given
	noAC    bool
}

func newTranslator(o *session.Session, pkru *uint64, ac bool) (*translator, error) {
	regs, assumed := o.Registers()
	if pkru != nil {
		regs.PKRU = uint32(*pkru)
	}
	if ac {
		regs.RFLAGS |= mmu.RFLAGSAC
	}
	unit, err := mmu.New(regs, o.ABI.Paging())
	if err != nil {
		return nil, fmt.Errorf("CPU %d: %w", o.CPU, err)
	}
	return &translator{Session: o, mmu: unit, markers: o.System.Markers(), assumed: assumed, noPKRU: pkru == nil, noAC: !ac}, nil
}

func (t *translator) translate(vas []x86.Virt) *translations {
	r := &translations{Root: t.Root.String(), Levels: t.ABI.Paging().Levels, Assumed: append([]string{}, t.assumed...)}
	var keyed, user bool
	for _, va := range vas {
		w := t.mmu.Walk(t.Mem, va)
		r.Translations = append(r.Translations, t.one(&w))
		u := w.Rights().U
		user, keyed = user || u, keyed || u && w.PKey() != 0
	}
	cr4 := t.mmu.Regs().CR4
	if keyed && t.noPKRU && cr4&mmu.CR4PKE != 0 {
		r.Assumed = append(r.Assumed, "PKRU 0, no key forbids anything: captures lack it, pass --pkru")
	}
	if user && t.noAC && cr4&mmu.CR4SMAP != 0 {
		r.Assumed = append(r.Assumed, "RFLAGS.AC clear, the kernel does not mean to access user memory: pass --ac otherwise")
	}
	return r
}

func (t *translator) one(w *mmu.Walk) *translation {
	tr := &translation{VA: w.VA.String(), Outcome: w.Outcome.String(), Steps: []step{}}
	if w.Outcome != mmu.NonCanonical {
		tr.Region = linux.RegionAt(t.markers, w.VA).Name
	}
	for i, s := range w.Steps() {
		tr.Steps = append(tr.Steps, t.step(w, s, i == len(w.Steps())-1))
	}
	var table *mmu.TableError
	if errors.As(w.Err(), &table) {
		tr.Error = tableErrorText(table)
	}
	if pa, ok := w.Phys(); ok {
		r := w.Rights()
		tr.PA, tr.PageSize = pa.String(), w.Size()
		tr.Rights = &tree.Rights{R: r.R, W: r.W, X: r.X, U: r.U}
		last := w.Last()
		tr.MemoryType = x86.PATLinux.MemType(last.Level, true, last.Entry).String()
		if key := w.PKey(); r.U || key != 0 {
			tr.Pkey = &key
		}
	}
	for _, user := range []bool{true, false} {
		for _, kind := range []mmu.Kind{mmu.Read, mmu.Write, mmu.Fetch} {
			tr.Access = append(tr.Access, tryAccess(w, mmu.Access{Kind: kind, User: user}))
		}
	}
	return tr
}

// step explains one entry of a walk.
func (t *translator) step(w *mmu.Walk, s mmu.Step, last bool) step {
	out := step{
		Level: s.Level.String(), EntryPA: s.Place.String(), Raw: fmt.Sprintf("%016x", s.Entry),
		Bits: t.ABI.AppendFlags([]string{}, s.Level, s.Entry),
	}
	switch {
	case !last || w.Outcome == mmu.Unreadable:
		out.Meaning = "table at " + t.ABI.TableFrame(s.Entry).Phys().String()
	case w.Outcome == mmu.Reserved:
		out.Meaning = fmt.Sprintf("reserved bits %#x are set", w.ReservedBits())
	case x86.PTE(s.Entry).None():
		out.Meaning, out.Kind = "empty", tree.KindNone
	default:
		l := tree.Leaf{VA: w.VA, Level: s.Level, Raw: s.Entry}
		d := t.Decoder()
		d.Decode(&l, pgtable.FullAccess)
		out.Kind = l.Kind
		out.Meaning = entries.Meaning(&l)
		if l.Invalid {
			out.Meaning += ", invalid: " + tree.InvalidText(t.Layout.Check(l.Level, l.Raw))
		}
	}
	return out
}

func tableErrorText(e *mmu.TableError) string {
	p := pgtable.Problem{Err: e.Err}
	return fmt.Sprintf("%s %s", e.Level, tree.ProblemText(&p))
}

// tryAccess says what an access would do.
func tryAccess(w *mmu.Walk, a mmu.Access) access {
	out := access{Mode: "kernel", Access: a.Kind.String()}
	if a.User {
		out.Mode = "user"
	}
	if a.Kind == mmu.Fetch {
		out.Access = "execute"
	}
	_, err := w.Translate(a)
	var fault *mmu.Fault
	var table *mmu.TableError
	switch {
	case err == nil:
		out.OK = true
	case errors.As(err, &fault):
		out.Exception, out.Why = fault.Vector.String(), fault.Why.String()
		code := uint32(fault.Code)
		out.Code, out.CodeNames = &code, codeNames(fault.Code)
	case errors.As(err, &table):
		out.Why = tableErrorText(table)
	default:
		out.Why = err.Error()
	}
	return out
}
