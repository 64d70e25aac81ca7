package sandbox

import (
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestTheTunersFileKnowsEveryBroker: the rest of it stays as it is, to the letter.
func TestTheTunersFileKnowsEveryBroker(t *testing.T) {
	lab, err := os.ReadFile("../../lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := withBrokers(lab, 3)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Target struct {
			JVM []string `yaml:"jvm_metrics"`
		}
		Windows struct{ Rollout string }
	}
	if err := yaml.Unmarshal(got, &file); err != nil {
		t.Fatal(err)
	}
	want := make([]string, 3)
	for n, name := range []string{"kafka-0", "kafka-1", "kafka-2"} {
		want[n] = "http://" + name + ".kafka-headless.kafka.svc.cluster.local:9404/metrics"
	}
	if strings.Join(file.Target.JVM, " ") != strings.Join(want, " ") || file.Windows.Rollout != "9m0s" {
		t.Errorf("got %+v", file)
	}
	before, after := strings.Split(string(lab), "\n"), strings.Split(string(got), "\n")
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	if len(before) != len(after) || changed != 2 {
		t.Errorf("want two lines changed and no more (got %d)", changed)
	}
	if same, err := withBrokers(lab, 1); err != nil || string(same) != string(lab) {
		t.Errorf("want the file as it is for one broker (got %v)", err)
	}
	if _, err := withBrokers([]byte("version: 1\n"), 3); err == nil || !strings.Contains(err.Error(), "target.jvm_metrics and windows.rollout") {
		t.Errorf("want a file refused in which nothing is found (got %v)", err)
	}
}
