package proc

import (
	"context"
	"encoding/binary"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/ktype"
)

// A maple tree maps ranges of numbers to pointers. A pointer to a node holds the node's type in its low byte; nodes are
// 256 bytes and aligned to that. Slot i of a node spans from behind pivot i-1 to pivot i, both included; where there is
// no more pivot, or it is 0, to the end of what the node spans.
//
// Linux: include/linux/maple_tree.h; lib/maple_tree.c:ma_data_end(), mtree_range_walk()
const (
	mapleNodeMask  = 0xff
	mapleTypeShift = 3
	mapleTypeMask  = 0xf
	mapleReserved  = 4096 // pointers below it are none
	mapleMaxDepth  = 31
)

// mapleShape is how nodes are laid out.
type mapleShape struct {
	dense, leaf, inner, arange uint64 // the numbers of the types
	range64, arange64          mapleNode
	denseSlot                  member
}

// mapleNode is one kind of nodes: where its arrays of 8-byte values are.
type mapleNode struct{ pivot, slot, end member }

// find takes the layout from the types.
func (s *mapleShape) find(t *ktype.Types) error {
	c := t.Constants("maple_")
	for name, to := range map[string]*uint64{
		"maple_dense": &s.dense, "maple_leaf_64": &s.leaf, "maple_range_64": &s.inner, "maple_arange_64": &s.arange,
	} {
		v, ok := c[name]
		if !ok {
			return fmt.Errorf("the constant %s: %w", name, ktype.ErrNotFound)
		}
		*to = v
	}
	var err error
	get := func(typ, name string) member {
		m, e := t.Member(typ, name)
		if e == nil && (m.Size == 0 || m.Bits != 0 || m.Offset+m.Size > mapleNodeMask+1) {
			e = fmt.Errorf("%s.%s does not lie in a node of %d bytes", typ, name, mapleNodeMask+1)
		}
		if e != nil && err == nil {
			err = e
		}
		return member{m.Offset, m.Size}
	}
	s.range64 = mapleNode{get("maple_range_64", "pivot"), get("maple_range_64", "slot"), get("maple_range_64", "meta.end")}
	s.arange64 = mapleNode{get("maple_arange_64", "pivot"), get("maple_arange_64", "slot"), get("maple_arange_64", "meta.end")}
	s.denseSlot = get("maple_node", "slot")
	return err
}

// mapleWalk visits the pointers of one tree, ascending.
type mapleWalk struct {
	ctx   context.Context
	mem   *linux.KernelMemory
	shape *mapleShape
	seen  map[x86.Virt]bool
	nodes *int // how many nodes may still be read
	// visit is called for each pointer, and ends the walk with false.
	visit func(addr x86.Virt, first, last uint64) bool
	// problem is called for each node that cannot be used.
	problem func(error)
	stopped bool
}

// walk starts at the root pointer of a tree.
func (w *mapleWalk) walk(root uint64) {
	switch {
	case root == 0:
	case root&3 == 2 && root > mapleReserved:
		w.node(root, 0, ^uint64(0), mapleMaxDepth)
	case root&3 == 0 && root > mapleReserved:
		w.visit(x86.Virt(root), 0, 0)
	default:
		w.problem(fmt.Errorf("the root of the maple tree is %#x, which is no pointer", root))
	}
}

// node visits what is below the node that the pointer p means. The node spans first to last.
func (w *mapleWalk) node(p, first, last uint64, depth int) {
	addr := x86.Virt(p &^ mapleNodeMask)
	*w.nodes--
	switch {
	case w.stopped:
		return
	case w.ctx.Err() != nil:
		w.stopped = true
		return
	case *w.nodes < 0:
		w.problem(fmt.Errorf("maple tree node %v: more nodes than all kernels have", addr))
		w.stopped = true
		return
	case depth == 0:
		w.problem(fmt.Errorf("maple tree node %v: the tree is deeper than %d", addr, mapleMaxDepth))
		return
	case w.seen[addr]:
		w.problem(fmt.Errorf("maple tree node %v: linked twice", addr))
		return
	}
	w.seen[addr] = true
	var b [mapleNodeMask + 1]byte
	if err := w.mem.ReadAt(b[:], addr); err != nil {
		w.problem(fmt.Errorf("maple tree node: %w", err))
		return
	}
	n, s := mapleNode{}, w.shape
	typ := p >> mapleTypeShift & mapleTypeMask
	switch typ {
	case s.leaf, s.inner:
		n = s.range64
	case s.arange:
		n = s.arange64
	case s.dense:
		n.slot = s.denseSlot
	default:
		w.problem(fmt.Errorf("maple tree node %v: type %d is not known", addr, typ))
		return
	}
	w.slots(&b, &n, typ, span{addr, first, last}, depth)
}

// span is a node and the numbers that it spans.
type span struct {
	node        x86.Virt
	first, last uint64
}

// slots visits the slots of a node.
func (w *mapleWalk) slots(b *[mapleNodeMask + 1]byte, n *mapleNode, typ uint64, in span, depth int) {
	word := func(m member, i int) uint64 { return binary.LittleEndian.Uint64(b[int(m.off)+8*i:]) }
	s := w.shape
	pivots, slots := int(n.pivot.size/8), int(n.slot.size/8)
	end := slots - 1
	if typ != s.dense {
		end = mapleEnd(b, n, typ == s.arange, in.last)
	}
	first := in.first
	for i := 0; i <= end && i < slots && !w.stopped; i++ {
		last := in.last
		switch {
		case typ == s.dense:
			last = min(last, first)
		case i < pivots && i < end:
			last = word(n.pivot, i)
		}
		if last < first || last > in.last {
			w.problem(fmt.Errorf("maple tree node %v: pivot %d is %#x, outside %#x-%#x", in.node, i, last, first, in.last))
			return
		}
		p := word(n.slot, i)
		switch {
		case p < mapleReserved:
		case typ == s.inner || typ == s.arange:
			w.node(p, first, last, depth-1)
		case p&3 != 0:
			w.problem(fmt.Errorf("maple tree node %v: slot %d is %#x, which is no pointer", in.node, i, p))
		case !w.visit(x86.Virt(p), first, last):
			w.stopped = true
		}
		if last == in.last {
			return
		}
		first = last + 1
	}
}

// mapleEnd returns the number of the last slot in use.
func mapleEnd(b *[mapleNodeMask + 1]byte, n *mapleNode, arange bool, max uint64) int {
	pivots := int(n.pivot.size / 8)
	if pivots == 0 {
		return 0
	}
	end := int(b[n.end.off])
	if arange {
		return end
	}
	switch binary.LittleEndian.Uint64(b[int(n.pivot.off)+8*(pivots-1):]) {
	case 0:
		return end
	case max:
		return pivots - 1
	}
	return pivots
}
