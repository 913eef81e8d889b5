// Package who turns page tables around: who maps a frame, or has an entry for a slot of swap. Linux keeps reverse maps for its
// own pages; here the answer is found by walking all trees, the kernel's half once ([Search.Find]).
// [Search.EveryFrame] does so for all frames together: what each walk maps becomes extents, which are sorted and swept.
//
// What must always hold: memory is bounded. What does not fit is done in several walks, or refused with a word.
package who
