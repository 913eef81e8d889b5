package bench

import "math"

// Row is a result as it is printed and kept. Times are nanoseconds.
type Row struct {
	Name    string `json:"name"`
	Size    string `json:"size"`
	Order   Order  `json:"order"`
	Variant string `json:"variant"`
	Kind    Kind   `json:"kind"`
	// Level is that of the host's instructions for Ours, else the kind.
	Level    string  `json:"level"`
	NsPerPTE float64 `json:"ns_per_pte"`
	Q1       float64 `json:"q1"`
	Q3       float64 `json:"q3"`
	// NsPerOp is the time of an operation on a few pages, NsPerBreak that of a run's break beyond the uniform scan.
	NsPerOp    float64 `json:"ns_per_op,omitempty"`
	NsPerBreak float64 `json:"ns_per_break,omitempty"`
	// How the time compares: to the best floor, as a multiple of it; to the kernel and the plain loop, how many times
	// faster this is. 0: there is nothing to compare with. The kernel's is that of real memory, not of the zero page.
	RatioFloor  float64 `json:"ratio_floor"`
	RatioKernel float64 `json:"ratio_kernel"`
	RatioScalar float64 `json:"ratio_scalar"`

	PTEs    int     `json:"ptes"` // of one pass
	Rounds  int     `json:"rounds"`
	Allocs  float64 `json:"allocs"` // per pass there and back
	Note    string  `json:"note,omitempty"`
	Skipped string  `json:"skipped,omitempty"` // why there is no time
}

// Rows makes the rows of a case.
func (c *Case) Rows(size string, o Order, results []Result) []Row {
	best := func(k Kind) float64 {
		t := math.Inf(1)
		for _, r := range results {
			if r.Kind == k && r.Skip == "" {
				t = min(t, r.Median)
			}
		}
		return t
	}
	floor, scalar, kernel := best(Floor), best(Scalar), best(Kernel)
	var rows []Row
	for _, r := range results {
		row := Row{
			Name: c.Name, Size: size, Order: o, Variant: r.Name, Kind: r.Kind, Level: string(r.Kind), NsPerPTE: r.Median,
			Q1: r.Q1, Q3: r.Q3, NsPerOp: r.Median * float64(c.PagesPerOp), PTEs: r.PTEs, Rounds: r.Rounds, Allocs: r.Allocs,
			Note: r.Note, Skipped: r.Skip,
		}
		if r.Kind == Ours {
			row.Level = r.Level.String()
		}
		if r.Skip == "" && r.Median > 0 {
			row.RatioFloor = finite(r.Median / floor)
			row.RatioKernel = finite(kernel / r.Median)
			row.RatioScalar = finite(scalar / r.Median)
		}
		rows = append(rows, row)
	}
	return rows
}

// finite returns 0 for a ratio to what was not measured.
func finite(x float64) float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	return x
}

// PerBreak sets Row.NsPerBreak of scans with breaks: what they take more than the uniform one at the same place.
func PerBreak(rows []Row) {
	uniform := map[string]float64{}
	breaks := map[string]int{}
	for _, c := range Cases() {
		breaks[c.Name] = c.Breaks
	}
	key := func(r Row) string { return r.Size + "/" + string(r.Order) + "/" + r.Variant }
	for _, r := range rows {
		if r.Name == CaseRuns && r.Skipped == "" {
			uniform[key(r)] = r.NsPerPTE
		}
	}
	for i, r := range rows {
		if u, ok := uniform[key(r)]; ok && breaks[r.Name] > 0 && r.Kind != Floor && r.Skipped == "" {
			rows[i].NsPerBreak = (r.NsPerPTE - u) * float64(breaks[r.Name])
		}
	}
}
