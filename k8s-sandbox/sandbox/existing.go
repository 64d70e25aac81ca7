package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if err := e.Check(ctx); err != nil {
		return err
	}
	if err := e.checkNamespaces(ctx); err != nil {
		return err
	}
	dir, err := e.prepare(ctx, "applying to")
	if err != nil {
		return err
	}
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

// Down removes what Up applied, volumes included. It refuses when the namespaces hold anything else, for that would go with them.
func (e Existing) Down(ctx context.Context) error {
	if err := e.checkCluster(ctx); err != nil {
		return err
	}
	if err := e.checkNamespaces(ctx); err != nil {
		return err
	}
	if err := e.checkContents(ctx); err != nil {
		return err
	}
	dir, err := e.prepare(ctx, "removing from")
	if err != nil {
		return err
	}
	return progress.New(e.Out, 1).Do("manifests", func(func(string)) error {
		if _, err := e.kubectl(ctx, "delete", "--ignore-not-found", "-k", dir); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	})
}

// prepare writes the manifests into a folder, with the knobs as they stand in the cluster, like the embedded sandbox: others own them once they have
// changed them. It says what is done with them, and where.
func (e Existing) prepare(ctx context.Context, what string) (dir string, err error) {
	knobs, err := knobsOf(ctx, e.kubectl)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(e.Checkout, ".lab", "kustomize-existing")
	if err := e.write(dir, knobs); err != nil {
		return "", err
	}
	where, err := e.kubectl(ctx, "config", "current-context")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(e.Out, "%s context %s", what, where)
	return dir, nil
}

// Status and Logs of somebody's cluster are for their own tools.
func (e Existing) Status(context.Context) error { return errTheirs }

// Logs is as Status.
func (e Existing) Logs(context.Context, string) error { return errTheirs }

var errTheirs = errors.New("ask your cluster: kubectl get pods -n kafkalab, kubectl logs -n kafkalab tuner-0, and kubectl port-forward -n kafkalab " +
	"tuner-0 9500 for the tuner's page")

// Check says what would make Up fail before it begins.
func (e Existing) Check(ctx context.Context) error {
	var prefix error
	if e.Getenv("IMAGE_PREFIX") == "" {
		prefix = errors.New("IMAGE_PREFIX: want the registry and folder that the cluster pulls from, such as registry.example.com/lab " +
			"(make build leaves the images in .lab/images; push them there with skopeo or docker)")
	}
	return errors.Join(prefix, e.checkCluster(ctx))
}

func (e Existing) checkCluster(ctx context.Context) error {
	if _, err := exec.LookPath(e.program()); err != nil {
		return errors.New("kubectl is missing: install it, or run make build for one of our own")
	}
	if _, err := e.kubectl(ctx, "get", "--raw=/readyz", "--request-timeout=10s"); err != nil {
		return fmt.Errorf("no cluster answers (set KUBECONFIG): %w", err)
	}
	return nil
}

func namespaces() []string { return []string{"kafka", "kafkalab"} }

// checkNamespaces refuses a cluster where somebody else has a namespace of these names.
func (e Existing) checkNamespaces(ctx context.Context) error {
	var errs []error
	for _, ns := range namespaces() {
		out, err := e.kubectl(ctx, "get", "namespace", ns, "--ignore-not-found", "-o", `jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/part-of}`)
		if err != nil {
			return err
		}
		if found := strings.TrimSpace(string(out)); found != "" && found != ns+" kafkalab" {
			errs = append(errs, fmt.Errorf("namespace %s is somebody else's (it has no label app.kubernetes.io/part-of: kafkalab): the lab would "+
				"change its labels and what is in it by the same name, and drive its Kafka with load; "+
				"take a cluster without it, or only watch that Kafka: kubectl apply --server-side -k k8s-sandbox/manifests/overlays/watch (docs/your-own-cluster.md)", ns))
		}
	}
	return errors.Join(errs...)
}

// checkContents refuses namespaces in which somebody has put something of their own.
func (e Existing) checkContents(ctx context.Context) error {
	var errs []error
	for _, ns := range namespaces() {
		out, err := e.kubectl(ctx, "get", "all,persistentvolumeclaims", "-n", ns, "-l", "app.kubernetes.io/part-of!=kafkalab", "-o", "name")
		if err != nil {
			return err
		}
		if found := strings.Fields(string(out)); len(found) > 0 {
			errs = append(errs, fmt.Errorf("namespace %s holds what is not the lab's, and it would go with it: %s; move it away, or remove by hand "+
				"what is to go: kubectl delete -n %s all,configmaps -l app.kubernetes.io/part-of=kafkalab", ns, strings.Join(found, ", "), ns))
		}
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

func (e Existing) kubectl(ctx context.Context, args ...string) ([]byte, error) {
	program := e.program()
	if filepath.Base(program) == "kube" {
		args = append([]string{"kubectl"}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out, nil
}

// write makes the overlay that names the registry and the knobs; the rest is overlays/existing as an SRE would apply it.
func (e Existing) write(dir string, knobs map[string]string) error {
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
	type object = map[string]any
	var env []object
	for _, name := range slices.Sorted(maps.Keys(knobs)) {
		env = append(env, object{"name": name, "value": knobs[name]})
	}
	patch, err := yaml.Marshal(object{
		"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": object{"name": "kafka", "namespace": "kafka"},
		"spec": object{"template": object{"spec": object{"containers": []object{{"name": "kafka", "env": env}}}}},
	})
	if err != nil {
		return fmt.Errorf("encode knobs: %w", err)
	}
	data, err := yaml.Marshal(object{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
		"resources": []string{"../../k8s-sandbox/manifests/overlays/existing"},
		"patches":   []object{{"patch": string(patch)}},
		"images":    all,
	})
	if err != nil {
		return fmt.Errorf("encode overlay: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "kustomization.yaml"), data, 0o644)
}
