package docker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestComposeFromUpToDown is what somebody with Docker sees, from make up to make down. Base images come from no registry: Debian's is the one that
// the build makes, and in Grafana's place is a stand-in that says so (testdata/grafana). Everything else is as shipped.
func TestComposeFromUpToDown(t *testing.T) {
	d := newDaemon(t)
	d.env = append(d.env, "LAB_FILE="+hasty(t))
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	d.run(t, "docker", "import", "--change", `CMD ["bash"]`, filepath.Join(cache, "kafkalab", "base.tar"), "debian:bookworm-slim")
	d.standIn(t)
	before := d.traces(t)
	t.Cleanup(func() { _, _ = d.try("make", "down", "SANDBOX=compose") }) // if the test ends before it does so itself

	t.Run("Docker makes the images of pods", d.podImages)
	said := d.run(t, "make", "up")
	t.Logf("make up:\n%s", said)
	if !strings.Contains(said, "SANDBOX=compose (Docker ") || !strings.Contains(said, "ready") {
		t.Error("it did not say which sandbox and why, and that it is ready")
	}
	for _, step := range []struct {
		name string
		test func(*testing.T)
	}{
		{"every container is healthy", d.allHealthy},
		{"ports are published on loopback only", d.loopbackOnly},
		{"the limits bind Kafka and are told to the agent", d.limits},
		{"clients on the machine reach Kafka", d.kafkaAnswers},
		{"the tuner applies a change and reads it back", d.loop},
		{"orders need the token that README says how to make", d.orders},
		{"a Prometheus that hangs makes unhealthy who needs it", d.hangs("prometheus", "prometheus", "tuner", "grafana")},
		{"a component of Kubernetes that hangs makes the sandbox unhealthy", d.componentHangs},
		{"a sandbox that is killed comes back with Kafka's data, and everybody finds it", d.killed},
		{"make status", func(t *testing.T) {
			said := d.run(t, "make", "status")
			t.Log(said)
			if !strings.Contains(said, "kafka-0") || !strings.Contains(said, "SLO") || !strings.Contains(said, "healthy") {
				t.Error("pods, the SLO or containers are not in it")
			}
		}},
	} {
		if !t.Run(step.name, step.test) {
			t.Log(d.logs())
		}
	}
	d.run(t, "make", "down", "SANDBOX=compose")
	compare(t, before, d.traces(t))
	for _, file := range []string{"compose", "kubeconfig", "agent.kubeconfig"} {
		if _, err := os.Stat(filepath.Join(checkout, ".lab", file)); err == nil {
			t.Errorf(".lab/%s is left", file)
		}
	}
}

