package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/k8s-sandbox/progress"
)

// Existing applies the same manifests to a cluster that is already there.
type Existing struct {
	Checkout string
	Getenv   func(string) string
	Out      io.Writer
}

// Up needs KUBECONFIG (or a context that kubectl finds by itself) and IMAGE_PREFIX: a registry that the cluster can pull from.
func (e Existing) Up(ctx context.Context) error {
	if err := e.check(ctx); err != nil {
		return err
	}
	dir := filepath.Join(e.Checkout, ".lab", "kustomize-existing")
	if err := e.write(dir); err != nil {
		return err
	}
	where, err := e.kubectl(ctx, "config", "current-context")
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Out, "applying to context %s", where)
	steps := progress.New(e.Out, 2)
	if err := steps.Do("manifests", func(func(string)) error {
		_, err := e.kubectl(ctx, "apply", "--server-side", "--field-manager="+fieldManager, "-k", dir)
		return err
	}); err != nil {
		return err
	}
	return steps.Do("pods ready", func(note func(string)) error {
		for _, w := range [][2]string{{"kafka", "statefulset/kafka"}, {"kafkalab", "statefulset/prometheus"}, {"kafkalab", "deployment/exporter"},
			{"kafkalab", "deployment/loadgen"}, {"kafkalab", "statefulset/tuner"}} {
			note("waiting for " + w[1])
			if _, err := e.kubectl(ctx, "rollout", "status", "-n", w[0], w[1], "--timeout="+(5*time.Minute).String()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e Existing) check(ctx context.Context) error {
	var errs []error
	if e.Getenv("IMAGE_PREFIX") == "" {
		errs = append(errs, errors.New("IMAGE_PREFIX: want the registry and folder that the cluster pulls from, such as registry.example.com/lab "+
			"(make build leaves the images in .lab/images; push them there with skopeo or docker)"))
	}
	if _, err := exec.LookPath(e.program()); err != nil {
		errs = append(errs, fmt.Errorf("kubectl is missing: install it, or run make build for one of our own"))
	} else if _, err := e.kubectl(ctx, "get", "--raw=/readyz", "--request-timeout=10s"); err != nil {
		errs = append(errs, fmt.Errorf("no cluster answers (set KUBECONFIG): %w", err))
	}
	return errors.Join(errs...)
}

// program prefers our own kubectl: its version is the manifests'.
func (e Existing) program() string {
	if own := filepath.Join(e.Checkout, ".lab", "bin", "kube"); exists(own) {
		return own
	}
	return "kubectl"
}

func (e Existing) kubectl(ctx context.Context, args ...string) (string, error) {
	program := e.program()
	if filepath.Base(program) == "kube" {
		args = append([]string{"kubectl"}, args...)
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// write makes the overlay that names the registry; the rest is overlays/existing as an SRE would apply it.
func (e Existing) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make overlay: %w", err)
	}
	tag := e.Getenv("IMAGE_TAG")
	if tag == "" {
		tag = "latest"
	}
	var all []map[string]string
	for _, name := range []string{"kafka", "exporter", "loadgen", "tuner", "prometheus"} {
		all = append(all, map[string]string{"name": "kafkalab/" + name, "newName": strings.TrimSuffix(e.Getenv("IMAGE_PREFIX"), "/") + "/" + name, "newTag": tag})
	}
	data, err := yaml.Marshal(map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
		"resources": []string{"../../k8s-sandbox/manifests/overlays/existing"},
		"images":    all,
	})
	if err != nil {
		return fmt.Errorf("encode overlay: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "kustomization.yaml"), data, 0o644)
}
