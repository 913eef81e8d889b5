package ptdump

import (
	"fmt"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/linux/proc"
)

// runSpaces is run for commands that look at processes.
func (o *options) runSpaces(cmd *cobra.Command, path string, do func(*work, *space.Machine) error) error {
	return o.runOn(cmd, path, session.OpenForProcesses, func(w *work) error {
		w.tally.emptyRoot = false
		bar := report.StartProgress(o.stderr, "looking for processes", 0)
		spaces, err := w.Processes(cmd.Context(), proc.Options{Progress: bar.Set})
		bar.Stop()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		warnAll(o.stderr, spaces.Procs.Warnings)
		return do(w, spaces)
	})
}

// workers are those that --jobs asks for.
func (o *options) workers() space.Workers { return space.Workers{Jobs: o.jobs, Terminal: o.stderr} }
