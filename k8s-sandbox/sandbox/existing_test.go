package sandbox_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/kafkalab/kafkalab/k8s-sandbox/sandbox"
)

// cluster is a checkout whose kubectl notes what it is asked and answers as told.
type cluster struct {
	sandbox.Existing
	t   *testing.T
	out bytes.Buffer
}

func newCluster(t *testing.T, answers map[string]string) *cluster {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$*\" >>" + dir + "/asked\ncase \"$*\" in\n"
	for asked, answer := range answers {
		script += "*'" + asked + "'*) cat <<'END'\n" + answer + "\nEND\n;;\n"
	}
	if err := os.MkdirAll(filepath.Join(dir, ".lab", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".lab", "bin", "kube"), []byte(script+"esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, filepath.Join(dir, "k8s-sandbox")); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t}
	c.Existing = sandbox.Existing{Checkout: dir, Getenv: env(map[string]string{"IMAGE_PREFIX": "registry.example.com/lab"}), Out: &c.out}
	return c
}

func (c *cluster) asked(what string) bool {
	data, err := os.ReadFile(filepath.Join(c.Checkout, "asked"))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Contains(string(data), "kubectl "+what)
}

const (
	liveKafka = `{"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[
{"name":"KAFKA_NUM_IO_THREADS","value":"8"},{"name":"KAFKA_HEAP_OPTS","value":"-Xms1024m -Xmx1024m"},{"name":"CLUSTER_ID","value":"other"}]}]}}}}`
	oursToo = "kafkalab kafkalab"
)

func TestSomebodyElsesNamespaceIsNotTouched(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"theirs is kafka":                  {"get namespace kafka ": "kafka "},
		"theirs is kafkalab":               {"get namespace kafkalab ": "kafkalab ", "get namespace kafka ": "kafka kafkalab"},
		"theirs is part of something else": {"get namespace kafka ": "kafka strimzi-main"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, act := range map[string]func(*cluster) error{
				"up":   func(c *cluster) error { return c.Up(context.Background()) },
				"down": func(c *cluster) error { return c.Down(context.Background()) },
			} {
				c := newCluster(t, answers)
				err := act(c)
				if err == nil || !strings.Contains(err.Error(), "is somebody else's") || !strings.Contains(err.Error(), "overlays/watch") {
					t.Errorf("%s: got %v; want a refusal that says what to do", what, err)
				}
				if c.asked("apply") || c.asked("delete") {
					t.Errorf("%s: done all the same", what)
				}
			}
		})
	}
}

func TestANewClusterGetsTheLab(t *testing.T) {
	c := newCluster(t, nil)
	if err := c.Up(context.Background()); err != nil || !c.asked("apply --server-side") {
		t.Errorf("got %v, applied %t", err, c.asked("apply --server-side"))
	}
}

// To apply another value than the one that the tuner or an agent owns by now would be a conflict, and would take their change back.
func TestKnobsThatWereChangedInTheClusterAreKept(t *testing.T) {
	c := newCluster(t, map[string]string{"get namespace kafka ": "kafka kafkalab", "get namespace kafkalab ": oursToo, "get statefulset kafka": liveKafka})
	if err := c.Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(c.Checkout, ".lab", "kustomize-existing"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range built.Resources() {
		if r.GetKind() != "StatefulSet" || r.GetName() != "kafka" {
			continue
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		var set apps.StatefulSet
		if err := yaml.Unmarshal(text, &set); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range set.Spec.Template.Spec.Containers[0].Env {
			got[e.Name] = e.Value
		}
		for name, want := range map[string]string{"KAFKA_NUM_IO_THREADS": "8", "KAFKA_HEAP_OPTS": "-Xms1024m -Xmx1024m",
			"KAFKA_NUM_NETWORK_THREADS": "1", "CLUSTER_ID": "kafkalab0000000000000w"} {
			if got[name] != want {
				t.Errorf("%s: got %q, want %q", name, got[name], want)
			}
		}
		if image := set.Spec.Template.Spec.Containers[0].Image; image != "registry.example.com/lab/kafka:latest" {
			t.Errorf("image: %s", image)
		}
		// What down must tell from others' things.
		if l := set.Spec.VolumeClaimTemplates[0].Labels["app.kubernetes.io/part-of"]; l != "kafkalab" {
			t.Errorf("the volume's claim: part of %q", l)
		}
		return
	}
	t.Error("no StatefulSet kafka")
}

func TestDownOfAClusterRemovesTheLabAndNothingElse(t *testing.T) {
	ours := map[string]string{"get namespace kafka ": "kafka kafkalab", "get namespace kafkalab ": oursToo}
	c := newCluster(t, ours)
	if err := c.Down(context.Background()); err != nil || !c.asked("delete --ignore-not-found -k "+c.Checkout) {
		t.Errorf("got %v, deleted %t", err, c.asked("delete"))
	}
	ours["get all,persistentvolumeclaims -n kafka -l app.kubernetes.io/part-of!=kafkalab"] = "pod/theirs-0"
	c = newCluster(t, ours)
	if err := c.Down(context.Background()); err == nil || !strings.Contains(err.Error(), "namespace kafka holds what is not the lab's") || c.asked("delete") {
		t.Errorf("got %v, deleted %t; want a refusal that names what is there", err, c.asked("delete"))
	}
}
