// Package wire is what the host and the agent in the guest say to each other.
//
// There is no stream of messages. The agent shares a block of memory among its processes: slots of two pages, one for
// words and one for data. The host writes a command straight into the guest's memory, and rings: one byte on a serial
// port, the number of the slot. The agent performs, writes its answer to the same slot, and rings back with one byte
// that says how it ended. While no bell has rung, nothing in the guest runs.
//
// Slot 0 is the agent's own (process 1), the others belong to one process each. The block is mapped at [Base] in every
// process, so that a command can hold pointers to its own data.
//
// What must always hold: a slot belongs to the host from the answer to the next ring, and to the guest otherwise.
package wire

// Base is where the block is mapped in every process of the agent.
const Base = 0x7000_0000_0000

// Sizes of the block.
const (
	PageSize  = 4096
	SlotPages = 2 // words, data
	Slots     = 16
	Pages     = Slots*SlotPages + TextPages
	// TextPages follow the slots: longer answers of slot 0.
	TextPages = 32
)

// Address returns where a slot's words are mapped.
func Address(slot int) uint64 { return Base + uint64(slot)*SlotPages*PageSize }

// DataAddress returns where its data are mapped.
func DataAddress(slot int) uint64 { return Address(slot) + PageSize }

// TextAddress is where long answers are mapped.
const TextAddress = Base + Slots*SlotPages*PageSize

// Words of a slot.
const (
	Op = iota
	Arg
	Result = Arg + 8 + iota - 2 // of a call; an errno negated
	Signo                       // of an access: what it raised, 0 for nothing
	Code                        // si_code
	Addr                        // si_addr
	ErrorCode
	Trap
	Taken     // page faults taken meanwhile, at all pages
	WrongAt   // of a load: where the first byte is that is not as expected, plus 1
	WrongByte // what it is
	Spin      // 1: the process spins in user mode until the host writes 0
	Forked    // of slot 0: the userfaultfd that an event of a fork brought process 1
)

// SpinSign is what a spinning process has in register R12, so that it is not mistaken for another.
func SpinSign(slot int) uint64 { return 0x7370696e_00000000 | uint64(slot) }

// What a process can be asked for, in word [Op].
const (
	OpSyscall = iota + 1 // Arg: number and six arguments; Result
	OpAccess             // see below; Result, Signo and on
	OpFork               // Arg: slot of the child; Result: its pid
	OpSpin               // sets Spin, and waits until it is 0
	OpPKRU               // Arg: new value
	OpThread             // a second thread, which never does anything; Result: its id
)

// What process 1 can be asked for.
const (
	OpSpawn   = iota + 100 // Arg: slot of a new process
	OpReset                // ends all processes, and watches nothing any more; Stuck if one does not end
	OpRead                 // a file, whose name is in the data: its text to TextAddress; Result: length
	OpWrite                // Arg: length; data: the file's name, NUL, what is to be written
	OpWatch                // Arg: descriptor of a userfaultfd, whose events process 1 reads from now on
	OpUnwatch              // Arg: the same, no more
)

// Arguments of an access. It is made at the address, then one page on, and so forth, as often as AccessPages says, but
// not after a page at which it ends otherwise than at the first: Result counts the pages that were tried, and the words
// after it are of the last.
const (
	AccessKind = Arg + iota
	AccessAddress
	AccessValue // Store: what every byte becomes; Load: what it must be, Anything for whatever it is
	AccessBytes // of each page
	AccessPages
)

// Anything is no byte.
const Anything = 256

// Kinds of access.
const (
	Load  = iota // into the slot's data
	Store        // the bytes become a value
	Exec         // one instruction
)

// The answers to a ring.
const (
	Done   = 'd' // the slot holds the answer
	Died   = 'x' // the process has ended
	Stuck  = 't' // it has not answered in time
	Booted = 'b' // rung once: the agent is ready
)
