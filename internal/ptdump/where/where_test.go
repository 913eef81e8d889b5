package where

import (
	"errors"
	"fmt"
	"go/ast"
	goparser "go/parser"
	gotoken "go/token"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
)

// TestReadsVA: the address is read only where it is compared.
func TestReadsVA(t *testing.T) {
	for expr, want := range map[string]bool{
		"va==0x0": true, "w && !(x || va>0x5)": true, "w": false, "entry>0x5 || pa==0x1 && raw!=0x0": false, "!u": false,
	} {
		where, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		if where.ReadsVA() != want {
			t.Errorf("%s: %v", expr, !want)
		}
	}
}

func TestWhere(t *testing.T) {
	// The leaves of Samples for which the expression is true, by their last two address digits of the page.
	tests := []struct {
		expr string
		want []int
	}{
		{"w", []int{0, 10, 11, 12}},
		{"w && x", []int{12}},
		{"w and x or not r", []int{3, 4, 5, 6, 7, 8, 9, 12}},
		{"!(r)", []int{3, 4, 5, 6, 7, 8, 9}},
		{"not not u", []int{0, 1, 2, 10}},
		{"u and not nx", []int{1}},
		{"NX", []int{0, 2, 10, 11}},
		{"rw", []int{0, 10, 11, 12}},
		{"dirty", []int{0, 3, 10, 11, 12}}, // 3 has SAVED_DIRTY
		{"hw-dirty", []int{0, 10, 11, 12}},
		{"dirty && !w", []int{3}},
		{"kind==swap", []int{4}},
		{"KIND != Present && kind!=marker", []int{3, 4, 5, 8, 9}},
		{"level==PMD || level == pud", []int{10, 11}},
		{"saved-dirty", []int{3}},
		{"SAVED_DIRTY", []int{3}},
		{"soft-dirty", []int{0, 3, 4, 5, 10}},
		{"kernel-4k", []int{11, 12}},
		{"uffd_wp", []int{2, 4, 7}},
		{"uffd-wp && present", []int{2}},
		{"uffd-wp && marker", []int{7}},
		{"guard", []int{6}},
		{"poisoned", nil},
		{"exclusive", []int{4}},
		{"pat", []int{10}},
		{"pat-large", []int{10}},
		{"pse", []int{10, 11}},
		{"devmap", nil}, // no such flag in this kernel
		{"protnone", []int{3}},
		{"swap", []int{4}},
		{"migration", []int{5}},
		{"device-private || hwpoison", []int{8, 9}},
		{"pmd", []int{10}},
		{"pud or pmd", []int{10, 11}},
		{"pkey==5", []int{2}},
		{"pkey != 5", []int{0, 1, 3, 10, 11, 12}},
		{"!(pkey == 5)", []int{0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"pfn>=0x12345 && pfn<=0x12346", []int{0, 1, 3, 5, 8, 9}},
		{"pa = 0x40000000", []int{10, 11}},
		{"size>=2M", []int{10, 11}},
		{"size>2M", []int{11}},
		{"size == 1g", []int{11}},
		{"type==31", []int{6, 7}},
		{"offset == 4660", []int{4}},
		{"offset < 010", []int{6, 7}}, // decimal, not octal
		{"va < 0x10000002000", []int{0, 1}},
		{"va >= 0X10000001000 and va < 0x10000003000", []int{1, 2}},
		{"raw == 0xfffffffffffff600", []int{6}},
	}
	for _, tt := range tests {
		w, err := Parse(tt.expr)
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		match := w.Compile(capturetest.ABI)
		var got []int
		for i, l := range capturetest.Samples {
			if match(l) {
				got = append(got, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s (%s): entries %v, want %v", tt.expr, w, got, tt.want)
		}
	}
}

func TestWhereErrors(t *testing.T) {
	tests := []struct {
		expr string
		pos  int
		msg  string
	}{
		{"", 0, "the expression is empty"},
		{" \t", 0, "the expression is empty"},
		{"kind", 4, "as in kind==swap"},
		{"kind==5", 6, "expected a kind after ==, as in kind==swap"},
		{"level==swap", 7, "expected a level after =="},
		{"u && kind>swap", 9, "expected == and a kind"},
		{strings.Repeat("z", 5000), 0, "unknown name \"" + strings.Repeat("z", 40) + "...\""},
		{"w &", 2, "want &&"},
		{"w && ", 5, "expected a name, found the end"},
		{"w x", 2, "expected && or || before"},
		{"(w && x", 7, "expected ) for the ( in column 1"},
		{"w)", 1, "no ( for this )"},
		{"dirtty", 0, "did you mean dirty?"},
		{"zzzzzz", 0, "unknown name"},
		{"pfn", 0, "pfn is a number: compare it, as in pfn==5"},
		{"va", 0, "va is a number: compare it, as in va==0x1000"},
		{"va >= 4096", 6, "va is an address: write it in hex with 0x"},
		{"u && PA<4G", 8, "pa is an address: write it in hex with 0x"},
		{"entry==ffff88", 7, "entry is an address: write it in hex with 0x"},
		{"va ==", 5, "expected a number after =="},
		{"w == 1", 2, "cannot be compared"},
		{"pfn == w", 7, "expected a number after =="},
		{"pfn == 0xzz", 7, "not a number"},
		{"pfn == 18446744073709551616", 7, "not a number"},
		{"pfn == 0x1000000000000000T", 7, "not a number"},
		{"5 == pfn", 0, "a number must follow a comparison"},
		{"w + x", 2, "unexpected '+'"},
		{"é", 0, "unexpected 'é'"},
		{strings.Repeat("(", 1000), 200, "nested deeper"},
		{strings.Repeat("!", 1000) + "w", 200, "nested deeper"},
		{strings.Repeat("w&&", 1<<16), 40, "longer than"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.expr)
		var we *Error
		if !errors.As(err, &we) {
			t.Errorf("%.40q: error %v", tt.expr, err)
			continue
		}
		if we.Pos != tt.pos || !strings.Contains(we.Msg, tt.msg) {
			t.Errorf("%.40q: position %d, %q; want %d, %q", tt.expr, we.Pos, we.Msg, tt.pos, tt.msg)
		}
	}
}

func TestWhereErrorCaret(t *testing.T) {
	_, err := Parse("u && drity")
	want := "--where: unknown name \"drity\", did you mean dirty? (ptdump help where lists them)\n" +
		"  u && drity\n" +
		"       ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestWhereErrorLong: of a long expression an error shows what is near the place, and the caret is below that.
func TestWhereErrorLong(t *testing.T) {
	_, err := Parse(strings.Repeat("w || ", 1000) + "drity" + strings.Repeat(" || w", 1000))
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	at := strings.IndexByte(lines[2], '^')
	if len(err.Error()) > 400 || !strings.HasPrefix(lines[1][at:], "drity") {
		t.Errorf("%d bytes: %s", len(err.Error()), err)
	}
}

// TestParseKinds: the names of --kind are those of --where.
func TestParseKinds(t *testing.T) {
	got, err := ParseKinds([]string{"Swap", " device_private"})
	if err != nil || len(got) != 2 || !got[tree.KindSwap] || !got[tree.KindDevicePrivate] {
		t.Error(got, err)
	}
	for _, bad := range [][]string{nil, {""}, {"swap", ""}, {"swop"}, {"dirty"}} {
		if _, err := ParseKinds(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Every name that the help promises is one that the parser knows.
func TestWhereHelp(t *testing.T) {
	for line := range strings.Lines(Help) {
		if !strings.HasPrefix(line, "  --where '") {
			continue
		}
		expr := strings.Split(line, "'")[1]
		if _, err := Parse(expr); err != nil {
			t.Errorf("example in the help: %v", err)
		}
	}
	if !strings.Contains(Help, "--range 1000-2000") || !strings.Contains(Help, "va>=0x1000 && va<0x2000") {
		t.Error("the help does not say that numbers are decimal here and hex in --range")
	}
	for _, n := range strings.Fields("r w x u rw user pwt pcd accessed dirty pat pse global special devmap " +
		"hw-dirty saved-dirty nx protnone enc soft-dirty uffd-wp exclusive guard poisoned present swap migration " +
		"device-private device-exclusive hwpoison marker swapin-error unknown pte pmd pud") {
		if _, err := Parse(n); err != nil {
			t.Error(err)
		}
		if !strings.Contains(Help, n) {
			t.Errorf("%s is not in the help", n)
		}
	}
}

// FuzzWhere holds the parser and the compiled closure against Go's own parser: the canonical form of an accepted
// expression, rewritten as a Go expression, must mean the same for every entry.
func FuzzWhere(f *testing.F) {
	for _, s := range []string{
		"w && x || !u", "not (r and w) or pfn>=0x1000", "swap||marker&&uffd-wp", "pkey==5", "((((w))))",
		"size = 2M", "!", "&&", "pfn<", "a_b", "x or\tu", "é", "offset != 99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1000 || strings.Contains(strings.ToLower(src), "kind") || strings.Contains(strings.ToLower(src), "level") {
			return // the comparison is slow
		}
		w, err := Parse(src)
		if err != nil {
			var we *Error
			if !errors.As(err, &we) {
				t.Fatalf("error %T, want *WhereError", err)
			}
			if we.Pos < 0 || we.Pos > len(we.Src) || utf8.ValidString(src) && !utf8.ValidString(we.Error()) {
				t.Fatalf("bad position %d in %q", we.Pos, we.Src)
			}
			return
		}
		goExpr, err := goparser.ParseExpr(goSyntax(src))
		if err != nil {
			t.Fatalf("%q accepted, but Go says of %q: %v", src, goSyntax(src), err)
		}
		again, err := Parse(w.String())
		if err != nil || again.String() != w.String() {
			t.Fatalf("%q has the form %q, which reads back as %v, %v", src, w, again, err)
		}
		match := w.Compile(capturetest.ABI)
		for _, l := range capturetest.Samples {
			if got, want := match(l), goEval(t, goExpr, l); got != want {
				t.Fatalf("%q (%s) of %#x: %v, want %v", src, w, l.Raw, got, want)
			}
		}
	})
}

// goSyntax rewrites an expression of the language as one of Go, word by word, without understanding it.
func goSyntax(src string) string {
	var b strings.Builder
	for src != "" {
		if n := wordLen(src); n > 0 {
			word := strings.ToLower(src[:n])
			src = src[n:]
			switch op, ok := operatorWords[word]; {
			case ok:
				b.WriteString(op)
			case isDigit(word[0]):
				n, _ := usage.Number(word)
				fmt.Fprintf(&b, "%d", n)
			default:
				b.WriteString("n_" + strings.ReplaceAll(word, "-", "_"))
			}
			b.WriteByte(' ')
			continue
		}
		switch {
		case strings.HasPrefix(src, "=="), strings.HasPrefix(src, "!="), strings.HasPrefix(src, "<="),
			strings.HasPrefix(src, ">="):
			b.WriteString(src[:2])
			src = src[2:]
		case src[0] == '=':
			b.WriteString("==")
			src = src[1:]
		case src[0] == '\n' || src[0] == '\r':
			b.WriteByte(' ')
			src = src[1:]
		default:
			b.WriteByte(src[0])
			src = src[1:]
		}
	}
	return b.String()
}

func goEval(t *testing.T, e ast.Expr, l *tree.Leaf) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return goEval(t, e.X, l)
	case *ast.UnaryExpr:
		return !goEval(t, e.X, l)
	case *ast.Ident:
		return Test(capturetest.ABI, strings.ReplaceAll(e.Name[2:], "_", "-"))(l)
	case *ast.BinaryExpr:
		switch e.Op {
		case gotoken.LAND:
			return goEval(t, e.X, l) && goEval(t, e.Y, l)
		case gotoken.LOR:
			return goEval(t, e.X, l) || goEval(t, e.Y, l)
		}
		v, ok := fields[e.X.(*ast.Ident).Name[2:]](l)
		n, err := strconv.ParseUint(e.Y.(*ast.BasicLit).Value, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch e.Op {
		case gotoken.EQL:
			return ok && v == n
		case gotoken.NEQ:
			return ok && v != n
		case gotoken.LSS:
			return ok && v < n
		case gotoken.LEQ:
			return ok && v <= n
		case gotoken.GTR:
			return ok && v > n
		case gotoken.GEQ:
			return ok && v >= n
		}
	}
	t.Fatalf("unexpected %T", e)
	return false
}
