package sandbox_test

import (
	"io"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/sandbox"
)

func env(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }

func TestLimitsAreNeverMoreThanTheMachineHas(t *testing.T) {
	l, err := sandbox.LimitsOf(env(map[string]string{"SANDBOX_CPUS": "256", "SANDBOX_MEMORY": "900Gi"}), 1, sandbox.Machine())
	if err != nil {
		t.Fatal(err)
	}
	if l.CPUs == "256" || l.Memory == "900Gi" || !strings.Contains(l.Said, "asked for 256 and 900Gi") {
		t.Errorf("not cut, or not said: %+v", l)
	}
}

func TestLimitsAsked(t *testing.T) {
	l, err := sandbox.LimitsOf(env(map[string]string{"SANDBOX_CPUS": "0.5", "SANDBOX_MEMORY": "1g"}), 1, sandbox.Machine())
	if err != nil || l.CPUs != "500m" || l.Memory != "1Gi" {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestBrokersShareTheLimits(t *testing.T) {
	l, err := sandbox.LimitsOf(env(map[string]string{"SANDBOX_CPUS": "0.75", "SANDBOX_MEMORY": "3Gi"}), 3, sandbox.Machine())
	if err != nil || l.CPUs != "250m" || l.Memory != "1Gi" || !strings.Contains(l.Said, "each of 3 brokers 250m and 1Gi") {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestEveryBadSettingIsNamedAtOnce(t *testing.T) {
	_, err := sandbox.New(sandbox.Config{Checkout: t.TempDir(), Out: io.Discard, Getenv: env(map[string]string{
		"SANDBOX_CPUS": "many", "SANDBOX_MEMORY": "100", "KAFKA_PORT": "-1", "TUNER_MODE": "fast", "WORKLOAD": "a b", "BROKERS": "2",
	})})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`SANDBOX_CPUS: want a number of CPUs from 0.5 to 256 (got "many")`,
		`SANDBOX_MEMORY: want an amount such as 4Gi or 2048Mi, at least 768Mi (got "100")`,
		`KAFKA_PORT: want a port`,
		`TUNER_MODE: want observe, recommend, approve or auto (got "fast")`,
		`BROKERS: want 1 or 3 (got "2")`,
		`WORKLOAD: want a workload's name (got "a b")`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestLimitsRefuseNonsense(t *testing.T) {
	for _, v := range []string{"NaN", "-1", "0", "Inf", "1e9"} {
		if _, err := sandbox.LimitsOf(env(map[string]string{"SANDBOX_CPUS": v}), 1, sandbox.Machine()); err == nil {
			t.Errorf("SANDBOX_CPUS=%s passes", v)
		}
	}
	for _, v := range []string{"NaNGi", "-4Gi", "10Mi", "4Ti", "1e99Gi"} {
		if _, err := sandbox.LimitsOf(env(map[string]string{"SANDBOX_MEMORY": v}), 1, sandbox.Machine()); err == nil {
			t.Errorf("SANDBOX_MEMORY=%s passes", v)
		}
	}
}
