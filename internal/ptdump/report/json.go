package report

import "encoding/json"

// JSONList writes objects, each on its own line: alone (jsonl), or as the elements of one array (json).
type JSONList struct {
	Array bool
	some  bool
}

// Head begins the output.
func (j *JSONList) Head(dst []byte) []byte {
	if j.Array {
		dst = append(dst, '[')
	}
	return dst
}

// Tail ends the output.
func (j *JSONList) Tail(dst []byte) []byte {
	if j.Array {
		dst = append(dst, "\n]\n"...)
	}
	return dst
}

// Begin separates the object to come from what is before it.
func (j *JSONList) Begin(dst []byte) []byte {
	if !j.Array {
		return dst
	}
	if j.some {
		dst = append(dst, ',')
	}
	j.some = true
	return append(dst, '\n')
}

// End ends an object.
func (j *JSONList) End(dst []byte) []byte {
	if j.Array {
		return dst
	}
	return append(dst, '\n')
}

// AppendJSONString appends s as a JSON string.
func AppendJSONString(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string fails
	}
	return append(dst, b...)
}

// MarshalLines returns one JSON object a line.
func MarshalLines[T any](all []T) ([]byte, error) {
	var dst []byte
	for i := range all {
		b, err := json.Marshal(all[i])
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, b...), '\n')
	}
	return dst, nil
}

// MarshalArray returns the objects of [MarshalLines] as one array.
func MarshalArray[T any](all []T) ([]byte, error) {
	lines, err := MarshalLines(all)
	if err != nil || len(lines) == 0 {
		return []byte("[]\n"), err
	}
	lines = append([]byte("[\n"), lines[:len(lines)-1]...)
	dst := make([]byte, 0, len(lines)+len(all)+4)
	for i, b := range lines {
		if b == '\n' && i > 1 {
			dst = append(dst, ',')
		}
		dst = append(dst, b)
	}
	return append(dst, "\n]\n"...), nil
}
