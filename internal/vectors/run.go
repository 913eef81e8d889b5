package vectors

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxReports is the number of differences of one function that Run lists before it only counts.
const maxReports = 20

// Result is what Run found.
type Result struct {
	Checks    int // results compared
	Functions int
	// Unmapped counts the constants that were read but have no counterpart, by name.
	Unmapped map[string]int
	// Differences lists wrong results and unknown functions, ready to print.
	Differences []string
	// Wrong counts the wrong results of each function, listed or not.
	Wrong map[string]int
}

// Run compares every vector in r. The error is about the file; what differs is in the result.
func Run(r *Reader) (*Result, error) {
	res := &Result{Unmapped: map[string]int{}, Wrong: map[string]int{}}
	for {
		v, err := r.Next()
		if errors.Is(err, io.EOF) {
			res.Functions = r.Functions()
			return res, nil
		}
		if err != nil {
			return res, err
		}
		res.check(r.Config(), v)
	}
}

func (res *Result) check(c *Config, v *Vector) {
	var got uint64
	if v.Function == "const" {
		f, ok := constants[v.Constant]
		switch {
		case ok:
			got = f(c)
		case unmapped[v.Constant] != "":
			res.Unmapped[v.Constant]++
			return
		default:
			res.differ(v, "unknown constant")
			return
		}
	} else {
		f, ok := functions[v.Function]
		switch {
		case !ok:
			res.differ(v, "unknown function")
			return
		case f.args != len(v.In):
			res.differ(v, fmt.Sprintf("%d inputs, want %d", len(v.In), f.args))
			return
		}
		got = f.call(c, v.In)
	}
	res.Checks++
	if got != v.Out {
		res.differ(v, fmt.Sprintf("got %#x", got))
	}
}

func (res *Result) differ(v *Vector, what string) {
	res.Wrong[v.Function]++
	if n := res.Wrong[v.Function]; n > maxReports {
		return
	}
	var in strings.Builder
	for _, x := range v.In {
		fmt.Fprintf(&in, " %#x", x)
	}
	res.Differences = append(res.Differences,
		fmt.Sprintf("line %d: %s%s%s: want %#x: %s", v.Line, v.Function, sep(v.Constant), in.String(), v.Out, what))
}

func sep(constant string) string {
	if constant == "" {
		return ""
	}
	return " " + constant
}
