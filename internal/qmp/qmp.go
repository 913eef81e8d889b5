// Package qmp speaks with a running QEMU: its machine protocol, over a local socket.
package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Monitor is QEMU's machine protocol over a local socket: one command at a time, each
// within its context's deadline.
type Monitor struct {
	conn net.Conn
	dec  *json.Decoder
}

// Dial waits for the socket to appear and greets.
func Dial(ctx context.Context, path string) (*Monitor, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			m := &Monitor{conn: conn, dec: json.NewDecoder(conn)}
			_, err := m.Do(ctx, "qmp_capabilities", nil)
			return m, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("monitor: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Do runs a command. Greetings and events between command and answer are skipped.
func (m *Monitor) Do(ctx context.Context, command string, arguments map[string]any) (json.RawMessage, error) {
	request, err := encode(command, arguments)
	if err != nil {
		return nil, err
	}
	if err := m.setDeadline(ctx); err != nil {
		return nil, err
	}
	if _, err := m.conn.Write(request); err != nil {
		return nil, fmt.Errorf("monitor: %s: %w", command, err)
	}
	return m.answer(command)
}

func encode(command string, arguments map[string]any) ([]byte, error) {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	return json.Marshal(request)
}

func (m *Monitor) setDeadline(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	return m.conn.SetDeadline(deadline)
}

// answer reads up to the answer of the last command.
func (m *Monitor) answer(command string) (json.RawMessage, error) {
	for {
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := m.dec.Decode(&answer); err != nil {
			return nil, fmt.Errorf("monitor: %s: %w", command, err)
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("monitor: %s: %w", command, errors.New(answer.Error.Desc))
		}
		if answer.Return != nil {
			return answer.Return, nil
		}
	}
}

// Human runs a command of the human monitor on one processor and returns its text.
func (m *Monitor) Human(ctx context.Context, line string, cpu int) (string, error) {
	answer, err := m.Do(ctx, "human-monitor-command", map[string]any{"command-line": line, "cpu-index": cpu})
	if err != nil {
		return "", err
	}
	var text string
	return text, json.Unmarshal(answer, &text)
}

// Close ends the conversation, not the machine.
func (m *Monitor) Close() error { return m.conn.Close() }
