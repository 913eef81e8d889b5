package where

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/usage"
)

// parser is a recursive-descent parser; each method parses one level of precedence.
//
//	or   = and { ("||" | "or") and }
//	and  = not { ("&&" | "and") not }
//	not  = ("!" | "not") not | "(" or ")" | name [ op number ] | ("kind" | "level") ("==" | "!=") name
type parser struct {
	src   string
	depth int

	tok token
}

// token is one word of the expression. Words and numbers share a shape and are told apart by their first byte.
type token struct {
	text string // operators in their symbolic form; "" at the end
	pos  int
	word bool
}

func (t token) describe() string {
	if t.text == "" {
		return "the end"
	}
	return strconv.Quote(clip(t.text))
}

func (p *parser) fail(pos int, format string, args ...any) error {
	return &Error{p.src, pos, fmt.Sprintf(format, args...)}
}

func (p *parser) parse() (*node, error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	switch {
	case p.tok.text == "":
		return n, nil
	case p.tok.text == ")":
		return nil, p.fail(p.tok.pos, "no ( for this )")
	}
	return nil, p.fail(p.tok.pos, "expected && or || before %s", p.tok.describe())
}

func (p *parser) or() (*node, error) { return p.binary("||", p.and) }

func (p *parser) and() (*node, error) { return p.binary("&&", p.not) }

func (p *parser) binary(op string, arg func() (*node, error)) (*node, error) {
	n, err := arg()
	for err == nil && p.tok.text == op {
		if err = p.next(); err != nil {
			break
		}
		var right *node
		if right, err = arg(); err == nil {
			n = &node{op: op, args: []*node{n, right}}
		}
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (p *parser) not() (*node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, p.fail(p.tok.pos, "nested deeper than %d", maxDepth)
	}
	start := p.tok
	switch {
	case start.text == "!":
		if err := p.next(); err != nil {
			return nil, err
		}
		arg, err := p.not()
		if err != nil {
			return nil, err
		}
		return &node{op: "!", args: []*node{arg}}, nil
	case start.text == "(":
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.tok.text != ")" {
			return nil, p.fail(p.tok.pos, "expected ) for the ( in column %d, found %s",
				utf8.RuneCountInString(p.src[:start.pos])+1, p.tok.describe())
		}
		return n, p.next()
	case !start.word:
		return nil, p.fail(start.pos, "expected a name, found %s", start.describe())
	}
	return p.test()
}

// test parses a name, or a comparison.
func (p *parser) test() (*node, error) {
	word := p.tok
	name := canonical(word.text)
	if of := setsOf[name]; of != nil {
		return p.member(name, of)
	}
	_, number := fields[name]
	if !number && !slices.Contains(allNames(), name) {
		if isDigit(word.text[0]) {
			return nil, p.fail(word.pos, "a number must follow a comparison, as in pkey==5")
		}
		return nil, p.fail(word.pos, "unknown name %q%s (ptdump help where lists them)", clip(word.text), didYouMean(name))
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	op := p.tok
	if !slices.Contains(comparisons, op.text) {
		if number {
			example := "5"
			if slices.Contains(addresses, name) {
				example = "0x1000"
			}
			return nil, p.fail(word.pos, "%s is a number: compare it, as in %s==%s", name, name, example)
		}
		return &node{op: "test", name: name}, nil
	}
	if !number {
		return nil, p.fail(op.pos, "%s is true or false and cannot be compared", name)
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	value := p.tok
	if hex := strings.HasPrefix(strings.ToLower(value.text), "0x"); value.word && !hex && slices.Contains(addresses, name) {
		return nil, p.fail(value.pos, "%s is an address: write it in hex with 0x, as in %s==0x1000", name, name)
	}
	if !value.word || !isDigit(value.text[0]) {
		return nil, p.fail(value.pos, "expected a number after %s, found %s", op.text, value.describe())
	}
	num, err := usage.Number(value.text)
	if err != nil {
		return nil, p.fail(value.pos, "%v", err)
	}
	return &node{op: "cmp", name: name, cmp: op.text, num: num}, p.next()
}

var comparisons = []string{"==", "!=", "<=", ">=", "<", ">"}

// symbols are the operators, the longer first, with what they stand for.
var symbols = [][2]string{
	{"&&", "&&"}, {"||", "||"}, {"==", "=="}, {"!=", "!="}, {"<=", "<="}, {">=", ">="},
	{"=", "=="}, {"<", "<"}, {">", ">"}, {"!", "!"}, {"(", "("}, {")", ")"},
}

var operatorWords = map[string]string{"and": "&&", "or": "||", "not": "!"}

// next reads the next token into p.tok.
func (p *parser) next() error {
	rest := strings.TrimLeft(p.src[p.tok.end(p.src):], " \t\r\n")
	pos := len(p.src) - len(rest)
	if rest == "" {
		p.tok = token{pos: pos}
		return nil
	}
	if n := wordLen(rest); n > 0 {
		p.tok = token{rest[:n], pos, true}
		if op, ok := operatorWords[strings.ToLower(rest[:n])]; ok {
			p.tok = token{op, pos, false}
		}
		return nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s[0]) {
			p.tok = token{s[1], pos, false}
			return nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	hint := ""
	if r == '&' || r == '|' {
		hint = fmt.Sprintf(" (want %c%c)", r, r)
	}
	return p.fail(pos, "unexpected %q%s", r, hint)
}

// end returns where the token ends in src: its text may differ from what stands there.
func (t token) end(src string) int {
	if t.text == "" {
		return t.pos
	}
	if n := wordLen(src[t.pos:]); n > 0 {
		return t.pos + n
	}
	for _, s := range symbols {
		if strings.HasPrefix(src[t.pos:], s[0]) {
			return t.pos + len(s[0])
		}
	}
	return t.pos
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// allNames returns every name that can stand alone.
var allNames = sync.OnceValue(func() []string {
	var names []string
	for n := range rightsTests {
		names = append(names, n)
	}
	for n := range levelNames {
		names = append(names, n)
	}
	for n := range markerBits {
		names = append(names, n)
	}
	for n := range flagNames {
		names = append(names, n)
	}
	for _, k := range Kinds {
		names = append(names, string(k))
	}
	for _, k := range x86.Kernels() {
		paging := x86.DefaultPaging(5)
		paging.EncMask = 1 << 47 // any: it gives the flag ENC its name
		abi := x86.MustABI(k, paging)
		for level := x86.LevelPTE; level <= x86.LevelPUD; level++ {
			for form := range formCount {
				for _, f := range abi.FlagsOf(level, form) {
					names = append(names, strings.ToLower(strings.ReplaceAll(f.Name, "_", "-")))
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
})

// didYouMean suggests the known name nearest to an unknown one, if one is near.
func didYouMean(name string) string {
	best, bestDist := "", 3
	consider := func(n string) {
		if d := usage.Distance(name, n); d < bestDist && d < len(n) {
			best, bestDist = n, d
		}
	}
	for _, n := range allNames() {
		consider(n)
	}
	for n := range fields {
		consider(n)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", best)
}