// hasty is the tuner's file as shipped, but for what keeps it from a change while the machine is busy: the test is about the loop, not about how
// good its judgement is.
func hasty(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile(checkout + "/lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	for was, is := range map[string]string{
		"  warmup: 45s": "  warmup: 10s", "  count: 8": "  count: 4", "  steady: 0.1": "  steady: 1", "    max: 0.8 #": "    max: 1 #", "    max: 2 #": "    max: 60 #",
	} {
		if strings.Count(text, was) != 1 {
			t.Fatalf("lab.yaml has not one line %q", was)
		}
		text = strings.Replace(text, was, is, 1)
	}
	hasty := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(hasty, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return hasty
}

func (d *daemon) logs() string {
	out, _ := d.try("docker", "compose", "logs", "--tail=20", "k8s-sandbox", "tuner")
	return out
}

func (d *daemon) standIn(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	run(t, append(os.Environ(), "CGO_ENABLED=0"), ".", "go", "build", "-o", filepath.Join(dir, "grafana"), "./testdata/grafana")
	// A tar of one program under two names is an image.
	if err := os.Link(filepath.Join(dir, "grafana"), filepath.Join(dir, "wget")); err != nil {
		t.Fatal(err)
	}
	run(t, nil, dir, "tar", "-cf", "image.tar", "grafana", "wget")
	image := run(t, nil, ".", "sed", "-n", `s/^ *image: *\(grafana.*\)/\1/p`, checkout+"/compose.yml")
	d.run(t, "docker", "import", "--change", `ENTRYPOINT ["/grafana"]`, "--change", "ENV PATH=/", "--change", "USER 472",
		filepath.Join(dir, "image.tar"), strings.TrimSpace(image))
}

// podImages makes them anew, in a folder of its own: those of the checkout are there already.
func (d *daemon) podImages(t *testing.T) {
	lab := t.TempDir()
	for _, folder := range []string{"bin", "kafka"} {
		run(t, nil, checkout, "cp", "-al", ".lab/"+folder, lab)
	}
	names := []string{"pause", "coredns", "kafka"}
	made := func() string {
		return d.run(t, append([]string{"env", "LAB_DIR=" + lab, "k8s-sandbox/image/build.sh", "docker-images"}, names...)...)
	}
	made()
	for _, name := range names {
		ref, err := os.ReadFile(filepath.Join(lab, "images", name+".ref"))
		if err != nil {
			t.Fatal(err)
		}
		if said := d.docker(t, "load", "--input", filepath.Join(lab, "images", name+".tar")); !strings.HasSuffix("docker.io/"+strings.TrimPrefix(said, "Loaded image: "), strings.TrimSpace(string(ref))) {
			t.Errorf("%s: the archive holds %q, want %s", name, said, ref)
		}
	}
	if said := made(); strings.Contains(said, "building") {
		t.Errorf("the second time it said\n%s", said)
	}
}

// containers are the ids by service.
func (d *daemon) containers(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(d.docker(t, "ps", "--all", "--no-trunc", "--format", `{{.Label "com.docker.compose.service"}} {{.ID}}`)) {
		if service, id, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all[service] = id
		}
	}
	return all
}

func (d *daemon) health(t *testing.T, service string) string {
	t.Helper()
	return d.docker(t, "inspect", "--format", "{{.State.Health.Status}}", d.containers(t)[service])
}

func checked() []string {
	return []string{"k8s-sandbox", "exporter", "loadgen", "tuner", "prometheus", "grafana"}
}

func (d *daemon) allHealthy(t *testing.T) {
	for _, service := range checked() {
		if h := d.health(t, service); h != "healthy" {
			t.Errorf("%s is %s", service, h)
		}
	}
}

func (d *daemon) loopbackOnly(t *testing.T) {
	published := 0
	for _, id := range d.containers(t) {
		var bound map[string][]struct{ HostIP, HostPort string }
		if err := json.Unmarshal([]byte(d.docker(t, "inspect", "--format", "{{json .NetworkSettings.Ports}}", id)), &bound); err != nil {
			t.Fatal(err)
		}
		for port, hosts := range bound {
			for _, h := range hosts {
				published++
				if a, err := netip.ParseAddr(h.HostIP); err != nil || !a.IsLoopback() {
					t.Errorf("%s is published on %q", port, h.HostIP)
				}
			}
		}
	}
	if published != len(ports()) {
		t.Errorf("%d ports are published, want %d", published, len(ports()))
	}
}

// limits follows them from the kernel's own files to what an agent reads.
func (d *daemon) limits(t *testing.T) {
	id := d.containers(t)["k8s-sandbox"]
	var want struct{ NanoCpus, Memory int64 }
	if err := json.Unmarshal([]byte(d.docker(t, "inspect", "--format", "{{json .HostConfig}}", id)), &want); err != nil {
		t.Fatal(err)
	}
	cpus, memory := bound(t, "/docker/"+id)
	if cpus <= 0 || cpus != float64(want.NanoCpus)/1e9 || memory != want.Memory || memory != 4<<30 {
		t.Errorf("the container's group has %v CPUs and %d bytes, Docker says %d and %d", cpus, memory, want.NanoCpus, want.Memory)
	}
	broker := process(t, "kafka.Kafka")
	groups, err := os.ReadFile(filepath.Join("/proc", broker, "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	below := "/docker/" + id + "/kafkalab/kubepods"
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if of := parts[1]; (of == "cpu" || of == "memory" || of == "" && !strings.Contains(string(groups), ":memory:")) && !strings.HasPrefix(parts[2], below) {
			t.Errorf("the broker's group is %s, want one below %s", line, below)
		}
	}
	var agent struct{ Data map[string]string }
	d.agent(t, &agent, "get", "configmap", "kafka-limits", "-n", "kafka")
	var set struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Resources struct{ Limits map[string]string }
					}
				}
			}
		}
	}
	d.agent(t, &set, "get", "statefulset", "kafka", "-n", "kafka")
	limits := set.Spec.Template.Spec.Containers[0].Resources.Limits
	told := d.status(t).Limits
	if agent.Data["cpus"] != limits["cpu"] || agent.Data["memory"] != limits["memory"] || limits["memory"] != "3Gi" {
		t.Errorf("the agent is told %v, the broker has %v", agent.Data, limits)
	}
	if told.CPUs != limits["cpu"] || told.Memory != limits["memory"] {
		t.Errorf("the tuner is told %+v, the broker has %v", told, limits)
	}
}

