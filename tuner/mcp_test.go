package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/status"
)

// asTuner makes this test's program the tuner, with the arguments that it was given.
const asTuner = "TUNER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asTuner) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestAnAgentsClientStartsIt: as clients do, with nothing on standard output but the protocol; it ends when they hang up.
func TestAnAgentsClientStartsIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(status.Snapshot{State: status.Done, Mode: "auto"})
	}))
	defer server.Close()
	secret := write(t, "token", "a token that is long enough\n")
	var errs buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], "mcp", "--propose", "--address="+server.URL, "--token-file="+secret, "--log.level=debug")
	cmd.Env = append(os.Environ(), asTuner+"=1")
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	client := sdk.NewClient(&sdk.Implementation{Name: "bot", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &sdk.CommandTransport{Command: cmd, TerminateDuration: 30 * time.Second}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	r, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "status"})
	if err != nil || r.IsError || !strings.Contains(r.Content[0].(*sdk.TextContent).Text, `"state":"done"`) {
		t.Errorf("want the status (got %+v, %v)", r, err)
	}
	if err := session.Close(); err != nil || cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("want it to end well when the client hangs up (got %v, %v)\n%s", err, cmd.ProcessState, errs.String())
	}
	if strings.Contains(errs.String(), "long enough") {
		t.Errorf("want the token in no log (got %s)", errs.String())
	}
}

func TestMCPCommand(t *testing.T) {
	short := write(t, "short", "short")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"help":                    {[]string{"mcp", "--help"}, 0, "Let agents propose configurations"},
		"a bad address":           {[]string{"mcp", "--address=tuner"}, 1, `--address: want http://host:port or https://host:port (got "tuner")`},
		"no token there":          {[]string{"mcp", "--token-file=none"}, 1, "--token-file: read token: open none"},
		"a token that is guessed": {[]string{"mcp", "--token-file=" + short}, 1, "want at least 16 bytes (got 5)"},
		"open to all":             {[]string{"mcp", "--listen=0.0.0.0:0"}, 1, `--listen: want a loopback address, or a file with a token (got "0.0.0.0:0")`},
		"no address":              {[]string{"mcp", "--listen=127.0.0.1"}, 1, "listen on"},
		"bad TLS":                 {[]string{"mcp", "--listen=127.0.0.1:0", "--web.config.file=none.yaml"}, 1, "none.yaml"},
		"a token as a flag":       {[]string{"mcp", "--token=x"}, 2, "--token"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.want) {
				t.Errorf("want %d and %q (got %d)\n%s\n%s", c.code, c.want, code, stdout, stderr)
			}
		})
	}
}
