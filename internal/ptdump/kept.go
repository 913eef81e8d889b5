package ptdump

import (
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
	maxKept     = 1 << 30 // unpacked
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
		r, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxKept), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		text, err := r.DecodeAll(n.Desc, nil)
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
