package ptdump

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/truth"
)

// mapOf runs the command and returns what it wrote.
func mapOf(t *testing.T, name string, want int, args ...string) (text, stderr string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	code, stdout, stderr := run(t, append([]string{"map", "-o", out}, args...)...)
	if code != want || stdout != "" {
		t.Fatalf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), stderr
}

// digest is how a policy of a page names a text that it allows.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// TestMapPolicy: the page's policy allows the style and the program that are in it, by their digests, and nothing else; and
// the page names nothing outside of itself.
func TestMapPolicy(t *testing.T) {
	page, _ := mapOf(t, "map.html", exitOK, capturetest.Small(t, false))
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("no policy")
	}
	said := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policy[1])
	style := page[strings.Index(page, "<style>")+7 : strings.Index(page, "</style>")]
	program := page[strings.LastIndex(page, "<script>")+8 : strings.LastIndex(page, "</script>")]
	want := "default-src 'none'; base-uri 'none'; form-action 'none'; script-src " + digest(program) + "; style-src " + digest(style)
	if said != want {
		t.Errorf("policy %s\nwant   %s", said, want)
	}
	if n := strings.Count(page, "<script"); n != 2 || strings.Count(page, "<style") != 1 {
		t.Errorf("%d scripts", n)
	}
	outside := regexp.MustCompile(`(?i)https?://[^"' ]*|\b(src|href)="[^#"][^"]*"|@import|url\([^#]`)
	for _, found := range outside.FindAllString(page, -1) {
		if found != "http://www.w3.org/2000/svg" && found != "url(${" && found != "url(#${" {
			t.Errorf("the page names %s", found)
		}
	}
	if strings.Contains(page, " style=") || regexp.MustCompile(`<[a-z]+[^>]* on[a-z]+=`).MatchString(page[:strings.LastIndex(page, "<script>")]) {
		t.Error("the page has style attributes or handlers, which its policy forbids")
	}
}

// TestMapIsDeterministic: the same capture gives the same bytes.
func TestMapIsDeterministic(t *testing.T) {
	path := capturetest.Small(t, false)
	for _, name := range []string{"map.html", "map.svg"} {
		a, _ := mapOf(t, name, exitOK, path)
		b, _ := mapOf(t, name, exitOK, path)
		if a != b {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

func TestMapOfDamage(t *testing.T) {
	path := capturetest.Small(t, true)
	_, stderr := mapOf(t, "map.html", exitFinding, path, "--phys-bits", "46")
	for _, want := range []string{"table not in capture", "table is its own ancestor", "reserved bits set"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr does not say %q: %s", want, stderr)
		}
	}
	svg, _ := mapOf(t, "map.svg", exitFinding, path)
	capturetest.XMLText(t, svg)
}

func TestMapSVG(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		svg, _ := mapOf(t, "map.svg", exitOK, dump)
		texts := capturetest.XMLText(t, svg)
		o := capturetest.Open(t, dump, "cr3")
		for _, want := range []string{"kernel text", "direct map", o.System.Release} {
			if !strings.Contains(texts, want) {
				t.Errorf("the picture does not say %q", want)
			}
		}
	})
}

func TestMapUsage(t *testing.T) {
	path := capturetest.Small(t, false)
	for _, args := range [][]string{
		{}, {path}, {path, "x"}, {path, "1", "2"}, {path, "-o", "map.txt"}, {path, "-o", "m.svg", "--max-size", "x"},
		{path, "1", "--pid", "2", "-o", "m.svg"}, {path, "-o", filepath.Join(t.TempDir(), "m.html"), "--max-size", "10K"},
	} {
		if code, _, stderr := run(t, append([]string{"map"}, args...)...); code != exitUsage {
			t.Errorf("%q: exit %d: %s", args, code, stderr)
		}
	}
}
