package capturetest

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

// XMLText reads XML to its end and returns its text.
func XMLText(t *testing.T, s string) string {
	t.Helper()
	var text strings.Builder
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text.Write(chars)
		}
	}
}
