package audit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
)

// sarifShape is what the schema of SARIF 2.1.0 says of an object, as far as we use it: no object may have properties that
// it does not name.
type sarifShape struct {
	required []string
	props    map[string]string // what each must be: "string", "int", "bool", "any", an enumeration a|b, a shape, "[]" before lists
	anyOf    []string          // one of these must be there
}

// sarifShapes are written down from the standard, sections 3.13 to 3.59, not from our code.
var sarifShapes = map[string]sarifShape{
	"log": {[]string{"version", "runs"}, map[string]string{"$schema": "uri", "version": "=2.1.0", "runs": "[]run"}, nil},
	"run": {[]string{"tool"}, map[string]string{
		"tool": "tool", "artifacts": "[]artifact", "invocations": "[]invocation", "results": "[]result",
	}, nil},
	"tool":      {[]string{"driver"}, map[string]string{"driver": "component"}, nil},
	"component": {[]string{"name"}, map[string]string{"name": "string", "version": "string", "rules": "[]rule"}, nil},
	"rule": {[]string{"id"}, map[string]string{
		"id": "string", "shortDescription": "multiformat", "fullDescription": "multiformat", "help": "multiformat", "defaultConfiguration": "configuration",
	}, nil},
	"configuration":    {nil, map[string]string{"level": "none|note|warning|error"}, nil},
	"multiformat":      {[]string{"text"}, map[string]string{"text": "string"}, nil},
	"artifact":         {nil, map[string]string{"location": "artifactLocation"}, nil},
	"artifactLocation": {nil, map[string]string{"uri": "uri", "index": "int"}, nil},
	"invocation": {[]string{"executionSuccessful"}, map[string]string{
		"executionSuccessful": "bool", "exitCode": "int", "toolExecutionNotifications": "[]notification",
	}, nil},
	"notification": {[]string{"message"}, map[string]string{
		"level": "none|note|warning|error", "message": "message", "associatedRule": "ruleReference",
	}, nil},
	"ruleReference": {nil, map[string]string{"id": "string", "index": "int"}, []string{"id", "index"}},
	"result": {[]string{"message"}, map[string]string{
		"ruleId": "string", "ruleIndex": "int", "level": "none|note|warning|error", "message": "message", "locations": "[]location",
		"relatedLocations": "[]location", "suppressions": "[]suppression", "properties": "any",
	}, nil},
	"message":     {nil, map[string]string{"text": "string", "id": "string"}, []string{"text", "id"}},
	"suppression": {[]string{"kind"}, map[string]string{"kind": "inSource|external", "status": "accepted|underReview|rejected", "justification": "string"}, nil},
	"location": {nil, map[string]string{
		"id": "int", "physicalLocation": "physicalLocation", "logicalLocations": "[]logicalLocation", "message": "message",
	}, nil},
	"physicalLocation": {nil, map[string]string{"artifactLocation": "artifactLocation", "address": "address"}, []string{"artifactLocation", "address"}},
	"address": {nil, map[string]string{
		"absoluteAddress": "int", "length": "int", "kind": "string", "name": "string",
	}, nil},
	"logicalLocation": {nil, map[string]string{"fullyQualifiedName": "string", "kind": "string", "name": "string"}, nil},
}

var uriReference = regexp.MustCompile(`^([a-z]+://|[^:/?#\s]*(/|$))[^\s]*$`)

// sarifCheck says where v is not what the schema wants.
func sarifCheck(where, want string, v any) []string {
	bad := func(format string, args ...any) []string {
		return []string{where + ": " + fmt.Sprintf(format, args...)}
	}
	if elem, list := strings.CutPrefix(want, "[]"); list {
		all, ok := v.([]any)
		if !ok {
			return bad("no list")
		}
		var errs []string
		for i, x := range all {
			errs = append(errs, sarifCheck(fmt.Sprintf("%s[%d]", where, i), elem, x)...)
		}
		return errs
	}
	if shape, ok := sarifShapes[want]; ok {
		return sarifObject(where, shape, v)
	}
	s, isString := v.(string)
	n, isNumber := v.(json.Number)
	_, isBool := v.(bool)
	switch {
	case want == "any", want == "string" && isString && s != "", want == "bool" && isBool, want == "uri" && isString && uriReference.MatchString(s):
	case want == "int" && isNumber && !strings.ContainsAny(n.String(), ".eE"):
		if i, err := n.Int64(); err != nil || i < -1 || i > 1<<53 {
			return bad("%v is out of range", n)
		}
	case strings.HasPrefix(want, "=") && s == want[1:]:
	case strings.Contains(want, "|") && slices.Contains(strings.Split(want, "|"), s):
	default:
		return bad("%v is no %s", v, want)
	}
	return nil
}

