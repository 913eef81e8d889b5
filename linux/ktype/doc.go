// Package ktype says how a kernel lays its structures out, by the type information (BTF) that it carries.
//
// What Linux does. A kernel with CONFIG_DEBUG_INFO_BTF holds a description of all its types in its read-only data: a
// header, a list of types numbered from 1, and the names. A type refers to others by number.
//
//	header   u16 magic 0xeb9f, u8 version 1, u8 flags, u32 length of the header; offsets and lengths, from the header's
//	         end, of types and names (u32 each)
//	type     u32 name, u32 info (number of elements, kind in bits 24-28, flag in bit 31), u32 size or type; then what
//	         its kind adds: members of 12 bytes, array bounds, constants, ...
//	names    NUL-terminated; a name is an offset
//
// How we model it. [Parse] checks the whole list once and keeps where each type begins; members are looked at when they
// are asked for. Nothing is built that a question does not need: what packages for BTF programs do (make a graph of all
// types that a type refers to) follows pointers as deep as the kernel, or whoever altered it, made chains of them.
//
// What must always hold: altered type information gives an error or a wrong number, never a panic, a hang, or memory
// beyond a small multiple of its own size.
package ktype
