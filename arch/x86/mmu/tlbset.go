package mmu

// set holds values under 64-bit keys: the values lie densely, in the order of insertion until one is removed, and
// a table of open addressing finds them. It allocates only to grow. Everything in it is deterministic.
type set[T any] struct {
	index
	vals []T
}

// put stores v under key and returns where, and whether the key is new.
func (s *set[T]) put(key uint64, v T) bool {
	if i := s.find(key); i >= 0 {
		s.vals[i] = v
		return false
	}
	s.add(key)
	s.vals = append(s.vals, v)
	return true
}

// remove removes value i. The last value takes its place.
func (s *set[T]) remove(i int) {
	s.drop(i)
	last := len(s.vals) - 1
	s.vals[i] = s.vals[last]
	s.vals = s.vals[:last]
}

func (s *set[T]) clear() {
	s.empty()
	s.vals = s.vals[:0]
}

// index maps keys to their places in keys.
type index struct {
	keys  []uint64
	slots []uint32 // 1 + place, 0 for none; a power of two, at most half full
	shift uint8    // 64 less the bits of a slot number
}

const (
	minSlots  = 16
	minShift  = 60
	fibonacci = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	sparse    = 8                  // an index with fewer keys per slot than 1/sparse is emptied key by key
)

func (x *index) home(key uint64) int { return int(key * fibonacci >> x.shift) }

func (x *index) next(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

// find returns the place of key, -1 if it is not there.
func (x *index) find(key uint64) int {
	if len(x.keys) == 0 {
		return -1
	}
	for h := x.home(key); ; h = x.next(h) {
		s := x.slots[h]
		if s == 0 {
			return -1
		}
		if x.keys[s-1] == key {
			return int(s - 1)
		}
	}
}

// add appends a key that is not there.
func (x *index) add(key uint64) {
	x.keys = append(x.keys, key)
	if 2*len(x.keys) > len(x.slots) {
		x.grow()
		return
	}
	x.enter(len(x.keys) - 1)
}

func (x *index) enter(place int) {
	h := x.home(x.keys[place])
	for x.slots[h] != 0 {
		h = x.next(h)
	}
	x.slots[h] = uint32(place) + 1
}

func (x *index) grow() {
	if x.slots == nil {
		x.slots, x.shift = make([]uint32, minSlots), minShift
	} else {
		x.slots = make([]uint32, 2*len(x.slots))
		x.shift--
	}
	for i := range x.keys {
		x.enter(i)
	}
}

// slotOf returns the slot that holds place, which must be there.
func (x *index) slotOf(place int) int {
	h := x.home(x.keys[place])
	for x.slots[h] != uint32(place)+1 {
		h = x.next(h)
	}
	return h
}

// drop removes the key at place; the last key takes its place.
func (x *index) drop(place int) {
	hole := x.slotOf(place)
	last := len(x.keys) - 1
	if place != last {
		x.slots[x.slotOf(last)] = uint32(place) + 1
		x.keys[place] = x.keys[last]
	}
	x.keys = x.keys[:last]
	x.slots[hole] = 0
	x.close(hole)
}

// close moves keys back over a slot that became free, so that a search that stops at a free slot still finds them.
func (x *index) close(hole int) {
	mask := len(x.slots) - 1
	for h := x.next(hole); x.slots[h] != 0; h = x.next(h) {
		home := x.home(x.keys[x.slots[h]-1])
		if (h-home)&mask >= (h-hole)&mask {
			x.slots[hole], x.slots[h] = x.slots[h], 0
			hole = h
		}
	}
}

func (x *index) empty() {
	if len(x.keys)*sparse < len(x.slots) {
		for len(x.keys) > 0 {
			x.drop(len(x.keys) - 1)
		}
		return
	}
	clear(x.slots)
	x.keys = x.keys[:0]
}
