package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// fieldManager owns what the manifests say. The tuner and agents have names of their own.
const fieldManager = "kafkalab"

// kubectl runs the real kubectl with the administrator's kubeconfig. Its complaints become the error.
func (s *Sandbox) kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return s.kubectlReading(ctx, nil, args...)
}

// kubectlReading gives it something to read.
func (s *Sandbox) kubectlReading(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.l.Bin("kube"), append([]string{"kubectl", "--kubeconfig=" + s.l.Kubeconfig()}, args...)...)
	// A plain environment: the user's own kubectl settings are not for this cluster.
	cmd.Env = append(os.Environ(), "KUBECONFIG=", "KUBERC=off")
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.Bytes(), nil
}

func (s *Sandbox) nodeReady(ctx context.Context) error {
	out, err := s.kubectl(ctx, "get", "nodes", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
	if err != nil {
		return err
	}
	if string(out) != "True" {
		return errors.New("waiting for the node to be ready")
	}
	return nil
}

// images are the lab's that run as pods, in the order in which they are needed. K3s has a DNS and a pause image of its own.
func (s *Sandbox) images() []string {
	own, programs := []string{"pause", "coredns"}, []string{"loadgen", "exporter", "prometheus", "tuner"}
	switch s.conf.Where {
	case InContainer:
		return append(own, "kafka")
	case InK3d:
		return append([]string{"kafka"}, programs...)
	}
	all := append(append(own, "kafka"), programs...)
	if s.agent.kind != "" {
		all = append(all, "agent")
	}
	return all
}

// ref is the content-addressed name that the image build gave.
func (s *Sandbox) ref(image string) (string, error) {
	data, err := os.ReadFile(filepath.Join(s.l.Images(), image+".ref"))
	if err != nil {
		return "", fmt.Errorf("image %s has not been built (run make build): %w", image, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func (s *Sandbox) ctr(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"--address", s.l.Containerd(), "--namespace", "k8s.io"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// importImages gives containerd the images that it does not have yet.
func (s *Sandbox) importImages(ctx context.Context, note func(string)) error {
	have, err := s.ctr(ctx, "images", "ls", "-q")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range strings.Fields(have) {
		known[name] = true
	}
	for _, image := range s.images() {
		ref, err := s.ref(image)
		if err != nil {
			return err
		}
		if known[ref] {
			continue
		}
		note("importing " + ref)
		if _, err := s.ctr(ctx, "images", "import", filepath.Join(s.l.Images(), image+".tar")); err != nil {
			return err
		}
	}
	return nil
}

// apply writes the top overlay and applies it. What the tuner or an agent has set meanwhile is kept.
func (s *Sandbox) apply(ctx context.Context, note func(string)) error {
	if err := s.writeOverlay(ctx); err != nil {
		return err
	}
	// Twice at most: on a new cluster the first round makes the namespaces and policies that the rest of it needs.
	return wait(ctx, time.Minute, note, func(ctx context.Context) error {
		_, err := s.kubectl(ctx, "apply", "--server-side", "--field-manager="+fieldManager, "-k", s.l.Kustomize())
		return err
	})
}

// checkSettings refuses settings that would only be found wrong inside a pod.
func checkSettings(getenv func(string) string) error {
	var errs []error
	if w := getenv("WORKLOAD"); w != "" && strings.ContainsAny(w, " \t\n/\\\"'") {
		errs = append(errs, fmt.Errorf("WORKLOAD: want a workload's name (got %q)", w))
	}
	if m := getenv("TUNER_MODE"); m != "" && m != "observe" && m != "recommend" && m != "approve" && m != "auto" {
		errs = append(errs, fmt.Errorf("TUNER_MODE: want observe, recommend, approve or auto (got %q)", m))
	}
	return errors.Join(errs...)
}

func (s *Sandbox) setting(name, otherwise string) string {
	if v := s.conf.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (s *Sandbox) writeOverlay(ctx context.Context) error {
	dir := s.l.Kustomize()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make overlay: %w", err)
	}
	tuner, err := os.ReadFile(s.tunerFile())
	if err != nil {
		return fmt.Errorf("read the tuner's file: %w", err)
	}
	slo, err := sloOf(tuner)
	if err != nil {
		return err
	}
	tuner = withMode(tuner, s.conf.Getenv("TUNER_MODE"))
	if s.agent.kind != "" {
		tuner = observing(tuner)
	}
	if tuner, err = withBrokers(tuner, s.brokers); err != nil {
		return err
	}
	knobs, err := knobsOf(ctx, s.kubectl)
	if err != nil {
		return err
	}
	figures := map[string]string{
		"cpus": s.limits.CPUs, "memory": s.limits.Memory,
		"heapOpts": knobs["KAFKA_HEAP_OPTS"], "networkThreads": knobs["KAFKA_NUM_NETWORK_THREADS"], "ioThreads": knobs["KAFKA_NUM_IO_THREADS"],
		"kafkaAddress": fmt.Sprintf("127.0.0.1:%d", s.port("kafka")),
		"workload":     s.setting("WORKLOAD", defaultWorkload), "sloP99": slo,
		"stateDir": s.l.Data(), "statusDir": s.l.Status,
	}
	if s.agent.kind != "" {
		maps.Copy(figures, s.agent.settings())
	}
	settings := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": "sandbox-settings", "namespace": "kafkalab"},
		"data":     figures,
	}
	kustomization, err := s.kustomization()
	if err != nil {
		return err
	}
	for file, content := range map[string]any{"settings.yaml": settings, "kustomization.yaml": kustomization, "tuner.yaml": tuner} {
		data, raw := content.([]byte)
		if !raw {
			if data, err = yaml.Marshal(content); err != nil {
				return fmt.Errorf("encode %s: %w", file, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
			return fmt.Errorf("write overlay: %w", err)
		}
	}
	return nil
}

func (s *Sandbox) kustomization() (any, error) {
	type image struct {
		Name    string `yaml:"name"`
		NewName string `yaml:"newName"`
		NewTag  string `yaml:"newTag"`
	}
	var all []image
	for _, name := range s.images() {
		if name == "pause" { // the runtime's, not a manifest's
			continue
		}
		ref, err := s.ref(name)
		if err != nil {
			return nil, err
		}
		i := strings.LastIndexByte(ref, ':')
		all = append(all, image{"kafkalab/" + name, ref[:i], ref[i+1:]})
	}
	components := s.agent.components()
	if s.brokers == 3 {
		components = append(components, "three-brokers")
	}
	components = append(components, "settings")
	for i, c := range components {
		components[i] = "../../k8s-sandbox/manifests/components/" + c
	}
	return map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
		"resources":  []string{"../../k8s-sandbox/manifests/overlays/" + cmp.Or(string(s.conf.Where), "local"), "settings.yaml"},
		"components": components,
		"configMapGenerator": []map[string]any{{
			"name": "tuner-config", "namespace": "kafkalab", "behavior": "replace", "files": []string{"tuner.yaml"},
		}},
		"images": all,
	}, nil
}

// sameBrokers refuses another number of brokers than the lab was made with: replicas and the controllers' quorum are as they were made.
func (s *Sandbox) sameBrokers(ctx context.Context) error {
	if !s.running() {
		return nil
	}
	out, err := s.kubectl(ctx, "get", "statefulset", "kafka", "-n", "kafka", "--ignore-not-found", "-o", "jsonpath={.spec.replicas}")
	if err != nil {
		return nil // nothing runs that could be asked
	}
	if have := string(out); have != "" && have != strconv.Itoa(s.brokers) {
		return fmt.Errorf("BROKERS: want %s, with which this lab was made (got %d); make down first for another number", have, s.brokers)
	}
	return nil
}

// knobsOf are the three variables as they stand in the cluster that kubectl asks; on a new one, the de-tuned start.
func knobsOf(ctx context.Context, kubectl func(context.Context, ...string) ([]byte, error)) (map[string]string, error) {
	knobs := map[string]string{"KAFKA_HEAP_OPTS": "-Xms256m -Xmx256m", "KAFKA_NUM_NETWORK_THREADS": "1", "KAFKA_NUM_IO_THREADS": "2"}
	out, err := kubectl(ctx, "get", "statefulset", "kafka", "-n", "kafka", "--ignore-not-found", "-o", "json")
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return knobs, nil
	}
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name string
						Env  []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(out, &set); err != nil {
		return nil, fmt.Errorf("read statefulset kafka: %w", err)
	}
	for _, c := range set.Spec.Template.Spec.Containers {
		for _, e := range c.Env {
			if _, knob := knobs[e.Name]; knob && c.Name == "kafka" {
				knobs[e.Name] = e.Value
			}
		}
	}
	return knobs, nil
}

// kubeconfigs gives agents, and programs that are no pods, a token of their own service account each.
func (s *Sandbox) kubeconfigs(ctx context.Context, _ func(string)) error {
	if err := s.tokenKubeconfig(ctx, "agent", s.l.AgentKubeconfig()); err != nil {
		return err
	}
	if s.conf.Where != InContainer {
		return nil
	}
	for _, account := range []string{"tuner", "prometheus"} {
		file := filepath.Join(accessDir, account, "kubeconfig")
		if err := s.tokenKubeconfig(ctx, account, file); err != nil {
			return err
		}
		if err := os.Chown(file, podUser, podUser); err != nil {
			return fmt.Errorf("give %s to its reader: %w", file, err)
		}
	}
	return nil
}

// tokenKubeconfig writes the kubeconfig of a service account of namespace kafkalab. One whose token still works is kept.
func (s *Sandbox) tokenKubeconfig(ctx context.Context, account, file string) error {
	if _, err := os.Stat(file); err == nil {
		check := exec.CommandContext(ctx, s.l.Bin("kube"), "kubectl", "--kubeconfig="+file, "auth", "whoami")
		if check.Run() == nil {
			return nil
		}
	}
	token, err := s.kubectl(ctx, "create", "token", account, "--namespace=kafkalab", "--duration=720h")
	if err != nil {
		return err
	}
	return writeTokenKubeconfig(s.l.Kubeconfig(), file, account, strings.TrimSpace(string(token)))
}

// waitReady waits until each workload has rolled out and each pod is ready.
func (s *Sandbox) waitReady(ctx context.Context, note func(string)) error {
	return wait(ctx, 5*time.Minute, note, s.allReady)
}

func (s *Sandbox) allReady(ctx context.Context) error {
	out, err := s.kubectl(ctx, "get", "deployments,statefulsets", "-A", "-o", "json")
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name, Namespace string
				Generation      int64
			}
			Spec   struct{ Replicas *int64 }
			Status struct{ ReadyReplicas, UpdatedReplicas, ObservedGeneration int64 }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return fmt.Errorf("read workloads: %w", err)
	}
	var waiting []string
	for _, w := range list.Items {
		want := int64(1)
		if w.Spec.Replicas != nil {
			want = *w.Spec.Replicas
		}
		if w.Status.ReadyReplicas < want || w.Status.UpdatedReplicas < want || w.Status.ObservedGeneration < w.Metadata.Generation {
			waiting = append(waiting, w.Metadata.Namespace+"/"+w.Metadata.Name)
		}
	}
	if len(waiting) > 0 || len(list.Items) == 0 {
		sort.Strings(waiting)
		return fmt.Errorf("waiting for %s", strings.Join(waiting, ", "))
	}
	return nil
}
