//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	kafkaAddr  = "127.0.0.1:9092"
	promAddr   = "http://127.0.0.1:9090"
	tunerAddr  = "http://127.0.0.1:9500"
	statusDir  = "/tmp/status"
	labTopic   = "lab"
	cgroupName = "kafkalab"
)

// lab is the running sandbox.
type lab struct {
	checkout string
	kube     kubernetes.Interface
	config   *rest.Config
	prom     promv1.API
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the end-to-end tests need root, as make up does")
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return &lab{checkout: filepath.Dir(filepath.Dir(wd))}
}

func (l *lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.checkout, ".lab"}, parts...)...)
}

// box runs k8s-sandbox and gives what it said.
func (l *lab) box(env []string, args ...string) (string, error) {
	cmd := exec.Command(l.path("bin", "k8s-sandbox"), append(args, "--checkout="+l.checkout)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (l *lab) mustBox(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, err := l.box(env, args...)
	if err != nil {
		t.Fatalf("k8s-sandbox %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// up brings the lab up and connects to it.
func (l *lab) up(t *testing.T, env ...string) string {
	t.Helper()
	out := l.mustBox(t, env, "up")
	l.connect(t)
	return out
}

func (l *lab) connect(t *testing.T) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", l.path("kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	l.config = config
	if l.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(api.Config{Address: promAddr})
	if err != nil {
		t.Fatal(err)
	}
	l.prom = promv1.NewAPI(client)
}

// kubectl runs the real kubectl as whoever the kubeconfig names.
func (l *lab) kubectl(kubeconfig string, args ...string) (string, error) {
	cmd := exec.Command(l.path("bin", "kube"), append([]string{"kubectl", "--kubeconfig=" + l.path(kubeconfig)}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (l *lab) admin(t *testing.T, args ...string) string {
	t.Helper()
	out, err := l.kubectl("kubeconfig", args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// value asks Prometheus for one figure.
func (l *lab) value(ctx context.Context, query string) (float64, error) {
	result, _, _, err := l.prom.Query(ctx, query, time.Now())
	if err != nil {
		return 0, err
	}
	vector, ok := result.(model.Vector)
	if !ok || len(vector) != 1 {
		return 0, fmt.Errorf("%s: want one sample, got %v", query, result)
	}
	return float64(vector[0].Value), nil
}

// eventually asks until the answer is nil or time runs out; the last answer is the failure.
func eventually(t *testing.T, limit time.Duration, what string, ask func() error) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		if last = ask(); last == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, last)
		}
	}
}

// healthy is true once every pod is ready and load flows end to end.
func (l *lab) healthy(ctx context.Context) error {
	out, err := l.kubectl("kubeconfig", "get", "pods", "-A", "-o", "json")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	var pods struct {
		Items []struct {
			Metadata struct{ Name, Namespace string }
			Status   struct {
				Phase      string
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		return err
	}
	if len(pods.Items) < 6 {
		return fmt.Errorf("only %d pods", len(pods.Items))
	}
	for _, p := range pods.Items {
		ready := false
		for _, c := range p.Status.Conditions {
			ready = ready || c.Type == "Ready" && c.Status == "True"
		}
		if !ready {
			return fmt.Errorf("pod %s/%s is not ready (%s)", p.Metadata.Namespace, p.Metadata.Name, p.Status.Phase)
		}
	}
	rate, err := l.value(ctx, `sum(rate(loadgen_records_consumed_total[10s]))`)
	if err != nil {
		return err
	}
	if !(rate > 0) {
		return fmt.Errorf("consumed rate is %v", rate)
	}
	return nil
}

func (l *lab) mustBeHealthy(t *testing.T, limit time.Duration) {
	t.Helper()
	eventually(t, limit, "healthy", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return l.healthy(ctx)
	})
}

// processes of the sandbox by a test on their command line.
func (l *lab) processes(match func(argv []string) bool) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || len(data) == 0 {
			continue
		}
		groups, err := os.ReadFile(filepath.Join(filepath.Dir(f), "cgroup"))
		if err != nil || !bytes.Contains(groups, []byte("/"+cgroupName)) {
			continue
		}
		argv := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
		if match(argv) {
			var pid int
			if _, err := fmt.Sscanf(f, "/proc/%d/cmdline", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
