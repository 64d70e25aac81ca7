package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/internal/cli"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		code   int
		done   bool
		stdout string
		stderr string
	}{
		"flags that are known":      {args: []string{"--size=3"}},
		"an unknown flag":           {args: []string{"--sise=3"}, code: 2, done: true, stderr: "unknown long flag '--sise'"},
		"a value of the wrong type": {args: []string{"--size=big"}, code: 2, done: true, stderr: "big"},
		"a log level there is not":  {args: []string{"--log.level=loud"}, code: 2, done: true, stderr: "loud"},
		"help":                      {args: []string{"--help"}, done: true, stdout: "how big"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			app := cli.New("prog", "does things", &stdout, &stderr)
			app.Flag("size", "how big").Int()
			_, log, code, done := app.Parse(c.args)
			if code != c.code || done != c.done || (log == nil) != done {
				t.Errorf("got code %d, done %v, logger %v", code, done, log)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}
