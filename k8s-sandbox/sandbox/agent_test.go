package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// from is an environment of these variables.
func from(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return all[name] }
}

func TestAnAgentThatCannotBeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"another agent":          {[]string{"AGENT", "gpt"}, `AGENT: want vibectl or scripted (got "gpt")`},
		"a tuner that acts too":  {[]string{"AGENT", "scripted", "TUNER_MODE", "auto"}, `TUNER_MODE: want observe, or nothing`},
		"another scenario":       {[]string{"AGENT", "scripted", "AGENT_SCENARIO", "mad"}, `AGENT_SCENARIO: want one of broken, harmful, sensible, useless (got "mad")`},
		"no time between turns":  {[]string{"AGENT", "scripted", "AGENT_EVERY", "0s"}, "AGENT_EVERY: want a duration of 1s or more"},
		"two words for a model":  {[]string{"AGENT", "vibectl", "AGENT_MODEL", "a b"}, `AGENT_MODEL: want a model's name (got "a b")`},
		"an address of no API":   {[]string{"AGENT", "vibectl", "AGENT_ADDRESS", "ftp://model"}, "AGENT_ADDRESS: want the address of an OpenAI-compatible API"},
		"a key in the address":   {[]string{"AGENT", "vibectl", "AGENT_ADDRESS", "http://me:canary@model/v1"}, "with nothing secret in it"},
		"an address and no name": {[]string{"AGENT", "vibectl", "AGENT_ADDRESS", "http://model/v1"}, "AGENT_MODEL: want the name of a model at AGENT_ADDRESS"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := agentOf(from(c.env...))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
}

func TestAModelIsAskedByTheWayThatItsKeyOpens(t *testing.T) {
	for name, c := range map[string]struct {
		env                       []string
		model, key, header, to    string
		address, anthropic, openA string
	}{
		"Anthropic's": {
			[]string{"ANTHROPIC_API_KEY", "canary"}, "claude-sonnet-5", "canary", "X-Api-Key", "https://api.anthropic.com/v1/messages",
			"http://198.19.255.1:18098", tokenFile, "",
		},
		"Anthropic's where both keys are there": {
			[]string{"ANTHROPIC_API_KEY", "canary", "OPENAI_API_KEY", "other"}, "claude-sonnet-5", "canary", "X-Api-Key", "https://api.anthropic.com/v1/messages",
			"http://198.19.255.1:18098", tokenFile, "",
		},
		"OpenAI's by its model": {
			[]string{"ANTHROPIC_API_KEY", "other", "OPENAI_API_KEY", "canary", "AGENT_MODEL", "gpt-9"}, "gpt-9", "canary", "Authorization",
			"https://api.openai.com/v1/chat/completions", "http://198.19.255.1:18098/v1", "", tokenFile,
		},
		"OpenAI's by its key": {
			[]string{"OPENAI_API_KEY", "canary"}, "gpt-4.1", "canary", "Authorization", "https://api.openai.com/v1/chat/completions",
			"http://198.19.255.1:18098/v1", "", tokenFile,
		},
		"one at an address, with a key": {
			[]string{"OPENAI_API_KEY", "canary", "AGENT_ADDRESS", "http://127.0.0.1:1/api/v1/", "AGENT_MODEL", "m"}, "m", "canary", "Authorization",
			"http://127.0.0.1:1/api/v1/chat/completions", "http://198.19.255.1:18098/v1", "", tokenFile,
		},
		"one at an address, without a key": {
			[]string{"AGENT_ADDRESS", "http://127.0.0.1:1/v1", "AGENT_MODEL", "claude-like"}, "claude-like", "", "Authorization",
			"http://127.0.0.1:1/v1/chat/completions", "http://198.19.255.1:18098/v1", "", tokenFile,
		},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := from(append(c.env, "AGENT", "vibectl")...)
			a, err := agentOf(getenv)
			if err == nil {
				err = a.findKey(getenv)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, to, header := a.upstream()
			if a.model != c.model || a.key != c.key || to != c.to || header != c.header {
				t.Errorf("got model %q, key %q, to %q with it in %s", a.model, a.key, to, header)
			}
			s := a.settings()
			if s["agentAddress"] != c.address || s["agentAnthropicKeyFile"] != c.anthropic || s["agentOpenAIKeyFile"] != c.openA || s["agentModel"] != c.model {
				t.Errorf("the pod is told %v", s)
			}
			for k, v := range s {
				if strings.Contains(v, "canary") {
					t.Errorf("%s holds the key", k)
				}
			}
		})
	}
}

