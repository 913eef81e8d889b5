package ptdump

import _ "embed" // auditDocTail

// auditDocTail is the end of doc/audit.md.
//
//go:embed audit_doctail.md
var auditDocTail string
