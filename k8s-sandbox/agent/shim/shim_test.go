package shim_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/shim"
)

func TestWhatAnAgentMayAskFor(t *testing.T) {
	for name, c := range map[string]struct {
		args    string
		refusal string
		write   bool
	}{
		"a look":                              {"get pods -n kafka", "", false},
		"a look with the flag first":          {"-n kafka get statefulset kafka -o yaml", "", false},
		"a rollout's state":                   {"rollout status statefulset/kafka -n kafka --timeout=60s", "", false},
		"help":                                {"--help", "", false},
		"the patch":                           {"patch statefulset kafka -n kafka -p {}", "", true},
		"the patch with a slash":              {"patch sts/kafka --namespace=kafka --type=strategic -p {}", "", true},
		"the patch with a short flag":         {"patch sts/kafka -nkafka -p {}", "", true},
		"a patch of another object":           {"patch deployment exporter -n kafka -p {}", "must be statefulset/kafka", true},
		"a patch of two objects":              {"patch statefulset kafka other -n kafka -p {}", "must be statefulset/kafka", true},
		"a patch elsewhere":                   {"patch statefulset kafka -n kafkalab -p {}", "must be kafka", true},
		"a patch nowhere":                     {"patch statefulset kafka -p {}", "must be kafka", true},
		"a namespace twice":                   {"patch sts/kafka -n kafka -n kafkalab -p {}", "given twice", false},
		"a patch of the scale":                {"patch sts/kafka -n kafka --subresource=scale -p {}", "an agent is who it is", false},
		"a deletion":                          {"delete pod kafka-0 -n kafka", "delete: must be patch", true},
		"a command in the pod":                {"exec kafka-0 -n kafka -- rm -rf /", "exec: must be patch", true},
		"scaling":                             {"scale sts/kafka --replicas=0 -n kafka", "scale: must be patch", true},
		"a restart":                           {"rollout restart sts/kafka -n kafka", "rollout: must be patch", true},
		"somebody else's name":                {"get pods --as=admin", "--as: an agent is who it is", false},
		"another file of rights":              {"get pods --kubeconfig /elsewhere/config", "--kubeconfig: an agent", false},
		"a patch under the name of the tuner": {"patch sts/kafka -n kafka --field-manager=kafkalab-tuner -p {}", "--field-manager: an agent", false},
		"a flag without its value":            {"get pods -n", "-n: needs a value", false},
	} {
		t.Run(name, func(t *testing.T) {
			refusal, write := shim.Check(strings.Fields(c.args))
			if (refusal == "") != (c.refusal == "") || !strings.Contains(refusal, c.refusal) || write != c.write {
				t.Errorf("got %q, write %v, want %q, %v", refusal, write, c.refusal, c.write)
			}
		})
	}
}

// call runs one call with a stand-in for kubectl and returns what came of it and its line in the log.
func call(t *testing.T, kubectl string, args ...string) (exit int, out, errs string, logged shim.Call) {
	t.Helper()
	return callWithin(t, 30*time.Second, kubectl, args...)
}

func callWithin(t *testing.T, limit time.Duration, kubectl string, args ...string) (exit int, out, errs string, logged shim.Call) {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "kubectl-real")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+kubectl+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	log := filepath.Join(folder, "calls.jsonl")
	exit = shim.Run(t.Context(), shim.Config{
		Kubectl: program, Log: log, Timeout: limit, Secret: func(v string) bool { return v == "SOME_API_KEY" },
		In: strings.NewReader("from stdin"), Out: &stdout, Err: &stderr,
	}, args)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &logged); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return exit, stdout.String(), stderr.String(), logged
}

func TestEveryCallIsWrittenDown(t *testing.T) {
	t.Setenv("SOME_API_KEY", "canary")
	t.Run("one that goes through, without the key, under the agent's name", func(t *testing.T) {
		exit, out, _, logged := call(t, `echo "$@ key=$SOME_API_KEY"; cat`, "patch", "sts/kafka", "-n", "kafka", "-p", "{}")
		if exit != 0 || out != "patch sts/kafka -n kafka -p {} --field-manager=vibectl key=\nfrom stdin" {
			t.Errorf("got %d and %q", exit, out)
		}
		if !logged.Write || logged.Exit != 0 || len(logged.Args) != 6 || logged.Time.IsZero() {
			t.Errorf("logged %+v", logged)
		}
	})
	t.Run("one that the server refuses", func(t *testing.T) {
		exit, _, errs, logged := call(t, `echo "Error from server (Forbidden): no" >&2; exit 3`, "get", "secrets")
		if exit != 3 || logged.Exit != 3 || !strings.Contains(errs, "Forbidden") || logged.Error != "Error from server (Forbidden): no" {
			t.Errorf("got %d, %q, logged %+v", exit, errs, logged)
		}
	})
	t.Run("one that is refused here", func(t *testing.T) {
		exit, out, errs, logged := call(t, `echo called`, "delete", "pod", "kafka-0")
		if exit == 0 || out != "" || !strings.Contains(errs, "delete: must be") || logged.Refused == "" {
			t.Errorf("got %d, %q, %q, logged %+v", exit, out, errs, logged)
		}
	})
	t.Run("one that hangs", func(t *testing.T) {
		exit, _, _, logged := callWithin(t, 2*time.Second, `exec sleep 60`, "get", "pods")
		if exit == 0 || logged.Error != "no answer within 2s" {
			t.Errorf("got %d, logged %+v", exit, logged)
		}
	})
}
