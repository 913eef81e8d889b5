package audit

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// The parts of SARIF 2.1.0 that an audit needs.
//
// OASIS Standard, Static Analysis Results Interchange Format (SARIF) Version 2.1.0
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Artifacts   []sarifArtifact   `json:"artifacts"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID     string       `json:"id"`
		Short  sarifText    `json:"shortDescription"`
		Full   sarifText    `json:"fullDescription"`
		Help   sarifText    `json:"help"`
		Config sarifDefault `json:"defaultConfiguration"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifArtifact struct {
		Location sarifURI `json:"location"`
	}
	sarifURI struct {
		URI   string `json:"uri,omitempty"`
		Index *int   `json:"index,omitempty"`
	}
	sarifInvocation struct {
		Successful bool          `json:"executionSuccessful"`
		ExitCode   int           `json:"exitCode"`
		Notices    []sarifNotice `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotice struct {
		Level   string        `json:"level"`
		Message sarifText     `json:"message"`
		Rule    *sarifRuleRef `json:"associatedRule,omitempty"`
	}
	sarifRuleRef struct {
		ID    string `json:"id"`
		Index int    `json:"index"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Properties   row                `json:"properties"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		ID       *int           `json:"id,omitempty"`
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifText     `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifURI      `json:"artifactLocation"`
		Address  *sarifAddress `json:"address,omitempty"`
	}
	// sarifAddress is the place of an entry in physical memory: it fits the numbers of every JSON reader.
	sarifAddress struct {
		Absolute uint64 `json:"absoluteAddress"`
		Length   int    `json:"length"`
		Kind     string `json:"kind"`
		Name     string `json:"name"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// SARIF renders the report as SARIF. Explained findings are suppressed results.
func (r *Report) SARIF(version, path string, exit int) ([]byte, error) {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "ptdump", Version: version, Rules: sarifRules()}},
		Artifacts:   []sarifArtifact{{sarifURI{URI: sarifPath(path)}}},
		Invocations: []sarifInvocation{{Successful: true, ExitCode: exit, Notices: r.sarifNotices()}},
		Results:     []sarifResult{},
	}
	rows := r.rows()
	for i, f := range r.Findings {
		res := sarifResult{
			RuleID: f.Rule.String(), RuleIndex: int(f.Rule), Level: f.Severity.String(), Message: sarifText{f.sentence()},
			Locations: []sarifLocation{f.place.sarif(path)}, Properties: rows[i],
		}
		for n := range f.Others {
			loc := f.Others[n].sarif(path)
			loc.ID, loc.Message = &n, &sarifText{"the same, at " + f.Others[n].text()}
			res.Related = append(res.Related, loc)
		}
		if f.Explained != "" {
			res.Suppressions = []sarifSuppression{{"external", "accepted", f.Explained}}
		}
		run.Results = append(run.Results, res)
	}
	b, err := json.MarshalIndent(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}}, "", " ")
	return append(b, '\n'), err
}

// sarifPath is the capture as a URI reference.
func sarifPath(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}

func sarifRules() []sarifRule {
	var all []sarifRule
	for i := range rules {
		r := &rules[i]
		all = append(all, sarifRule{
			ID: r.Name, Short: sarifText{sentence(r.Title)}, Full: sarifText{r.Why}, Help: sarifText{strings.Join(r.paragraphs(), "\n\n")},
			Config: sarifDefault{r.Severity.String()},
		})
	}
	return all
}

// sentence begins a text with a capital and ends it with a full stop.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

func (r *Report) sarifNotices() []sarifNotice {
	var all []sarifNotice
	for _, n := range r.NotRun {
		all = append(all, sarifNotice{"note", sarifText{"Not run: " + n.Why + "."}, &sarifRuleRef{n.Rule.String(), int(n.Rule)}})
	}
	for id := range ruleCount {
		if n := r.Dropped[id]; n > 0 {
			all = append(all, sarifNotice{"warning", sarifText{fmt.Sprintf("%d more findings are not listed.", n)}, &sarifRuleRef{id.String(), int(id)}})
		}
	}
	for _, n := range r.Notes {
		all = append(all, sarifNotice{"warning", sarifText{sentence(n)}, nil})
	}
	return all
}

// sentence says what was found, and where.
func (f *finding) sentence() string {
	where := f.Space.who()
	if f.Size != 0 {
		where = fmt.Sprintf("%s, %v to %v", where, f.VA, f.end())
	}
	if f.Region != "" {
		where += ", in " + f.Region
	}
	return sentence(f.Text+f.details()) + " In " + where + "."
}

func (p *place) sarif(path string) sarifLocation {
	loc := sarifLocation{
		Physical: sarifPhysical{Artifact: sarifURI{URI: sarifPath(path), Index: new(int)}},
		Logical:  []sarifLogical{{p.Space.who(), "process"}},
	}
	if p.Level != 0 {
		loc.Physical.Address = &sarifAddress{uint64(p.Entry), 8, "page table entry", levelName(p.Level) + " entry for " + p.VA.String()}
		loc.Logical = append(loc.Logical, sarifLogical{p.VA.String(), "virtual address"})
	}
	return loc
}
