package picture

import (
	"encoding/binary"
	"slices"
)

// How a table is written. Numbers are varints (encoding/binary).
//
//	shape   how many runs; of each run: empty slots before it, its length, its class
//	values  of each run whose class has a number: stretches until its length is reached, each: length, and by how much its
//	        first number differs from the one that would have followed the last stretch of the table (zigzag); within a
//	        stretch each number is the one before and 1. Of a run of a Whole class: each entry, as upper and lower 32 bits.
//
// With less detail than all, the values are missing; in a summary, so are the empty slots, and there is one run of each
// class, in no place.

// detail says how much of a table is in the page.
type detail uint8

const (
	detailAll     detail = iota
	detailClasses        // everything but frames and slots
	detailSummary        // how many entries of each class
)

// slotRun is neighbouring entries of one class.
type slotRun struct{ gap, count, class int }

// tableEncoder takes the entries of a table, ascending.
type tableEncoder struct {
	runs    []slotRun
	next    int // slot behind the last one
	numbers []uint64
	raws    []uint64
}

func (e *tableEncoder) add(i, class int, value, raw uint64) {
	e.numbers, e.raws = append(e.numbers, value), append(e.raws, raw)
	if n := len(e.runs); n > 0 && e.next == i && e.runs[n-1].class == class {
		e.runs[n-1].count++
	} else {
		e.runs = append(e.runs, slotRun{i - e.next, 1, class})
	}
	e.next = i + 1
}

func shapeOf(runs []slotRun) []byte {
	b := binary.AppendUvarint(nil, uint64(len(runs)))
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.gap))
		b = binary.AppendUvarint(b, uint64(r.count))
		b = binary.AppendUvarint(b, uint64(r.class))
	}
	return slices.Clip(b)
}

func (e *tableEncoder) values(classes *pictureClasses) []byte {
	var b []byte
	at, follow := 0, uint64(0)
	for _, r := range e.runs {
		numbers, raws := e.numbers[at:at+r.count], e.raws[at:at+r.count]
		at += r.count
		switch c := &classes.list[r.class]; {
		case c.Whole:
			for _, raw := range raws {
				b = binary.AppendUvarint(b, raw>>32)
				b = binary.AppendUvarint(b, raw&(1<<32-1))
			}
		case c.Mask != 0:
			b, follow = appendStretches(b, numbers, follow)
		}
	}
	return slices.Clip(b)
}

// appendStretches writes numbers, and returns the one that would follow.
func appendStretches(b []byte, numbers []uint64, follow uint64) ([]byte, uint64) {
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[0]+uint64(n) {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendVarint(b, int64(numbers[0]-follow))
		follow = numbers[0] + uint64(n)
		numbers = numbers[n:]
	}
	return b, follow
}

// summary is the shape of a table of which only counts are kept.
func (t *pictureTable) summary() []byte {
	counts := map[int]int{}
	for _, r := range readShape(t.shape) {
		counts[r.class] += r.count
	}
	var runs []slotRun
	for class, n := range counts {
		runs = append(runs, slotRun{0, n, class})
	}
	slices.SortFunc(runs, func(a, b slotRun) int { return a.class - b.class })
	return shapeOf(runs)
}

// readShape is the inverse of shapeOf.
func readShape(b []byte) []slotRun {
	next := func() int {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		return int(v)
	}
	runs := make([]slotRun, next())
	for i := range runs {
		runs[i] = slotRun{next(), next(), next()}
	}
	return runs
}

// bytes writes all tables: their number; of each: level, with 8 for the kernel half and 16 times the detail; frame, visits,
// lengths of shape and values; then all shapes, then all values.
func (p *Picture) bytes() []byte {
	b := binary.AppendUvarint(nil, uint64(len(p.tables)))
	for _, t := range p.tables {
		level := uint64(t.level) + 16*uint64(t.detail)
		if t.upper {
			level += 8
		}
		for _, v := range [...]uint64{level, uint64(t.pfn), uint64(t.visits), uint64(len(t.shape)), uint64(len(t.values))} {
			b = binary.AppendUvarint(b, v)
		}
	}
	for _, t := range p.tables {
		b = append(b, t.shape...)
	}
	for _, t := range p.tables {
		b = append(b, t.values...)
	}
	return b
}
