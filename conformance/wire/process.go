package wire

// The agent can also be an ordinary process of the machine that the tests run on. It is then started with the argument
// [AsProcess], and finds the block and the bell as open files. It changes nothing of the machine.
const (
	AsProcess = "as-process"
	BlockFile = 3 // memory of Pages pages, to be mapped at Base
	BellFile  = 4 // a stream socket; when it closes, the agent ends with all of its processes
)
