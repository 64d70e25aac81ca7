package manifests_test

import (
	"slices"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// agentPod is the tuner's pod with an agent in it.
func agentPod(t *testing.T, components ...string) core.PodTemplateSpec {
	t.Helper()
	return get[*apps.StatefulSet](t, build(t, generated(t, components...)), "StatefulSet/kafkalab/tuner").Spec.Template
}

func container(t *testing.T, pod core.PodTemplateSpec, name string) core.Container {
	t.Helper()
	i := slices.IndexFunc(pod.Spec.Containers, func(c core.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("want a container %s (got %+v)", name, pod.Spec.Containers)
	}
	return pod.Spec.Containers[i]
}

// mounts are a container's places, and whether it can only read there.
func mounts(c core.Container) map[string]bool {
	found := map[string]bool{}
	for _, m := range c.VolumeMounts {
		found[m.Name+" at "+m.MountPath] = m.ReadOnly
	}
	return found
}

// Two people in one pod: neither container has what makes it the other.
func TestAnAgentSharesTheStatusFilesWithTheTunerAndNothingElse(t *testing.T) {
	const account, status = "account at /var/run/secrets/kubernetes.io/serviceaccount", "status at /tmp/status"
	pod := agentPod(t, "agent")
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Error("want no token in every container")
	}
	agent, tuner := mounts(container(t, pod, "agent")), mounts(container(t, pod, "tuner"))
	for place, readOnly := range map[string]bool{"agent at /etc/agent": true, "agent-home at /home/agent": false, status: true} {
		if got, ok := agent[place]; !ok || got != readOnly {
			t.Errorf("agent, %s: want it, read-only %v (got %v)", place, readOnly, agent)
		}
	}
	if len(agent) != 3 {
		t.Errorf("agent: want three places (got %v)", agent)
	}
	if readOnly, ok := tuner[status]; !ok || readOnly {
		t.Errorf("tuner: want to write the status files (got %v)", tuner)
	}
	if readOnly, ok := tuner[account]; !ok || !readOnly {
		t.Errorf("tuner: want the account's token (got %v)", tuner)
	}
	for place := range agent {
		if _, shared := tuner[place]; shared && place != status {
			t.Errorf("want %s for one of them only", place)
		}
	}
	if pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace {
		t.Error("want neither to see the other's processes")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == "agent-home" && (v.EmptyDir == nil || v.EmptyDir.Medium != core.StorageMediumMemory) {
			t.Errorf("want the agent's home in memory (got %+v)", v)
		}
	}
}

func TestAnAgentIsRestrictedAndToldWhatItNeeds(t *testing.T) {
	pod := agentPod(t, "agent", "scripted-model")
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	if r := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)); !r.Allowed {
		t.Error(r.ForbiddenDetail())
	}
	agent, model := container(t, pod, "agent"), container(t, pod, "model")
	for _, c := range []core.Container{agent, model} {
		if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem || !c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: want a read-only root file system, a memory limit, and no CPU that Kafka could have had", c.Name)
		}
	}
	for name, want := range map[string]string{
		"MODEL": "a-model", "ADDRESS": "http://198.18.0.1/v1", "EVERY": "7s",
		"ANTHROPIC_API_KEY_FILE": "/etc/agent/one", "OPENAI_API_KEY_FILE": "/etc/agent/two", "KUBECONFIG": "/etc/agent/kubeconfig",
	} {
		if got := env(t, agent, name); got != want {
			t.Errorf("%s: want %q (got %q)", name, want, got)
		}
	}
	if got := env(t, model, "SCENARIO"); got != "useless" {
		t.Errorf("want the scenario (got %q)", got)
	}
	if first := pod.Spec.Containers[0].Name; first != "tuner" {
		t.Errorf("want the tuner first, whose log and port are looked for (got %s)", first)
	}
	if n := len(agentPod(t).Spec.Containers); n != 1 {
		t.Errorf("without an agent: want the tuner alone (got %d containers)", n)
	}
}
