package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/script"
	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// Which agent has the wheel (AGENT). Without one the tuner has it.
const (
	vibectl  = "vibectl"  // a model that was trained
	scripted = "scripted" // one that plays a scenario
)

const (
	anthropicKey = "ANTHROPIC_API_KEY"
	openAIKey    = "OPENAI_API_KEY"

	anthropicModel = "claude-sonnet-5"
	openAIModel    = "gpt-4.1"

	secretName = "agent"
	tokenFile  = "/etc/agent/token" // where the Secret's token is in the pod
)

// agent is what is asked for by AGENT and the variables that begin with it.
type agent struct {
	kind     string
	model    string
	address  *url.URL // of an OpenAI-compatible API; nil: the maker's own
	scenario string
	every    time.Duration
	variable string // that holds the key
	key      string // once it was looked for
}

// agentOf reads the settings, but for the key: only what starts an agent needs that.
func agentOf(getenv func(string) string) (agent, error) {
	a := agent{kind: getenv("AGENT"), model: getenv("AGENT_MODEL"), scenario: cmp.Or(getenv("AGENT_SCENARIO"), script.Sensible), every: time.Minute}
	if a.kind == "" {
		return a, nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if a.kind != vibectl && a.kind != scripted {
		bad("AGENT: want %s or %s (got %q)", vibectl, scripted, a.kind)
	}
	if m := getenv("TUNER_MODE"); m != "" && m != "observe" {
		bad("TUNER_MODE: want observe, or nothing, where AGENT has the wheel (got %q)", m)
	}
	if all := script.Scenarios(); all[a.scenario] == nil {
		bad("AGENT_SCENARIO: want one of %s (got %q)", strings.Join(script.Names(), ", "), a.scenario)
	}
	if v := getenv("AGENT_EVERY"); v != "" {
		var err error
		if a.every, err = time.ParseDuration(v); err != nil || a.every < time.Second {
			bad("AGENT_EVERY: want a duration of 1s or more, from the start of a turn to that of the next (got %q)", v)
		}
	}
	if strings.ContainsAny(a.model, " \t\n\"'") {
		bad("AGENT_MODEL: want a model's name (got %q)", a.model)
	}
	if v := getenv("AGENT_ADDRESS"); v != "" {
		var err error
		a.address, err = url.Parse(v)
		if err != nil || a.address.Scheme != "http" && a.address.Scheme != "https" || a.address.Host == "" || a.address.User != nil || a.address.RawQuery != "" {
			bad("AGENT_ADDRESS: want the address of an OpenAI-compatible API, such as http://127.0.0.1:11434/v1, with nothing secret in it") // not shown: it may hold a key
		} else if a.model == "" && a.kind == vibectl {
			bad("AGENT_MODEL: want the name of a model at AGENT_ADDRESS")
		}
	}
	if a.kind == scripted {
		a.model = scripted
		return a, errors.Join(errs...)
	}
	a.choose(getenv)
	return a, errors.Join(errs...)
}

// choose settles whose model it is: that of the address, or else Anthropic's if the model or the key is one of theirs.
func (a *agent) choose(getenv func(string) string) {
	has := func(variable string) bool { return getenv(variable) != "" || getenv(variable+"_FILE") != "" }
	a.variable = openAIKey
	if a.address == nil && (strings.Contains(a.model, "claude-") || a.model == "" && has(anthropicKey)) {
		a.variable, a.model = anthropicKey, cmp.Or(a.model, anthropicModel)
	}
	a.model = cmp.Or(a.model, openAIModel)
}

// findKey looks for the key and says how to set it if there is none.
func (a *agent) findKey(getenv func(string) string) error {
	if a.kind != vibectl {
		return nil
	}
	file := getenv(a.variable + "_FILE")
	a.key = getenv(a.variable)
	if a.key == "" && file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s_FILE: %w", a.variable, err)
		}
		if a.key = strings.TrimSpace(string(text)); a.key == "" {
			return fmt.Errorf("%s_FILE: %s is empty", a.variable, file)
		}
	}
	switch {
	case strings.ContainsAny(a.key, " \t\r\n"):
		return fmt.Errorf("%s: want a key, which is one word", a.variable)
	case a.key != "" || a.address != nil:
		return nil
	case a.variable == anthropicKey:
		return fmt.Errorf("AGENT=%s: no key for %s: export %[3]s=…, or %[3]s_FILE with a file's name", vibectl, a.model, anthropicKey)
	}
	return fmt.Errorf("AGENT=%[1]s: no key: export %[2]s=… or %[3]s=…, or the same with _FILE and a file's name, "+
		"or AGENT_ADDRESS and AGENT_MODEL for a model that needs none; AGENT=%[4]s shows it without a model", vibectl, anthropicKey, openAIKey, scripted)
}

