package manifests_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	budgets "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// built is one overlay, decoded: objects by "Kind/namespace/name", names of generated ConfigMaps without their hash.
type built map[string]any

// typed is an empty object of a kind, nil for a kind that the manifests do not hold so far: add it here with thought.
func typed(kind string) any {
	switch kind {
	case "ClusterRole":
		return &rbac.ClusterRole{}
	case "ClusterRoleBinding":
		return &rbac.ClusterRoleBinding{}
	case "ConfigMap":
		return &core.ConfigMap{}
	case "Deployment":
		return &apps.Deployment{}
	case "Job":
		return &batch.Job{}
	case "Namespace":
		return &core.Namespace{}
	case "NetworkPolicy":
		return &networking.NetworkPolicy{}
	case "PodDisruptionBudget":
		return &budgets.PodDisruptionBudget{}
	case "PersistentVolume":
		return &core.PersistentVolume{}
	case "PodMonitor":
		return &podMonitor{}
	case "Role":
		return &rbac.Role{}
	case "RoleBinding":
		return &rbac.RoleBinding{}
	case "Service":
		return &core.Service{}
	case "ServiceAccount":
		return &core.ServiceAccount{}
	case "ServiceMonitor":
		return &serviceMonitor{}
	case "StatefulSet":
		return &apps.StatefulSet{}
	case "ValidatingAdmissionPolicy":
		return &admission.ValidatingAdmissionPolicy{}
	case "ValidatingAdmissionPolicyBinding":
		return &admission.ValidatingAdmissionPolicyBinding{}
	}
	return nil
}

func build(t *testing.T, folder string) built {
	t.Helper()
	contentHash := regexp.MustCompile(`-[a-z0-9]{10}$`) // what kustomize appends to the name of a generated ConfigMap
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("build %s: %v", folder, err)
	}
	b := built{}
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatalf("write %s: %v", r.CurId(), err)
		}
		object := typed(r.GetKind())
		if object == nil {
			t.Fatalf("%s: kind %s is not one that the manifests are known to hold", folder, r.GetKind())
		}
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", r.CurId(), err)
		}
		name := r.GetName()
		if r.GetKind() == "ConfigMap" {
			name = contentHash.ReplaceAllString(name, "")
		}
		b[r.GetKind()+"/"+r.GetNamespace()+"/"+name] = object
	}
	return b
}

func get[T any](t *testing.T, b built, key string) T {
	t.Helper()
	object, ok := b[key].(T)
	if !ok {
		t.Fatalf("%s: want it in the build (got %T)", key, b[key])
	}
	return object
}

// pods are the pod templates of a build, by the name of what makes them.
func pods(b built) map[string]core.PodTemplateSpec {
	found := map[string]core.PodTemplateSpec{}
	for key, object := range b {
		switch o := object.(type) {
		case *apps.StatefulSet:
			found[key] = o.Spec.Template
		case *apps.Deployment:
			found[key] = o.Spec.Template
		}
	}
	return found
}

func overlay(name string) string { return filepath.Join("overlays", name) }

// written makes an overlay of files, in which ROOT is where the manifests are.
func written(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "ROOT", root)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// generated is the overlay that the sandbox would write on this machine, with figures that stand nowhere else.
func generated(t *testing.T, components ...string) string {
	t.Helper()
	return generatedFor(t, "local", components...)
}

// generatedFor is that of another place.
func generatedFor(t *testing.T, place string, components ...string) string {
	t.Helper()
	var first strings.Builder
	for _, c := range components {
		fmt.Fprintf(&first, "ROOT/components/%s, ", c)
	}
	return written(t, map[string]string{
		"kustomization.yaml": fmt.Sprintf(`
resources: [ROOT/overlays/%s, settings.yaml]
components: [%sROOT/components/settings]
configMapGenerator: [{name: tuner-config, namespace: kafkalab, behavior: replace, files: [tuner.yaml]}]
images: [{name: kafkalab/kafka, newName: localhost/kafkalab/kafka, newTag: abc}]
`, place, first.String()),
		"tuner.yaml": "mode: auto\n",
		"settings.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: sandbox-settings, namespace: kafkalab}
data: {cpus: 1234m, memory: 2345Mi, heapOpts: -Xms301m -Xmx302m, networkThreads: "5", ioThreads: "7", kafkaAddress: "127.0.0.1:19092",
  workload: chatty, sloP99: 77ms, stateDir: /home/me/a lab/state, statusDir: /tmp/elsewhere,
  agentModel: a-model, agentAddress: "http://198.18.0.1/v1", agentEvery: 7s, agentAnthropicKeyFile: /etc/agent/one, agentOpenAIKeyFile: /etc/agent/two, agentScenario: useless}
`,
	})
}

func env(t *testing.T, c core.Container, name string) string {
	t.Helper()
	i := slices.IndexFunc(c.Env, func(e core.EnvVar) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("container %s: want a variable %s (got none)", c.Name, name)
	}
	return c.Env[i].Value
}
