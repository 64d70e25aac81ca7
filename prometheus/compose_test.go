package prometheus_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads compose.yml as `docker compose` does: variables, merges, schema and consistency.
func project(t *testing.T, env ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../compose.yml"}, cli.WithEnv(env), cli.WithWorkingDirectory(".."))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeHoldsTheWholeLab(t *testing.T) {
	p := project(t)
	for _, name := range []string{"network", "k8s-sandbox", "exporter", "loadgen", "tuner", "prometheus", "grafana"} {
		if _, ok := p.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	if v := p.Volumes["status-volume"]; v.DriverOpts["type"] != "tmpfs" {
		t.Errorf("status-volume is of type %q, want tmpfs", v.DriverOpts["type"])
	}
}

func TestComposeLimitsWhatTheSandboxIsToldItHas(t *testing.T) {
	for name, c := range map[string]struct {
		env    []string
		cpus   float32
		memory int64
	}{
		"as shipped": {nil, 4, 4 << 30},
		"asked for":  {[]string{"SANDBOX_CPUS=1.5", "SANDBOX_MEMORY=2048m"}, 1.5, 2 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			s := project(t, c.env...).Services["k8s-sandbox"]
			limits := s.Deploy.Resources.Limits
			if limits.NanoCPUs.Value() != c.cpus || int64(limits.MemoryBytes) != c.memory {
				t.Errorf("limits are %v CPUs and %d bytes, want %v and %d", limits.NanoCPUs, limits.MemoryBytes, c.cpus, c.memory)
			}
			for _, v := range []string{"SANDBOX_CPUS", "SANDBOX_MEMORY"} {
				if told := s.Environment[v]; told == nil || *told == "" {
					t.Errorf("%s is not told to the sandbox", v)
				}
			}
		})
	}
}

func TestComposePublishesOnLoopbackOnly(t *testing.T) {
	published := 0
	for name, s := range project(t).Services {
		for _, port := range s.Ports {
			published++
			if a, err := netip.ParseAddr(port.HostIP); err != nil || !a.IsLoopback() {
				t.Errorf("%s: port %s is published on %q, want a loopback address", name, port.Published, port.HostIP)
			}
		}
		if s.NetworkMode == "host" || s.Privileged {
			t.Errorf("%s: network %q, privileged %t; want neither the host's network nor all rights", name, s.NetworkMode, s.Privileged)
		}
	}
	if published == 0 {
		t.Error("nothing is published")
	}
}

func TestComposeServicesArePinnedWatchedAndConfined(t *testing.T) {
	version := regexp.MustCompile(`^[^:@]+:(\d+\.\d+\.\d+|dev)$`)
	for name, s := range project(t).Services {
		if !version.MatchString(s.Image) {
			t.Errorf("%s: image %q has no exact version", name, s.Image)
		}
		// The network's container does nothing that could fail.
		if name != "network" && (s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Disable) {
			t.Errorf("%s: no health check", name)
		}
		// Engines before 25 refuse it.
		if s.HealthCheck != nil && s.HealthCheck.StartInterval != nil {
			t.Errorf("%s: health check with a start interval", name)
		}
		for other, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy && !strings.HasSuffix(s.NetworkMode, other) {
				t.Errorf("%s: waits for %s to be %q, want %q", name, other, d.Condition, types.ServiceConditionHealthy)
			}
		}
		if name == "k8s-sandbox" {
			continue
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.User == "root" || s.User == "0" || len(s.CapAdd) > 0 {
			t.Errorf("%s: read-only %t, capabilities -%v +%v, user %q; want a read-only root and no rights",
				name, s.ReadOnly, s.CapDrop, s.CapAdd, s.User)
		}
	}
}

// Kafka is bound by the container's limits only if all that it sees is below the container's own control group.
func TestComposeGivesTheSandboxAControlGroupOfItsOwn(t *testing.T) {
	s := project(t).Services["k8s-sandbox"]
	if s.Cgroup != "private" {
		t.Errorf("control group namespace: %q, want private", s.Cgroup)
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind {
			t.Errorf("%s of the machine is in the sandbox", v.Source)
		}
	}
}

// A container that restarts gets a new network; those that share one keep what they have only if none of them made it.
func TestComposeKeepsTheNetworkWhoeverRestarts(t *testing.T) {
	for name, s := range project(t).Services {
		want := "service:network"
		if name == "network" || name == "grafana" {
			want = ""
		}
		if s.NetworkMode != want {
			t.Errorf("%s: network %q, want %q", name, s.NetworkMode, want)
		}
	}
}

// What gives access to the API server is for one program each.
func TestComposeGivesEachProgramItsOwnAccess(t *testing.T) {
	for name, s := range project(t).Services {
		for _, v := range s.Volumes {
			if owner, access := strings.CutSuffix(v.Source, "-access"); access && name != "k8s-sandbox" && (name != owner || !v.ReadOnly) {
				t.Errorf("%s has %s, read-only %t", name, v.Source, v.ReadOnly)
			}
		}
	}
}

// Only the tuner may write what others are judged by.
func TestComposeLetsOnlyTheTunerWriteTheStatus(t *testing.T) {
	for name, s := range project(t).Services {
		for _, v := range s.Volumes {
			if v.Source == "status-volume" && !v.ReadOnly && name != "tuner" {
				t.Errorf("%s can write the status files", name)
			}
		}
	}
}
