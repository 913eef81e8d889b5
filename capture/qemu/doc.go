// Package qemu reads the memory of a running QEMU guest through its machine protocol (QMP).
//
// What QEMU offers. A QMP socket takes commands: stop and cont, a note-only dump (dump-guest-memory of one page, which
// also holds the state of every processor and VMCOREINFO), the map of guest-physical memory (info mtree -f), and where
// the file of a memory backend is. RAM of a memory-backend-file with share=on is in that file, so it is read there; all
// other RAM is asked for, single frames as text (xp), neighbours through small dumps into a file of ours, which is
// handed over with the socket (getfd), so no folder needs to be shared.
//
// What must always hold: the guest is paused while the capture is open, and runs again after Close if it ran before;
// only RAM and ROM are read, never devices, because reading those has effects; nothing is written to the guest.
package qemu
