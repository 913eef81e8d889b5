//go:build browser

package picture

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// chromium is a headless browser with one page, driven through the pipe of its debugging protocol.
type chromium struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	mu      sync.Mutex
	id      int
	session string
	events  []string // what went wrong in the page
}

// startChromium starts the browser, or skips the test aloud.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("SKIPPED: no Chromium here, so that the page was not opened in a browser (apt install chromium)")
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // 3 and 4 there
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	c := &chromium{t: t, to: to, from: bufio.NewReaderSize(from, 1<<20)}
	from.SetReadDeadline(time.Now().Add(4 * time.Minute))
	t.Cleanup(func() {
		c.call("", "Browser.close", nil)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-done
		}
		to.Close()
		from.Close()
	})
	target := c.call("", "Target.createTarget", map[string]any{"url": "about:blank"})
	c.session = c.call("", "Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})["sessionId"].(string)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		c.do(domain+".enable", nil)
	}
	return c
}

// do calls a method of the page.
func (c *chromium) do(method string, params map[string]any) map[string]any {
	c.t.Helper()
	return c.call(c.session, method, params)
}

func (c *chromium) call(session, method string, params map[string]any) map[string]any {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	if params == nil {
		params = map[string]any{}
	}
	request := map[string]any{"id": c.id, "method": method, "params": params}
	if session != "" {
		request["sessionId"] = session
	}
	b, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.to.Write(append(b, 0)); err != nil {
		c.t.Errorf("%s: %v", method, err)
		return nil
	}
	for {
		line, err := c.from.ReadBytes(0)
		if err != nil {
			if method != "Browser.close" {
				c.t.Errorf("%s: %v", method, err)
			}
			return nil
		}
		var answer struct {
			ID     int
			Method string
			Params json.RawMessage
			Result map[string]any
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(line[:len(line)-1], &answer); err != nil {
			c.t.Fatal(err)
		}
		c.note(answer.Method, answer.Params)
		if answer.ID != c.id {
			continue
		}
		if answer.Error != nil {
			c.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		return answer.Result
	}
}

// note keeps the events that a good page does not cause: errors, breaches of its policy, dialogs, requests.
func (c *chromium) note(method string, params json.RawMessage) {
	switch method {
	case "Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening":
		c.events = append(c.events, method+" "+string(params))
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if json.Unmarshal(params, &p) == nil && !strings.HasPrefix(p.Request.URL, "file:") && !strings.HasPrefix(p.Request.URL, "blob:") &&
			p.Request.URL != "about:blank" {
			c.events = append(c.events, "request for "+p.Request.URL)
		}
	}
}

// open loads a page from its file, and waits until it shows its data.
func (c *chromium) open(path, fragment string) {
	c.t.Helper()
	c.do("Page.navigate", map[string]any{"url": "about:blank"})
	c.do("Page.navigate", map[string]any{"url": "file://" + path + fragment})
	c.eval(`new Promise((done) => {
		const look = () => window.ptdump || document.getElementById("broken")?.hidden === false ? done(true) : setTimeout(look, 20);
		look();
	})`)
}

// eval returns the value of an expression in the page. Promises are awaited.
func (c *chromium) eval(expression string) any {
	c.t.Helper()
	r := c.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if e := r["exceptionDetails"]; e != nil {
		c.t.Fatalf("%s: %v", expression, e)
	}
	result, _ := r["result"].(map[string]any)
	return result["value"]
}

// text is eval of something that becomes a string.
func (c *chromium) text(expression string) string {
	c.t.Helper()
	return fmt.Sprint(c.eval("Promise.resolve(" + expression + ").then(String)"))
}

// press presses keys, by their names in the DOM.
func (c *chromium) press(keys ...string) {
	c.t.Helper()
	codes := map[string]int{"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35}
	for _, key := range keys {
		params := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": codes[key]}
		if len(key) == 1 {
			params["text"] = key
		} else if key == "Enter" {
			params["text"] = "\r"
		}
		c.do("Input.dispatchKeyEvent", params)
		c.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": codes[key]})
	}
}

func (c *chromium) size(width, height int) {
	c.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
}

func (c *chromium) media(kind, scheme string) {
	c.do("Emulation.setEmulatedMedia", map[string]any{"media": kind, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// shot writes a picture of the page into the folder that PTEMU_SHOTS names, if it does.
func (c *chromium) shot(name string) {
	c.t.Helper()
	dir := os.Getenv("PTEMU_SHOTS")
	if dir == "" {
		return
	}
	data, err := base64.StdEncoding.DecodeString(c.do("Page.captureScreenshot", nil)["data"].(string))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o666)
	}
	if err != nil {
		c.t.Error(err)
	}
}

// quiet fails the test if anything went wrong in the page.
func (c *chromium) quiet() {
	c.t.Helper()
	for _, e := range c.events {
		c.t.Errorf("in the page: %s", e)
	}
	c.events = nil
}