// bound reads a group's limits as the kernel has them.
func bound(t *testing.T, group string) (cpus float64, memory int64) {
	t.Helper()
	number := func(parts ...string) []string {
		data, err := os.ReadFile(filepath.Join(parts...))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(data))
	}
	var quota, period []string
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		both := number("/sys/fs/cgroup", group, "cpu.max")
		quota, period = both[:1], both[1:]
		memory, _ = strconv.ParseInt(number("/sys/fs/cgroup", group, "memory.max")[0], 10, 64)
	} else {
		quota = number("/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us")
		period = number("/sys/fs/cgroup/cpu", group, "cpu.cfs_period_us")
		memory, _ = strconv.ParseInt(number("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")[0], 10, 64)
	}
	q, _ := strconv.ParseFloat(quota[0], 64)
	p, _ := strconv.ParseFloat(period[0], 64)
	return q / p, memory
}

// process is the one in a container of Docker's whose command line has this word.
func process(t *testing.T, word string) string {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cgroup"))
		for arg := range strings.SplitSeq(string(line), "\x00") {
			if arg == word && strings.Contains(string(groups), "/docker/") {
				return filepath.Base(filepath.Dir(f))
			}
		}
	}
	t.Fatalf("no process %s in a container", word)
	return ""
}

// agent asks the API server as an agent on the machine does.
func (d *daemon) agent(t *testing.T, answer any, args ...string) {
	t.Helper()
	out := d.run(t, append([]string{".lab/bin/kube", "kubectl", "--kubeconfig=.lab/agent.kubeconfig", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// kafkaAnswers asks for Kafka's brokers (a Metadata request, version 1, no topics): the answer names the address that the client came by.
func (d *daemon) kafkaAnswers(t *testing.T) {
	eventually(t, time.Minute, "Kafka's metadata", func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:29092", 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte("\x00\x00\x00\x0e\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00")); err != nil {
			return err
		}
		answer := make([]byte, 64)
		if n, err := io.ReadAtLeast(c, answer, 4+4+4+4+2+9+4); err != nil || !strings.Contains(string(answer[:n]), "\x00\x09127.0.0.1\x00\x00\x71\xa4") {
			return fmt.Errorf("want a broker at 127.0.0.1:29092 (got %q, %v)", answer[:n], err)
		}
		return nil
	})
}

// status is what the tuner tells.
type status struct {
	Live struct {
		P99   *float64 `json:"p99_ms"`
		Acked *float64 `json:"acked_per_second"`
	}
	Limits struct{ CPUs, Memory string }
	Knobs  []struct {
		Name               string
		Desired, Effective *int64
	}
	Trials []any
}

func (d *daemon) status(t *testing.T) (s status) {
	t.Helper()
	if err := d.tryStatus(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *daemon) tryStatus(s *status) error {
	resp, err := http.Get("http://127.0.0.1:29500/api/v1/status")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(s)
}

// loop waits for the first trial: the tuner has the load's figures through Prometheus, and a value that it changed was read back from Kafka.
func (d *daemon) loop(t *testing.T) {
	start := map[string]int64{"heap": 256, "io_threads": 2, "network_threads": 1}
	eventually(t, 8*time.Minute, "a change that Kafka has", func() error {
		var s status
		if err := d.tryStatus(&s); err != nil {
			return err
		}
		for _, k := range s.Knobs {
			if k.Desired != nil && k.Effective != nil && *k.Desired == *k.Effective && *k.Effective != start[k.Name] {
				t.Logf("%s %d → %d", k.Name, start[k.Name], *k.Effective)
				return nil
			}
		}
		return fmt.Errorf("P99 %v, acknowledged %v, knobs %+v", s.Live.P99, s.Live.Acked, s.Knobs)
	})
}

// orders follows README to the letter.
func (d *daemon) orders(t *testing.T) {
	readme, err := os.ReadFile(checkout + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(readme), "\n    docker compose exec k8s-sandbox sh -c '")
	command, _, _ = strings.Cut(command, "'\n")
	if !found {
		t.Fatal("README does not say how to make a token")
	}
	order := func(order string, more ...string) (string, error) {
		return d.try(append([]string{".lab/bin/tuner", order, "--address=http://127.0.0.1:29500", "--by=test"}, more...)...)
	}
	if said, err := order("pause"); err == nil {
		t.Errorf("without a token it is obeyed: %s", said)
	}
	token := filepath.Join(t.TempDir(), "token")
	made := d.run(t, "docker", "compose", "exec", "-T", "k8s-sandbox", "sh", "-c", command)
	if err := os.WriteFile(token, []byte(strings.TrimSpace(made)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"pause", "resume"} {
		if said, err := order(o, "--token-file="+token); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	}
}

// hangs stops a container's process, which is worse than if it ended: nobody starts it again. Let go, everybody is well again.
func (d *daemon) hangs(service string, unhealthy ...string) func(*testing.T) {
	return func(t *testing.T) {
		d.docker(t, "kill", "--signal=STOP", d.containers(t)[service])
		for _, s := range unhealthy {
			d.becomes(t, s, "unhealthy")
		}
		d.docker(t, "kill", "--signal=CONT", d.containers(t)[service])
		for _, s := range unhealthy {
			d.becomes(t, s, "healthy")
		}
	}
}

func (d *daemon) becomes(t *testing.T, service, health string) {
	t.Helper()
	eventually(t, 3*time.Minute, service+" becomes "+health, func() error {
		if h := d.health(t, service); h != health {
			return fmt.Errorf("it is %s", h)
		}
		return nil
	})
}

func (d *daemon) componentHangs(t *testing.T) {
	scheduler := process(t, "kube-scheduler")
	run(t, nil, "/", "kill", "-STOP", scheduler)
	d.becomes(t, "k8s-sandbox", "unhealthy")
	run(t, nil, "/", "kill", "-CONT", scheduler)
	d.becomes(t, "k8s-sandbox", "healthy")
}

func (d *daemon) killed(t *testing.T) {
	broker, id := process(t, "kafka.Kafka"), d.containers(t)["k8s-sandbox"]
	start := func() string { return d.docker(t, "inspect", "--format", "{{.State.StartedAt}}", id) }
	first := start()
	// By its process: a container that docker kills stays down.
	run(t, nil, "/", "kill", "-KILL", d.docker(t, "inspect", "--format", "{{.State.Pid}}", id))
	eventually(t, time.Minute, "the broker is gone and the container starts anew", func() error {
		if _, err := os.Stat("/proc/" + broker); err == nil || start() == first {
			return fmt.Errorf("process %s: %v; started %s", broker, err, start())
		}
		return nil
	})
	for _, service := range checked() {
		d.becomes(t, service, "healthy")
	}
	d.kafkaAnswers(t)
	eventually(t, 2*time.Minute, "load flows again, on the topic that was there", func() error {
		var s status
		if err := d.tryStatus(&s); err != nil {
			return err
		}
		if s.Live.P99 == nil || s.Live.Acked == nil || *s.Live.Acked <= 0 {
			return fmt.Errorf("P99 %v, acknowledged %v", s.Live.P99, s.Live.Acked)
		}
		return nil
	})
}
