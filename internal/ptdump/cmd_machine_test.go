package ptdump

import (
	"bytes"
	"context"
	"testing"

	"ptemu/internal/ptdump/capturetest"
)

// runOn runs a command line on the written machine.
func runOn(t testing.TB, m *capturetest.Machine, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	o := &options{stdout: &out, stderr: &errs, find: m.Find}
	code = o.main(context.Background(), args)
	return code, out.String(), errs.String()
}
