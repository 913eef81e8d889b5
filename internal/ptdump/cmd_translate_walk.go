package ptdump

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// translations is what ptdump translate prints; its JSON form is stable. Addresses are hex strings.
type translations struct {
	Root         string         `json:"root"`
	Levels       int            `json:"levels"`
	Assumed      []string       `json:"assumed"`
	Translations []*translation `json:"translations"`
}

type translation struct {
	VA     string `json:"va"`
	Region string `json:"region"`
	// Area is what of the process the address lies in, with --pid.
	Area    *areaOf `json:"area,omitempty"`
	Outcome string  `json:"outcome"`
	Steps   []step  `json:"steps"`
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

// areaOf is an area of a process, as in ptdump who.
type areaOf struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Perms string `json:"perms"`
	Name  string `json:"name"`
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
	if p := t.Process; p != nil {
		if a := space.AreaAt(p.MM.Areas, w.VA); a != nil {
			tr.Area = &areaOf{a.Start.String(), a.End.String(), space.AreaPerms(t.Spaces.Procs, a), space.AreaName(a)}
		}
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
		out.Bits = l.Kind.AppendFlags(t.ABI, []string{}, s.Level, s.Entry)
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
