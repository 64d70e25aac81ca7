package docker_test

import (
	"strings"
	"testing"
)

// TestK3dAsFarAsTheImagePull: the node's image comes from a registry, which the test cannot reach. What k3d had made until then it takes away again.
func TestK3dAsFarAsTheImagePull(t *testing.T) {
	d := newDaemon(t)
	d.env = append(d.env, "SANDBOX=k3d")
	run(t, append(d.env, "CGO_ENABLED=0"), ".", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X github.com/k3d-io/k3d/v5/version.Version=v5.8.3",
		"-o", "../../.lab/bin/k3d", "github.com/k3d-io/k3d/v5")
	before := d.traces(t)
	said, err := d.try(".lab/bin/k8s-sandbox", "up")
	t.Log(said)
	if err == nil || !strings.Contains(said, "rancher/k3s:") || !strings.Contains(strings.ToLower(said), "pull") {
		t.Errorf("want it to end where it pulls K3s' image (got %v)\n%s", err, said)
	}
	d.run(t, ".lab/bin/k8s-sandbox", "down")
	compare(t, before, d.traces(t))
}
