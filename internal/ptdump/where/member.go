package where

import (
	"slices"

	"ptemu/internal/ptdump/tree"
)

// setsOf are the words that may stand before == and a name: kind==swap is swap, level==pmd is pmd.
var setsOf = map[string]func(name string) bool{
	"kind":  func(name string) bool { return slices.Contains(Kinds, tree.Kind(name)) },
	"level": func(name string) bool { _, ok := levelNames[name]; return ok },
}

// member parses "kind==NAME" and "level==NAME", and with != their opposite.
func (p *parser) member(set string, has func(string) bool) (*node, error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	op := p.tok
	if op.text != "==" && op.text != "!=" {
		return nil, p.fail(op.pos, "expected == and a %s after %s, as in %s==%s", set, set, set, setExamples[set])
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	name := canonical(p.tok.text)
	if !p.tok.word || !has(name) {
		return nil, p.fail(p.tok.pos, "expected a %s after %s, as in %s==%s, found %s", set, op.text, set, setExamples[set], p.tok.describe())
	}
	n := &node{op: "test", name: name}
	if op.text == "!=" {
		n = &node{op: "!", args: []*node{n}}
	}
	return n, p.next()
}

var setExamples = map[string]string{"kind": "swap", "level": "pmd"}