// hideKeys takes the keys out of the environment: nothing that is started from here on is to inherit them.
func hideKeys() {
	for _, v := range []string{anthropicKey, openAIKey} {
		_ = os.Unsetenv(v)
	}
}

// upstream is what the relay answers, what it asks instead, and how it shows the key.
func (a agent) upstream() (path, to, header string) {
	switch {
	case a.variable == anthropicKey:
		return "/v1/messages", "https://api.anthropic.com/v1/messages", "X-Api-Key"
	case a.address != nil:
		return "/v1/chat/completions", a.address.JoinPath("chat/completions").String(), "Authorization"
	}
	return "/v1/chat/completions", "https://api.openai.com/v1/chat/completions", "Authorization"
}

// settings are what components/agent carries into the pod.
func (a agent) settings() map[string]string {
	s := map[string]string{
		"agentModel": a.model, "agentEvery": a.every.String(), "agentScenario": a.scenario,
		"agentAddress": "http://127.0.0.1:18099/v1", "agentAnthropicKeyFile": "", "agentOpenAIKeyFile": "",
	}
	if a.kind == scripted {
		return s
	}
	s["agentAddress"] = "http://" + relayAddress()
	if a.variable == anthropicKey {
		s["agentAnthropicKeyFile"] = tokenFile
	} else {
		s["agentAddress"] += "/v1"
		s["agentOpenAIKeyFile"] = tokenFile
	}
	return s
}

// components are those of manifests/components that put it into the tuner's pod.
func (a agent) components() []string {
	switch a.kind {
	case vibectl:
		return []string{"agent"}
	case scripted:
		return []string{"agent", "scripted-model"}
	}
	return nil
}

func relayAddress() string { return net.JoinHostPort(layout.HostIP, strconv.Itoa(layout.RelayPort)) }

// access gives programs outside of pods, and agents, what they need to act: the agent in a pod gets its kubeconfig as a Secret, and the way to its
// model.
func (s *Sandbox) access(ctx context.Context, note func(string)) error {
	if err := s.kubeconfigs(ctx, note); err != nil || s.conf.Where != OnMachine {
		return err
	}
	if s.agent.kind == "" {
		if _, err := s.kubectl(ctx, "delete", "secret", secretName, "--namespace=kafkalab", "--ignore-not-found"); err != nil {
			return err
		}
		return s.stopRelay(ctx, note)
	}
	token, err := s.agentSecret(ctx)
	if err != nil {
		return err
	}
	if err := s.stopRelay(ctx, note); err != nil || s.agent.kind == scripted {
		return err
	}
	return s.startRelay(ctx, note, token)
}

// agentSecret makes the Secret that is mounted in the agent's container, and returns the token in it. One that is there is kept.
func (s *Sandbox) agentSecret(ctx context.Context) (token string, err error) {
	conf, err := clientcmd.LoadFromFile(s.l.AgentKubeconfig())
	if err != nil {
		return "", fmt.Errorf("read agent's kubeconfig: %w", err)
	}
	for _, cluster := range conf.Clusters {
		cluster.Server = "https://" + layout.APIService // as pods reach it
	}
	kubeconfig, err := clientcmd.Write(*conf)
	if err != nil {
		return "", fmt.Errorf("encode agent's kubeconfig: %w", err)
	}
	if token, err = s.relayToken(ctx); err != nil {
		return "", err
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": secretName, "namespace": "kafkalab", "labels": map[string]string{"app.kubernetes.io/part-of": "kafkalab"}},
		"stringData": map[string]string{"kubeconfig": string(kubeconfig), "token": token},
	})
	if err != nil {
		return "", fmt.Errorf("encode agent's secret: %w", err)
	}
	_, err = s.kubectlReading(ctx, secret, "apply", "--server-side", "--field-manager="+fieldManager, "-f", "-")
	return token, err
}
