package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
)

// K3d is the lab on K3s in one of Docker's containers, which K3d makes: the same manifests, in place of the Kubernetes of our own.
type K3d struct{ *Sandbox }

const (
	k3dCluster = "kafkalab"
	k3dNode    = "k3d-" + k3dCluster + "-server-0"
	k3sImage   = "docker.io/rancher/k3s:v1.34.1-k3s1"
)

// NewK3d reads the settings from the environment.
func NewK3d(c Config) (K3d, error) {
	c.Where = InK3d
	box, err := New(c)
	if err != nil {
		return K3d{}, err
	}
	return K3d{box}, checkContainer(box.conf.Getenv)
}

// Check says what would make a build or a start fail, before anything is made.
func (k K3d) Check(ctx context.Context) error {
	errs := []error{daemon(ctx), checkTools()}
	if out, err := docker(ctx, "ps", "--quiet", "--filter", "name=^"+k3dNode+"$"); err == nil && len(bytes.TrimSpace(out)) == 0 {
		errs = append(errs, freePorts(k.ports, bindable, unreachable))
	}
	return errors.Join(errs...)
}

// Up makes the cluster unless it is there, and applies what has changed.
func (k K3d) Up(ctx context.Context) error {
	if err := errors.Join(k.Check(ctx), checkTunerFile(k.l, k.tunerFile())); err != nil {
		return err
	}
	cpus, memory, err := dockerRoom(ctx)
	if err != nil {
		return err
	}
	size, said, err := containerLimits(k.conf.Getenv, cpus, memory)
	if err != nil {
		return err
	}
	k.limits = size.kafka
	fmt.Fprintln(k.conf.Out, said)
	steps := progress.New(k.conf.Out, 6)
	for _, step := range []struct {
		name string
		do   func(context.Context, func(string)) error
	}{
		{"cluster", func(ctx context.Context, note func(string)) error { return k.cluster(ctx, size, note) }},
		{"kubeconfig", k.adminKubeconfig},
		{"images", k.load},
		{"manifests", k.apply},
		{"agent's kubeconfig", k.kubeconfigs},
		{"pods ready", k.waitReady},
	} {
		if err := steps.Do(step.name, func(note func(string)) error { return step.do(ctx, note) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(k.conf.Out, "ready in %s\n\n%s  %-11s %s (administrator), %s (agent)\n", steps.Elapsed(), addresses(k.ports), "kubeconfig",
		k.l.Kubeconfig(), k.l.AgentKubeconfig())
	return nil
}

// Down removes the cluster with its network and volumes, whole or not.
func (k K3d) Down(ctx context.Context) error {
	if err := daemon(ctx); err != nil {
		return err
	}
	if _, err := k.k3d(ctx, "cluster", "delete", k3dCluster); err != nil {
		return err
	}
	// Of a cluster whose node could not be made, K3d leaves these: it knows a cluster by its nodes.
	for kind, name := range map[string]string{"network": "k3d-" + k3dCluster, "volume": "k3d-" + k3dCluster + "-images"} {
		out, err := docker(ctx, kind, "ls", "--quiet", "--filter", "name=^"+name+"$")
		if err == nil && len(bytes.TrimSpace(out)) > 0 {
			_, err = docker(ctx, kind, "rm", name)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(filepath.Dir(k.file())), os.RemoveAll(k.l.Kustomize()), removeFile(k.l.Kubeconfig()), removeFile(k.l.AgentKubeconfig()))
}

// Status shows the pods, and what the tuner says.
func (k K3d) Status(ctx context.Context) error {
	pods, err := k.kubectl(ctx, "get", "pods", "-A")
	if err != nil {
		return fmt.Errorf("the lab is not up (make up SANDBOX=k3d starts it): %w", err)
	}
	fmt.Fprintf(k.conf.Out, "%s\n", pods)
	return tunerStatus(ctx, k.l, k.port("tuner"), k.conf.Out)
}

func (k K3d) file() string { return filepath.Join(k.l.Lab, "k3d", "cluster.yaml") }

// cluster makes it. K3d limits a node's memory by itself and tells its kubelet; for CPUs it has no option, but the node is a container.
func (k K3d) cluster(ctx context.Context, size containerSize, note func(string)) error {
	out, err := k.k3d(ctx, "cluster", "list", "--output", "json")
	if err != nil {
		return err
	}
	var have []struct{ Name string }
	if err := json.Unmarshal(out, &have); err != nil {
		return fmt.Errorf("read k3d's list of clusters: %w", err)
	}
	for _, c := range have {
		if c.Name == k3dCluster {
			_, err := k.k3d(ctx, "cluster", "start", k3dCluster)
			return err
		}
	}
	config, err := k3dConfig(k.ports, size)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.file()), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(k.file()), err)
	}
	if err := os.WriteFile(k.file(), config, 0o644); err != nil {
		return fmt.Errorf("write k3d's file: %w", err)
	}
	note("k3d makes it of " + k3sImage)
	if _, err := k.k3d(ctx, "cluster", "create", "--config", k.file()); err != nil {
		return err
	}
	_, err = docker(ctx, "update", fmt.Sprintf("--cpus=%g", size.cpus), k3dNode)
	return err
}

// k3dConfig is the cluster in K3d's own language: one node, whose node ports are this machine's loopback ports.
func k3dConfig(ports []layout.Port, size containerSize) ([]byte, error) {
	type object = map[string]any
	var mapped []object
	api := object{}
	for _, p := range ports {
		if p.Name == "kubernetes" {
			api = object{"hostIP": "127.0.0.1", "hostPort": fmt.Sprint(p.Host)}
			continue
		}
		mapped = append(mapped, object{"port": fmt.Sprintf("127.0.0.1:%d:%d", p.Host, p.Node), "nodeFilters": []string{"server:0:direct"}})
	}
	config, err := yaml.Marshal(object{
		"apiVersion": "k3d.io/v1alpha5", "kind": "Simple", "metadata": object{"name": k3dCluster},
		"servers": 1, "image": k3sImage, "kubeAPI": api, "ports": mapped,
		"options": object{
			"k3d":        object{"wait": true, "timeout": "300s", "disableLoadbalancer": true},
			"kubeconfig": object{"updateDefaultKubeconfig": false, "switchCurrentContext": false},
			"runtime":    object{"serversMemory": fmt.Sprintf("%dm", size.memory>>20)},
			"k3s": object{"extraArgs": []object{
				{"arg": "--disable=traefik,servicelb,metrics-server", "nodeFilters": []string{"server:0"}},
			}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode k3d's file: %w", err)
	}
	return config, nil
}

func (k K3d) adminKubeconfig(ctx context.Context, _ func(string)) error {
	data, err := k.k3d(ctx, "kubeconfig", "get", k3dCluster)
	if err != nil {
		return err
	}
	return writeSecret(k.l.Kubeconfig(), data)
}

// load gives the node the images that it does not have: straight into its containerd, without a registry.
func (k K3d) load(ctx context.Context, note func(string)) error {
	args := []string{"image", "import", "--cluster", k3dCluster, "--mode", "direct"}
	have, err := docker(ctx, "exec", k3dNode, "ctr", "--namespace", "k8s.io", "images", "ls", "-q")
	if err != nil {
		return err
	}
	before := len(args)
	for _, image := range k.images() {
		ref, err := k.ref(image)
		if err != nil {
			return err
		}
		if !strings.Contains("\n"+string(have), "\n"+ref+"\n") {
			args = append(args, filepath.Join(k.l.Images(), image+".tar"))
		}
	}
	if len(args) == before {
		return nil
	}
	note(fmt.Sprintf("importing %d", len(args)-before))
	_, err = k.k3d(ctx, args...)
	return err
}

// k3d is the one that the build made, of the version that is pinned.
func (k K3d) k3d(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, k.l.Bin("k3d"), args...)
	cmd.Env = append(os.Environ(), "LOG_COLORS=false") // it colours even what nobody sees
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("k3d %s: %w:\n%s", strings.Join(args[:2], " "), err, strings.TrimSpace(complaints.String()))
	}
	return out, nil
}
