package layout_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

func env(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }

func TestPortsFollowTheEnvironment(t *testing.T) {
	ports, err := layout.Ports(env(map[string]string{"KAFKA_PORT": "19092"}), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		if p.Name == "kafka" && (p.Host != 19092 || p.Node != 30092) {
			t.Errorf("kafka: %+v", p)
		}
		if p.Name == "tuner" && p.Host != 9500 {
			t.Errorf("tuner: %+v", p)
		}
	}
}

func TestEachBrokerHasTheNextPort(t *testing.T) {
	ports, err := layout.Ports(env(map[string]string{"KAFKA_PORT": "19092"}), 3)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]int{}
	for _, p := range ports {
		got[p.Name] = [2]int{p.Host, p.Node}
	}
	if len(ports) != len(layout.DefaultPorts())+2 || got["kafka-1"] != [2]int{19093, 30093} || got["kafka-2"] != [2]int{19094, 30094} {
		t.Errorf("got %v", ports)
	}
}

func TestABadPortIsNamedWithItsValue(t *testing.T) {
	for name, c := range map[string]struct {
		vars map[string]string
		want string
	}{
		"no number":          {map[string]string{"TUNER_PORT": "http"}, `TUNER_PORT: want a port from 1 to 65535 (got "http")`},
		"too large":          {map[string]string{"API_PORT": "70000"}, `API_PORT: want a port from 1 to 65535 (got "70000")`},
		"another's":          {map[string]string{"TUNER_PORT": "9090"}, "port 9090 is prometheus's already"},
		"a broker's":         {map[string]string{"TUNER_PORT": "9094"}, "port 9094 is tuner's already"},
		"zero means nothing": {map[string]string{"KAFKA_PORT": "0"}, `got "0"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := layout.Ports(env(c.vars), 3)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestALabOnAnotherDiskIsNamedAsItIsMounted(t *testing.T) {
	checkout, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := layout.New(checkout).State(), filepath.Join(checkout, ".lab", "state"); got != want {
		t.Errorf("before the build: got %s, want %s", got, want)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(checkout, "disk"), 0o755), os.Symlink("disk", filepath.Join(checkout, ".lab"))); err != nil {
		t.Fatal(err)
	}
	if got, want := layout.New(checkout).State(), filepath.Join(checkout, "disk", "state"); got != want {
		t.Errorf("with a link: got %s, want %s", got, want)
	}
}
