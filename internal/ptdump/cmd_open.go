package ptdump

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"ptemu/capture"
)

// hintFor tells what to do about an error, "" if nothing but the error can be said.
func hintFor(err error, cmd *cobra.Command) string {
	switch {
	case errors.Is(err, capture.ErrTruncated):
		return "The file seems to be cut off: compare its size with the original."
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return "It was compressed with a window of more than 128 MiB: unpack it first, as with zstd -d --long=31."
	case unpacksTooFar(err):
		return "If the capture may be that large, say --max-unpack-ratio N, or -1 for any; or unpack it first."
	case errors.Is(err, fs.ErrNotExist) && !cmd.HasParent():
		if other, ok := notCommands[cmd.Flags().Arg(0)]; ok {
			return other
		}
		if known := cmd.SuggestionsFor(cmd.Flags().Arg(0)); len(known) > 0 {
			return fmt.Sprintf("Did you mean the command %s?", known[0])
		}
	}
	return ""
}

// notCommands are words that other tools take for commands, and what to do here.
var notCommands = map[string]string{
	"man":     "For help: ptdump help, or man ptdump where the pages are installed.",
	"version": "For the version: ptdump --version.",
}

// unpacksTooFar reports that unpacking stopped at the ratio that --max-unpack-ratio sets.
func unpacksTooFar(err error) bool {
	var at *capture.FormatError
	return errors.As(err, &at) && strings.HasPrefix(at.Format, "unpacked ") && strings.Contains(at.Err.Error(), "times its size")
}
