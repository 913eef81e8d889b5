package audit

import _ "embed"

// auditDocTail is the end of doc/audit.md.
//
//go:embed doctail.md
var auditDocTail string