func TestWithoutAKeyItIsSaidHowToSetOne(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"no key":             {nil, "export ANTHROPIC_API_KEY=… or OPENAI_API_KEY=…, or the same with _FILE"},
		"another's key":      {[]string{"AGENT_MODEL", "claude-sonnet-5", "OPENAI_API_KEY", "k"}, "no key for claude-sonnet-5: export ANTHROPIC_API_KEY=…"},
		"a file that is not": {[]string{"OPENAI_API_KEY_FILE", "/nowhere/key"}, "OPENAI_API_KEY_FILE: open /nowhere/key"},
		"an empty file":      {[]string{"OPENAI_API_KEY_FILE", empty}, "is empty"},
		"two keys in one":    {[]string{"OPENAI_API_KEY", "canary canary"}, "OPENAI_API_KEY: want a key, which is one word"},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := from(append(c.env, "AGENT", "vibectl")...)
			a, err := agentOf(getenv)
			if err != nil {
				t.Fatal(err)
			}
			if err = a.findKey(getenv); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("want %q, got %v", c.want, err)
			}
		})
	}
	t.Run("a file with one", func(t *testing.T) {
		if err := os.WriteFile(empty, []byte("canary\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		getenv := from("AGENT", "vibectl", "ANTHROPIC_API_KEY_FILE", empty)
		a, err := agentOf(getenv)
		if err == nil {
			err = a.findKey(getenv)
		}
		if err != nil || a.key != "canary" || a.variable != anthropicKey {
			t.Errorf("got %+v, %v", a, err)
		}
	})
	for _, kind := range []string{"", "scripted"} {
		a, err := agentOf(from("AGENT", kind))
		if err != nil || a.findKey(from()) != nil {
			t.Errorf("AGENT=%s wants a key: %v", kind, err)
		}
	}
}

func TestTheTunerObservesAnAgentAndTakesHarmBack(t *testing.T) {
	for file, want := range map[string]string{
		"version: 1\nmode: auto # why\nknobs: []\n":                "version: 1\nmode: observe\nrevert: true\nknobs: []\n",
		"version: 1\nmode: auto\nrevert: false\nknobs: []\n":       "version: 1\nmode: observe\nrevert: false\nknobs: []\n",
		"version: 1\n# revert: is not said\nmode: approve\nx: y\n": "version: 1\n# revert: is not said\nmode: observe\nrevert: true\nx: y\n",
	} {
		if got := string(observing([]byte(file))); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

func TestNothingThatIsStartedInheritsTheKeys(t *testing.T) {
	for _, v := range []string{"ANTHROPIC_API_KEY", "OPENAI_API_KEY"} {
		t.Setenv(v, "canary")
	}
	hideKeys()
	if out, err := exec.Command("env").Output(); err != nil || strings.Contains(string(out), "canary") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

// In mounts of its own, which go with it.
func TestTheStatusFilesAreInMemory(t *testing.T) {
	if os.Getenv("OWN_MOUNTS") == "" {
		cmd := exec.Command("unshare", "--mount", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "OWN_MOUNTS=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := &Sandbox{l: layout.Layout{Lab: t.TempDir(), Run: t.TempDir(), Status: filepath.Join(t.TempDir(), "sta tus")}}
	if err := os.Mkdir(s.l.Status, 0o755); err != nil {
		t.Fatal(err)
	}
	inMemory := func() bool {
		var fs unix.Statfs_t
		if err := unix.Statfs(s.l.Status, &fs); err != nil {
			t.Fatal(err)
		}
		return fs.Type == unix.TMPFS_MAGIC
	}
	for range 2 { // the second time it is there
		if err := s.mountStatus(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(s.l.Status)
	if err != nil || !inMemory() || info.Sys().(*syscall.Stat_t).Uid != podUser || info.Mode().Perm() != 0o755 {
		t.Fatalf("want memory that belongs to the pods' user: %+v, %v", info, err)
	}
	if err := s.unmount(); err != nil || inMemory() {
		t.Fatalf("one unmount leaves it: %v", err)
	}
	if err := unix.Mount("theirs", s.l.Status, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.mountStatus(), s.unmount()); err != nil || !inMemory() {
		t.Errorf("somebody else's mount is gone: %v", err)
	}
	if err := unix.Unmount(s.l.Status, 0); err != nil {
		t.Fatal(err)
	}
}
