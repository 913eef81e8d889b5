package litmus

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ptemu/mm"
)

// Ext is how the names of litmus files end.
const Ext = ".pt"

//go:embed corpus
var corpus embed.FS

// Corpus returns the tests that come with the package, by name.
func Corpus() ([]*Program, error) { return load(corpus, "corpus") }

// Load reads the files named, and all below the folders named.
func Load(paths ...string) ([]*Program, error) {
	var all []*Program
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			text, err := os.ReadFile(p)
			if err != nil {
				return nil, err
			}
			prog, err := parseChecked(p, string(text))
			if err != nil {
				return nil, err
			}
			all = append(all, prog)
			continue
		}
		below, err := loadFolder(p)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

func loadFolder(path string) ([]*Program, error) {
	all, err := load(os.DirFS(path), ".")
	var e *Error
	if asError(err, &e) {
		e.Pos.File = filepath.Join(path, e.Pos.File)
	}
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: no *%s files", path, Ext)
	}
	return all, err
}

// load reads all files below a folder, in the order of their names.
func load(fsys fs.FS, root string) (all []*Program, err error) {
	err = fs.WalkDir(fsys, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, Ext) {
			return err
		}
		text, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		prog, err := parseChecked(p, string(text))
		if err != nil {
			return err
		}
		prog.Name = strings.TrimSuffix(strings.TrimPrefix(p, root+"/"), Ext)
		all = append(all, prog)
		return nil
	})
	return all, err
}

func parseChecked(file, text string) (*Program, error) {
	p, err := Parse(file, text)
	if err != nil {
		return nil, err
	}
	return p, p.Validate()
}

// Validate checks the names that Parse does not know: releases, historic policies, points. The error is an *Error.
func (p *Program) Validate() error {
	bad := func(pos Pos, what, name string, known []string) error {
		return &Error{pos, fmt.Sprintf("there is no %s %q (there are %s)", what, name, strings.Join(known, ", "))}
	}
	for _, r := range p.Policies {
		if !slices.Contains(policyNames(), r.Policy) {
			return bad(r.Pos, "policy", r.Policy, policyNames())
		}
		if r.Kernel != "" && !slices.Contains(Kernels(), minor(r.Kernel)) {
			return bad(r.Pos, "release", r.Kernel, Kernels())
		}
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		if _, err := mm.PointNamed(s.Until); s.Until != "" && err != nil {
			return bad(s.Pos, "point", s.Until, pointNames())
		}
		for _, t := range slices.Concat(p.Kernels, s.Under) {
			if t.policy && !slices.Contains(policyNames(), t.Name) {
				return bad(t.Pos, "policy", t.Name, policyNames())
			}
			if t.policy && !slices.ContainsFunc(p.Policies, func(r PolicyRun) bool { return r.Policy == t.Name }) {
				return &Error{t.Pos, fmt.Sprintf("the test is not run under %s: name it with policies", t.Name)}
			}
		}
	}
	return nil
}

// Kernels returns the releases, oldest first.
func Kernels() (names []string) {
	for _, p := range mm.Profiles() {
		names = append(names, p.Kernel.Release)
	}
	return names
}

func policyNames() (names []string) {
	for _, h := range mm.HistoricPolicies() {
		names = append(names, h.Name)
	}
	return names
}

func pointNames() (names []string) {
	for _, p := range mm.Points() {
		names = append(names, p.String())
	}
	return names
}

// RunOn is one way to run a program: as a release, with a historic policy or "".
type RunOn struct{ Kernel, Policy string }

// Runs returns all ways in which the program is run: every release, then its historic policies.
func (p *Program) Runs() (all []RunOn) {
	for _, k := range Kernels() {
		all = append(all, RunOn{k, ""})
	}
	for _, r := range p.Policies {
		if r.Kernel == "" {
			r.Kernel = Kernels()[0]
		}
		all = append(all, RunOn{r.Kernel, r.Policy})
	}
	return all
}

// Emulate runs the program on the emulator.
func Emulate(p *Program, on RunOn) (Result, error) {
	e, err := NewEmulator(p, on.Kernel, on.Policy)
	if err != nil {
		return Result{}, err
	}
	r := Run(p, e, on.Kernel, on.Policy, Observer{})
	return r, e.Close()
}
