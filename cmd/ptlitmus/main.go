// Command ptlitmus runs litmus tests of page-table operations, and shows step by step what they do. Run "ptlitmus --help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ptemu/internal/ptlitmus"
)

// grace is how long an interrupted command may take to clean up.
const grace = 500 * time.Millisecond

func main() {
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write then, which ends the command in order
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // the second Ctrl-C kills
		time.Sleep(grace)
		os.Exit(130)
	})
	os.Exit(ptlitmus.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
