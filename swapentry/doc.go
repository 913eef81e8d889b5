// Package swapentry says what a non-present entry says.
//
// When a page leaves memory or is on its way elsewhere, Linux keeps a note in its page-table entry: which swap slot
// holds it, which frame it migrates from, that the frame is poisoned, that userfaultfd still wants to hear of it.
// The note is a type (5 bits) and an offset (50 bits); the types from MAX_SWAPFILES up are not swap devices but
// these special kinds. Where in the 64 bits they lie:
//
//	63   59 58                                        9 8 7 6 5 4 3 2 1 0
//	+------+------------------------------------------+-+-+-+-+-+-+-+-+-+
//	| type |        offset, every bit inverted        |0|0|*|*|0|E|W|S|0|
//	+------+------------------------------------------+-+-+-+-+-+-+-+-+-+
//	S soft-dirty, W uffd-wp, E exclusive (PTE only), * never used: old hardware may set A and D
//
// The kernel calculates with another form, swp_entry_t (softleaf_t since 7.0): type in bits 58 to 62, offset below,
// no flags. Here that is [Swp].
//
// The type numbers and the meaning of the offset shift with the release, CONFIG_DEVICE_PRIVATE, the paging depth and
// the L1TF bug. All that follows from an x86.ABI is a [Layout]. It offers two views of an entry: the kernel's own
// helpers, each with the result that the kernel's has for every input (methods of [Swp], functions that begin with
// PTE, PMD or Swp), and [Layout.Decode], which turns any non-present value into one [Entry] for a reader.
//
// What must always hold:
//   - [Layout.Encode] of a decoded entry is the value it was decoded from, all 64 bits, legal or not.
//   - Decoding never fails and never guesses. Whether the value can exist is [Layout.Check].
//   - Decode and the kernel's helpers agree on what a value is.
package swapentry
