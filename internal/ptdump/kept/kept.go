package kept

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"ptemu/capture"
	"ptemu/capture/elfnote"
	"ptemu/linux"
	"ptemu/linux/proc"
)

// The note that extract adds to a capture: what the whole memory said, as JSON, compressed with zstd.
const (
	NoteName = "PTEMU"
	noteType = 1
	version  = 1
)

// Bounds of the note, so that a few bytes cannot stand for all memory: how long it may be unpacked, at all and beside its
// packed size, and how short objects and elements may be on average beyond the first few. Notes of real machines are
// 10 to 30 times their packed size, and have 100 bytes an object and more than 8 an element.
const (
	maxText      = 1 << 30
	freeText     = 8 << 20
	maxRatio     = 100
	leastObject  = 48
	leastElement = 5
	fewTimes     = 1 << 16
)

// Facts is the content of the note.
type Facts struct {
	Version   int             `json:"version"`
	From      string          `json:"from"` // format of the capture that it was taken from
	Kernel    *linux.Known    `json:"kernel"`
	Processes *proc.Processes `json:"processes"` // nil if none were found
	Why       string          `json:"why,omitempty"`
}

// Note returns the note that says k.
func (k *Facts) Note() (elfnote.Note, error) {
	k.Version = version
	text, err := json.Marshal(k)
	if err != nil {
		return elfnote.Note{}, err
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		return elfnote.Note{}, err
	}
	return elfnote.Note{Name: NoteName, Type: noteType, Desc: w.EncodeAll(text, nil)}, w.Close()
}

// In returns what an earlier extract left in the capture, nil if it is not from one.
func In(c *capture.Capture) (*Facts, error) {
	for _, n := range c.Notes {
		if n.Name != NoteName || n.Type != noteType {
			continue
		}
		text, err := unpack(n.Desc)
		if err != nil {
			return nil, fmt.Errorf("note %s at %#x: %w", NoteName, n.Off, err)
		}
		k := &Facts{}
		if err := json.Unmarshal(text, k); err != nil {
			return nil, fmt.Errorf("note %s at %#x: %w", NoteName, n.Off, err)
		}
		if k.Version != version {
			return nil, fmt.Errorf("note %s at %#x: version %d, only %d is known", NoteName, n.Off, k.Version, version)
		}
		return k, nil
	}
	return nil, nil
}

// unpack unpacks the note, within the bounds.
func unpack(packed []byte) ([]byte, error) {
	limit := min(maxText, freeText+maxRatio*len(packed))
	r, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(uint64(limit)), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := r.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%d bytes, which may unpack to %d: %w", len(packed), limit, err)
	}
	for _, c := range []struct {
		what  string
		begin []byte
		least int
	}{{"objects", []byte("{"), leastObject}, {"elements", []byte(","), leastElement}} {
		if n := bytes.Count(text, c.begin); n > fewTimes+len(text)/c.least {
			return nil, fmt.Errorf("%d %s in %d bytes, more than any machine needs", n, c.what, len(text))
		}
	}
	return text, nil
}
