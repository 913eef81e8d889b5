package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// paragraphs are the documentation of a rule, without its name.
func (r *rule) paragraphs() []string {
	all := []string{sentence(r.Title), "Why it matters: " + r.Why, "How it is decided: " + r.How}
	if r.Alarms != "" {
		all = append(all, "What is no fault: "+r.Alarms)
	}
	if n := r.Needs.text(); n != "" {
		all = append(all, "Needs: "+n+".")
	}
	return all
}

func (n ruleNeeds) text() string {
	var all []string
	for _, x := range []struct {
		bit  ruleNeeds
		text string
	}{
		{needKernel, "the kernel's tables"}, {needRAM, "the direct map"}, {needPTI, "page-table isolation"}, {needCPUs, "registers"},
		{needAreas, "the areas of processes"}, {needTracks, "an area with VM_SOFTDIRTY"}, {needMany, "two address spaces"},
	} {
		if n&x.bit != 0 {
			all = append(all, x.text)
		}
	}
	return strings.Join(all, ", ")
}

// explain is what --explain prints of a rule.
func (r *rule) explain() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s (%s)\n", r.Name, r.Severity)
	for _, p := range r.paragraphs() {
		fmt.Fprintf(&b, "\n%s\n", fill(p, 100))
	}
	return b.Bytes()
}

// listRules is what --list prints.
func listRules() []byte {
	var b bytes.Buffer
	for i := range rules {
		r := &rules[i]
		fmt.Fprintf(&b, "%-7s  %-27s  %s\n", r.Severity, r.Name, r.Title)
	}
	return b.Bytes()
}

// ruleJSON is a rule for programs. Its form is stable.
type ruleJSON struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Title    string `json:"title"`
	Why      string `json:"why"`
	How      string `json:"how"`
	Alarms   string `json:"no_fault,omitempty"`
	Needs    string `json:"needs,omitempty"`
}

// rulesJSON is what --list and --explain print with --format json, an array, and jsonl.
func rulesJSON(rules []rule, array bool) ([]byte, error) {
	var all []ruleJSON
	for i := range rules {
		r := &rules[i]
		all = append(all, ruleJSON{r.Name, r.Severity.String(), r.Title, r.Why, r.How, r.Alarms, r.Needs.text()})
	}
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	if array {
		to.SetIndent("", "  ")
		err := to.Encode(all)
		return b.Bytes(), err
	}
	for i := range all {
		if err := to.Encode(&all[i]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// fill breaks a text into lines.
func fill(s string, width int) string {
	var b strings.Builder
	n := 0
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0:
		case n+1+len(word) > width:
			b.WriteByte('\n')
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}

// auditDocHead is the beginning of doc/audit.md.
const auditDocHead = `# ptdump audit: the rules

<!-- The rules are made from the program: go test ./internal/ptdump/audit -run TestAuditDoc says how. -->

` + "`ptdump audit CAPTURE`" + ` looks through all page tables in a capture for what cannot be in those of a sound Linux machine. This is every rule: what
is found, why it matters, how it is decided, and what may look like it without being a fault. ` + "`ptdump audit --explain NAME`" + ` prints the same.

Severities: an *error* means that protection, or somebody's data, is lost; a *warning*, that no sound kernel has this, but that nothing may come of it; a
*note*, that it may be meant, or was caught in the middle of something. A finding may be *explained*: the program knows why it is as it should be. It is then a note, and
does not count for the exit code, which is 1 if anything else was found.

Neighbouring entries that break a rule alike are one finding, with their number. So are those of one area of a process.

`

// auditDoc is doc/audit.md.
func auditDoc() []byte {
	var b bytes.Buffer
	b.WriteString(auditDocHead)
	g := 0
	for i := range rules {
		if g < len(ruleGroups) && ruleGroups[g].first == ruleID(i) {
			fmt.Fprintf(&b, "## %s\n\n", ruleGroups[g].title)
			g++
		}
		r := &rules[i]
		fmt.Fprintf(&b, "### %s\n\n*%s.* ", r.Name, strings.ToUpper(r.Severity.String()[:1])+r.Severity.String()[1:])
		for _, p := range r.paragraphs() {
			fmt.Fprintf(&b, "%s\n\n", fill(p, 150))
		}
	}
	b.WriteString(auditDocTail)
	return b.Bytes()
}