func sarifObject(where string, shape sarifShape, v any) (errs []string) {
	o, ok := v.(map[string]any)
	if !ok {
		return []string{where + ": no object"}
	}
	for _, name := range shape.required {
		if _, ok := o[name]; !ok {
			errs = append(errs, where+": no "+name)
		}
	}
	if len(shape.anyOf) > 0 && !slices.ContainsFunc(shape.anyOf, func(name string) bool { return o[name] != nil }) {
		errs = append(errs, fmt.Sprintf("%s: none of %v", where, shape.anyOf))
	}
	for name, x := range o {
		want, known := shape.props[name]
		if !known {
			errs = append(errs, where+": property "+name+" is not in the schema")
			continue
		}
		errs = append(errs, sarifCheck(where+"."+name, want, x)...)
	}
	return errs
}

// TestSARIF: the output has what the schema wants, and the results of the report.
func TestSARIF(t *testing.T) {
	m := newAuditMachine(false)
	for _, b := range append(slices.Clone(breakages), userBreakages...) {
		if b.rule == ruleSharedPrivatePage || b.rule == ruleCPUProtectionOff || b.rule == ruleTableShared && b.name == "" {
			b.do(m)
		}
	}
	*m.slot(m.userRoot(1), vaTLB, x86.LevelPUD) = *m.slot(m.userRoot(0), vaTLB, x86.LevelPUD)
	rep := m.audit(t, 1)
	b, err := rep.SARIF("(devel)", "/a folder/vmcore", 1)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for _, e := range sarifCheck("$", "log", doc) {
		t.Error(e)
	}
	checkSARIFResults(t, b, rep)
}

func checkSARIFResults(t *testing.T, b []byte, rep *Report) {
	t.Helper()
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID       string
				RuleIndex    int
				Level        string
				Suppressions []any
				Locations    []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
			Invocations []struct{ ToolExecutionNotifications []any }
		}
	}
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(rep.Findings) || len(run.Invocations[0].ToolExecutionNotifications) != len(rep.NotRun) {
		t.Fatalf("%d results of %d, %d notices of %d", len(run.Results), len(rep.Findings), len(run.Invocations[0].ToolExecutionNotifications), len(rep.NotRun))
	}
	suppressed := 0
	for i, r := range run.Results {
		f := rep.Findings[i]
		if r.RuleID != f.Rule.String() || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || r.Level != f.Severity.String() ||
			(len(r.Suppressions) > 0) != (f.Explained != "") {
			t.Errorf("result %d is %+v, the finding %s", i, r, describe(f))
		}
		if uri := r.Locations[0].PhysicalLocation.ArtifactLocation.URI; uri != "file:///a%20folder/vmcore" {
			t.Errorf("URI %q", uri)
		}
		suppressed += len(r.Suppressions)
	}
	if suppressed < 4 {
		t.Errorf("%d suppressed", suppressed)
	}
}

// TestSARIFCheck: the check finds what is wrong.
func TestSARIFCheck(t *testing.T) {
	for _, bad := range []string{
		`{"runs":[]}`, `{"version":"2.0.0","runs":[]}`, `{"version":"2.1.0","runs":[{}]}`, `{"version":"2.1.0","runs":[{"tool":{"driver":{}}}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"message":{}}]}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"message":{"text":"x"},"level":"fatal"}]}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"bogus":1}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"invocations":[{"exitCode":1}]}]}`,
		`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"message":{"text":"x"},"locations":[{"physicalLocation":{}}]}]}]}`,
	} {
		dec := json.NewDecoder(strings.NewReader(bad))
		dec.UseNumber()
		var doc any
		if err := dec.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if len(sarifCheck("$", "log", doc)) != 1 {
			t.Errorf("%s: %q", bad, sarifCheck("$", "log", doc))
		}
	}
}
