package x86

// SwapChange is a change of entries that are neither pages nor empty, worked out as masks. What happens depends on
// the swap type, which only package swapentry knows:
//
//	t = old >> TypeShift
//	if t is in Ask:                                           the caller decides
//	else if t is in Drop and old&DropMask == DropWant:        new = 0
//	else:                                                     new = old&Keep[t] ^ Xor[t]
//
// An empty entry becomes Install, if that is not 0. Types not in Touch are left alone by all of this.
//
// Linux: mm/mprotect.c:change_pte_range(), from is_swap_pte() on
type SwapChange struct {
	Touch uint64 // bit t: type t can change; includes Ask and Drop
	Ask   uint64
	Drop  uint64

	// Uncommon has the types of Touch for which CommonKeep and CommonXor are not the whole rule.
	Uncommon              uint64
	CommonKeep, CommonXor uint64

	TypeShift uint64
	DropMask  uint64
	DropWant  uint64
	Install   uint64

	Keep [1 << swapTypeBits]uint64
	Xor  [1 << swapTypeBits]uint64
}

// swapTypeBits is the width of the type field at the top of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable_64.h:SWP_TYPE_BITS
const swapTypeBits = 5

// NewSwapChange returns the change that changes nothing.
func NewSwapChange() SwapChange {
	c := SwapChange{TypeShift: 64 - swapTypeBits, CommonKeep: ^uint64(0)}
	for t := range c.Keep {
		c.Keep[t] = ^uint64(0)
	}
	return c
}

// Apply returns what becomes of old, an entry that is neither a page nor empty, and whether the caller must decide,
// in which case it is old.
func (c *SwapChange) Apply(old uint64) (v uint64, ask bool) {
	t := old >> c.TypeShift
	switch {
	case c.Touch>>t&1 == 0:
		return old, false
	case c.Ask>>t&1 != 0:
		return old, true
	case c.Drop>>t&1 != 0 && old&c.DropMask == c.DropWant:
		return 0, false
	}
	return old&c.Keep[t] ^ c.Xor[t], false
}

// SetCommon makes all types in the set change to old&keep ^ xor. Call it before Set.
func (c *SwapChange) SetCommon(types, keep, xor uint64) {
	c.Touch |= types
	c.CommonKeep, c.CommonXor = keep, xor
	for t := range c.Keep {
		if types>>t&1 != 0 {
			c.Keep[t], c.Xor[t] = keep, xor
		}
	}
}

// SetAsk leaves type t to the caller.
func (c *SwapChange) SetAsk(t uint8) {
	c.touchUncommon(t)
	c.Ask |= 1 << t
}

// SetDrop makes entries of type t none where old&mask == want.
func (c *SwapChange) SetDrop(t uint8, mask, want uint64) {
	c.touchUncommon(t)
	c.Drop |= 1 << t
	c.DropMask, c.DropWant = mask, want
}

func (c *SwapChange) touchUncommon(t uint8) {
	c.Touch |= 1 << t
	c.Uncommon |= 1 << t
}

// Set makes type t change to old&keep ^ xor.
func (c *SwapChange) Set(t uint8, keep, xor uint64) {
	c.touchUncommon(t)
	c.Keep[t], c.Xor[t] = keep, xor
}
