package kafkatest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/child"
)

const toolWithin = 90 * time.Second // a JVM's start, on a machine that compiles beside it

// Tool is one of Kafka's own command-line tools at work.
type Tool struct {
	proc *child.Process
	out  *output
}

// Tool runs one of Kafka's own tools against the node and returns what it printed. The name is that of its script, without "kafka-" and ".sh".
func (b *Broker) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	tool := b.StartTool(t, name, args...)
	select {
	case <-tool.proc.Done():
	case <-time.After(toolWithin):
		t.Fatalf("kafka-%s: not ended within %s; it printed:\n%s", name, toolWithin, tool.Output())
	}
	if err := tool.proc.Err(); err != nil {
		t.Fatalf("kafka-%s: %v; it printed:\n%s", name, err, tool.Output())
	}
	return tool.Output()
}

// StartTool lets a tool run until it ends or the test does.
func (b *Broker) StartTool(t testing.TB, name string, args ...string) *Tool {
	t.Helper()
	cmd := exec.Command(filepath.Join(b.dist, "bin", "kafka-tool"), append([]string{name, "--bootstrap-server", b.Addr}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "JAVA_HOME=" + os.Getenv("JAVA_HOME")}
	tool := &Tool{out: &output{}}
	cmd.Stdout, cmd.Stderr = tool.out, tool.out
	var err error
	if tool.proc, err = child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tool.proc.Kill)
	return tool
}

// Output is what the tool has printed until now.
func (t *Tool) Output() string { return t.out.String() }

// Pause stops the tool where it is (SIGSTOP): a consumer stays in its group, until the group misses it, and reads and commits nothing.
func (t *Tool) Pause(tb testing.TB) {
	tb.Helper()
	if err := t.proc.Signal(syscall.SIGSTOP); err != nil {
		tb.Fatal(fmt.Errorf("pause a tool of kafka: %w", err))
	}
}

// output is written by the process and read by the test.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
