package ptdump

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
	keptName    = "PTEMU"
	keptType    = 1
	keptVersion = 1
)

// Bounds of the note, so that a few bytes cannot stand for all memory: how long it may be unpacked, at all and beside its
// packed size, and how short objects and elements may be on average beyond the first few. Notes of real machines are
// 10 to 30 times their packed size, and have 100 bytes an object and more than 8 an element.
const (
	maxKept      = 1 << 30
	keptFree     = 8 << 20
	keptRatio    = 100
	keptObject   = 48
	keptElement  = 5
	keptFewTimes = 1 << 16
)

// keptFacts is the content of the note.
type keptFacts struct {
	Version   int             `json:"version"`
	From      string          `json:"from"` // format of the capture that it was taken from
	Kernel    *linux.Known    `json:"kernel"`
	Processes *proc.Processes `json:"processes"` // nil if none were found
	Why       string          `json:"why,omitempty"`
}

func (k *keptFacts) note() (elfnote.Note, error) {
	text, err := json.Marshal(k)
	if err != nil {
		return elfnote.Note{}, err
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		return elfnote.Note{}, err
	}
	return elfnote.Note{Name: keptName, Type: keptType, Desc: w.EncodeAll(text, nil)}, w.Close()
}

// keptIn returns what an earlier extract left in the capture, nil if it is not from one.
func keptIn(c *capture.Capture) (*keptFacts, error) {
	for _, n := range c.Notes {
		if n.Name != keptName || n.Type != keptType {
			continue
		}
		text, err := unpackKept(n.Desc)
		if err != nil {
			return nil, fmt.Errorf("note %s at %#x: %w", keptName, n.Off, err)
		}
		k := &keptFacts{}
		if err := json.Unmarshal(text, k); err != nil {
			return nil, fmt.Errorf("note %s at %#x: %w", keptName, n.Off, err)
		}
		if k.Version != keptVersion {
			return nil, fmt.Errorf("note %s at %#x: version %d, only %d is known", keptName, n.Off, k.Version, keptVersion)
		}
		return k, nil
	}
	return nil, nil
}

// unpackKept unpacks the note, within the bounds.
func unpackKept(packed []byte) ([]byte, error) {
	limit := min(maxKept, keptFree+keptRatio*len(packed))
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
	}{{"objects", []byte("{"), keptObject}, {"elements", []byte(","), keptElement}} {
		if n := bytes.Count(text, c.begin); n > keptFewTimes+len(text)/c.least {
			return nil, fmt.Errorf("%d %s in %d bytes, more than any machine needs", n, c.what, len(text))
		}
	}
	return text, nil
}
