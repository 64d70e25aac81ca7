package sandbox

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// The test runs itself as somebody who is not root: for root every socket is open.
func TestStatusTellsALabThatIsNotUpFromOneThatIsNotTheirs(t *testing.T) {
	run := os.Getenv("LAB_RUN")
	if run == "" {
		dir, err := os.MkdirTemp("/tmp", "st") // short: a socket's path may hold 107 bytes
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		l, err := net.Listen("unix", filepath.Join(dir, "supervisor.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		self := filepath.Join(dir, "test") // where anybody can run it
		data, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		for path, mode := range map[string]os.FileMode{dir: 0o755, l.Addr().String(): 0o600} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(self, data, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$")
		cmd.Dir, cmd.Env = "/", append(os.Environ(), "LAB_RUN="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, c := range []struct{ run, want string }{{run, "needs root"}, {run + "/nothing", "the sandbox is not up"}} {
		s := &Sandbox{l: layout.Layout{Run: c.run}, conf: Config{Out: io.Discard}}
		if err := s.Status(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
