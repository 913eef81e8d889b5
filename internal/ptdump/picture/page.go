package picture

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"path/filepath"
	"strings"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
)

//go:embed web
var webFiles embed.FS

// Info is what the page knows besides the tables. Texts from the capture are in here as they are: the page never
// makes markup of them.
type Info struct {
	Version int      `json:"version"` // of this form: 1
	Title   string   `json:"title"`
	Facts   []string `json:"facts"` // where this comes from
	Levels  int      `json:"levels"`
	// SignBit is the highest bit of an address that is not a copy of the one below.
	SignBit  uint           `json:"signBit"`
	Markers  []pictureSpan  `json:"markers"`
	Areas    []pictureArea  `json:"areas"`
	AreasErr string         `json:"areasErr,omitempty"`
	Rows     []atlasRow     `json:"rows"`
	Notes    []string       `json:"notes"` // what the reader must know
	Cut      Cut            `json:"cut"`
	Classes  []pictureClass `json:"classes"`
	// Forms name the bits of entries, from bit 0 on; Bits says what the names mean.
	Forms [][64]string      `json:"forms"`
	Bits  map[string]string `json:"bits"`
}

// pictureSpan is a named part of the address space, which ends where the next begins.
type pictureSpan struct {
	Start string `json:"start"`
	Name  string `json:"name"`
}

// pictureArea is a VMA.
type pictureArea struct {
	Start  string   `json:"start"`
	Last   string   `json:"last"`
	Rights string   `json:"rights"` // as /proc/pid/maps prints them: "rw-p"
	Name   string   `json:"name"`
	Flags  []string `json:"flags"`
}

// NewInfo collects what a page says of the session. p and m may be nil: nobody is known to run on the root.
func NewInfo(o *tree.Tree, rootWhy string, p *proc.Process, m *space.Machine) *Info {
	paging := o.ABI.Paging()
	info := &Info{
		Version: 1, Levels: paging.Levels, SignBit: paging.VirtBits() - 1,
		Title: "Page tables below " + o.Root.String(),
		Facts: []string{
			"kernel " + report.Visible(o.System.Release), report.Plural(paging.Levels, "level"), "root " + o.Root.String() + ": " + report.Visible(rootWhy),
			"capture " + report.Visible(filepath.Base(o.Capture.Path)),
		},
		Notes: []string{},
		Areas: []pictureArea{},
	}
	for _, w := range o.System.Warnings {
		info.Notes = append(info.Notes, report.Visible(w))
	}
	for _, k := range o.System.Markers() {
		info.Markers = append(info.Markers, pictureSpan{k.Addr.String(), k.Name})
	}
	if p != nil && p.MM != nil {
		if p.PID >= 0 {
			info.Title = "Page tables of " + report.Visible(space.ProcessName(p))
		}
		info.AreasErr = report.Visible(p.MM.AreasErr)
		info.addAreas(p.MM, m.Procs)
	}
	return info
}

func (info *Info) addAreas(mm *proc.MM, all *proc.Processes) {
	for i := range mm.Areas {
		a := &mm.Areas[i]
		info.Areas = append(info.Areas, pictureArea{
			Start: a.Start.String(), Last: (a.End - 1).String(), Rights: areaRights(a, all), Name: report.Visible(areaTitle(a)),
			Flags: append([]string{}, all.FlagNames(a.Flags)...),
		})
	}
}

// areaTitle is what is mapped there.
func areaTitle(a *proc.VMA) string {
	switch {
	case a.File != nil && a.File.Path != "":
		return a.File.Path
	case a.File != nil:
		return "file without a name"
	case a.Name != "":
		return a.Name
	}
	return "anonymous"
}

func areaRights(a *proc.VMA, all *proc.Processes) string {
	b := []byte("---p")
	for i, code := range [...]string{"rd", "wr", "ex"} {
		if a.Flags&all.Flag(code) != 0 {
			b[i] = "rwx"[i]
		}
	}
	if a.Flags&all.Flag("sh") != 0 {
		b[3] = 's'
	}
	return string(b)
}

// scripts are the parts of the page's program, in the order in which they are read.
var scripts = []string{"web/data.js", "web/paint.js", "web/atlas.js", "web/walk.js", "web/entry.js", "web/page.js", "web/keys.js"}

// Page returns the whole page. Its policy forbids everything but the style and the program that are in it.
func (info *Info) Page(data string) ([]byte, error) {
	var program, style strings.Builder
	for _, name := range scripts {
		b, err := webFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		program.Write(b)
	}
	css, err := webFiles.ReadFile("web/page.css")
	if err != nil {
		return nil, err
	}
	style.Write(css)
	t, err := template.ParseFS(webFiles, "web/page.html")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Info    *Info
		Policy  string
		Style   template.CSS
		Program template.JS
		Data    template.HTML
	}{
		Info: info, Style: template.CSS(style.String()), Program: template.JS(program.String()), Data: template.HTML(data),
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; script-src " + policyHash(program.String()) +
			"; style-src " + policyHash(style.String()),
	})
	return b.Bytes(), err
}

func policyHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
