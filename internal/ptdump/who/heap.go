package who

import "ptemu/arch/x86"

// activeExtents is a heap: the extent that ends first is the first one.
type activeExtents []*extent

func (e *extent) end() x86.PFN { return e.first + x86.PFN(e.pages) }

func (a *activeExtents) push(e *extent) {
	*a = append(*a, e)
	h, end := *a, e.end()
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].end() <= end {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

func (a *activeExtents) pop() *extent {
	h := *a
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*a = h
	end := last.end()
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].end() < h[down].end() {
			down++
		}
		if end <= h[down].end() {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = last
	}
	return top
}
