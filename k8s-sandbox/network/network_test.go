package network_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/network"
)

// The test runs itself in a network of its own, which goes with it: the machine's is not touched.
func TestDownTakesTheTableAwayThereOrNot(t *testing.T) {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	outside := os.Getenv("OUTSIDE")
	if outside == "" {
		// Sysfs of its own too: it shows the interfaces of the network that it was mounted in.
		cmd := exec.Command("unshare", "--net", "--mount", "sh", "-c", `mount -t sysfs none /sys && exec "$@"`, "sh", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "OUTSIDE="+here)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if here == outside {
		t.Fatal("not in a network of its own")
	}
	l := layout.Layout{Run: t.TempDir()}
	ctx := context.Background()
	down := func() {
		t.Helper()
		if err := network.Down(ctx, l); err != nil {
			t.Error(err)
		}
		if network.Exists(ctx) {
			t.Error("it is still there")
		}
	}
	down() // nothing is there
	if out, err := exec.Command("nft", "add", "table", "ip", layout.NFTable).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	interrupted, cancel := context.WithCancel(ctx)
	cancel()
	if !network.Exists(interrupted) {
		t.Error("the table is not seen by somebody who is being interrupted")
	}
	if err := network.Down(interrupted, l); err == nil {
		t.Error("an interrupted down says that it is done")
	}
	down()
	if _, err := os.Stat(filepath.Join(l.Run, "netns")); err == nil {
		t.Error("a namespace was made")
	}
}
