// Package kept is what ptdump extract keeps of a capture: the frames that hold page tables ([Tables]), and a note with what the
// whole memory said of the kernel and its processes ([Facts]), so that the extract answers as the capture did.
//
// What must always hold: no other frame is in an extract. The note is read as hostile: it is bounded before it is decoded.
package kept
