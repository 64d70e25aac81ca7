package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// variables that the loop hands on to vibectl; every other one stays here.
var handedOn = []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "LANG", "TZ", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

// KeyVariables are where the libraries below vibectl look for a key. Vibectl's own variables for it do not reach them.
func KeyVariables() []string { return []string{"ANTHROPIC_API_KEY", "OPENAI_API_KEY"} }

// Secret says whether a variable holds a key.
func Secret(variable string) bool { return strings.HasSuffix(variable, "_API_KEY") }

// environment is what vibectl gets. A key is in no argument, because those can be read by everybody.
func (l *Loop) environment() (out []string) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); slices.Contains(handedOn, name) {
			out = append(out, v)
		}
	}
	vibectl, llm := l.folders()
	out = append(out,
		"PATH="+l.tools(), "HOME="+l.c.Home, "VIBECTL_CONFIG_DIR="+vibectl, "LLM_USER_PATH="+llm, "NO_COLOR=1", "TERM=dumb", "COLUMNS=400",
		"PYTHONDONTWRITEBYTECODE=1", "TMPDIR="+l.c.Home, "AGENT_CALLS="+l.calls(), "AGENT_KUBECTL="+l.c.Kubectl)
	keys := maps.Clone(l.c.Keys)
	switch {
	case l.c.anthropic():
		out = append(out, "ANTHROPIC_BASE_URL="+l.c.Address)
	case l.c.Address != "" && keys["OPENAI_API_KEY"] == "":
		keys = map[string]string{"OPENAI_API_KEY": "none"} // for a server that wants no key; vibectl wants one
	}
	for name, key := range keys {
		out = append(out, name+"="+key, "VIBECTL_"+name+"="+key) // the first is for the library that asks, the second for vibectl's own checks
	}
	return out
}

func (l *Loop) secrets() (out []string) {
	for _, key := range l.c.Keys {
		if key != "" {
			out = append(out, key)
		}
	}
	return out
}

// ours marks a model at an address of its own as one that vibectl takes for OpenAI's. From a model whose maker it does not know it hides the key.
const ours = "gpt-at-address-"

// anthropic says whether the address speaks Anthropic's language: that is so when the key for it is one of Anthropic's.
func (c Config) anthropic() bool { return c.Address != "" && c.Keys["ANTHROPIC_API_KEY"] != "" }

// compatible says whether the address speaks OpenAI's.
func (c Config) compatible() bool { return c.Address != "" && !c.anthropic() }

// model is the name by which vibectl asks.
func (l *Loop) model() string {
	if l.c.compatible() {
		return ours + l.c.Model
	}
	return l.c.Model
}

// check refuses a model that vibectl would find no key for.
func (c Config) check() error {
	switch {
	case c.anthropic() && !strings.Contains(c.Model, "claude-"):
		return fmt.Errorf("model %q: must have claude- in its name where the key is one of Anthropic's", c.Model)
	case c.Address == "" && !strings.HasPrefix(c.Model, "gpt-") && !strings.Contains(c.Model, "claude-"):
		return fmt.Errorf("model %q: must begin with gpt- or have claude- in its name, or have an address", c.Model)
	}
	return nil
}

// configure writes the settings of vibectl and of llm, which it asks models by.
func (l *Loop) configure() error {
	vibectl, llm := l.folders()
	files := map[string]any{
		filepath.Join(vibectl, "client", "config.yaml"): map[string]any{
			"llm":     map[string]any{"model": l.model()},
			"display": map[string]any{"show_streaming": false, "show_vibe": false},
			"memory":  map[string]any{"enabled": true, "max_chars": 1000},
		},
	}
	if l.c.compatible() {
		files[filepath.Join(llm, "extra-openai-models.yaml")] = []any{map[string]any{
			"model_id": l.model(), "model_name": l.c.Model, "api_base": l.c.Address, "api_key_name": "openai",
			"supports_schema": true, // the planner asks for an answer by a schema
		}}
	}
	for _, folder := range []string{llm, l.tools()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	// By this name the program is the kubectl that writes down and refuses.
	link := filepath.Join(l.tools(), "kubectl")
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old kubectl: %w", err)
	}
	if err := os.Symlink(self, link); err != nil {
		return fmt.Errorf("place kubectl: %w", err)
	}
	for file, content := range files {
		text, err := yaml.Marshal(content)
		if err != nil {
			return fmt.Errorf("encode %s: %w", file, err)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
	}
	return nil
}
