package sandbox

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// double is a checkout in which docker, k3d, kube and tuner note how they are called and answer as told.
type double struct {
	dir  string
	vars map[string]string
	out  bytes.Buffer
	t    *testing.T
}

// newDouble needs answers by "program first-words"; an answer is a line of shell.
func newDouble(t *testing.T, answers map[string]string) *double {
	t.Helper()
	d := &double{dir: t.TempDir(), t: t, vars: map[string]string{}}
	// Not the lab's own ports: it may be up on this machine.
	for i, p := range []string{"API", "KAFKA", "PROMETHEUS", "EXPORTER", "LOADGEN", "TUNER", "GRAFANA"} {
		d.vars[p+"_PORT"] = []string{"61443", "61092", "61090", "61308", "61400", "61500", "61300"}[i]
	}
	for program, folder := range map[string]string{"docker": "path", "k3d": ".lab/bin", "kube": ".lab/bin", "tuner": ".lab/bin", "java": "path", "mvn": "path"} {
		script := "#!/bin/sh\necho \"" + program + " $*\" >>" + d.dir + "/asked\nenv >>" + d.dir + "/env\ncase \"" + program + " $*\" in\n"
		for asked, answer := range answers {
			if strings.HasPrefix(asked, program+" ") {
				script += "'" + asked + "'*) " + answer + " ;;\n"
			}
		}
		d.write(filepath.Join(folder, program), script+"esac\n", 0o755)
	}
	for _, image := range []string{"kafka", "exporter", "loadgen", "prometheus", "tuner"} {
		d.write(".lab/images/"+image+".ref", "docker.io/kafkalab/"+image+":1\n", 0o644)
	}
	lab, err := os.ReadFile("../../lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d.write("lab.yaml", string(lab), 0o644)
	t.Setenv("PATH", filepath.Join(d.dir, "path")+":"+os.Getenv("PATH"))
	return d
}

func (d *double) write(name, text string, mode os.FileMode) {
	d.t.Helper()
	file := filepath.Join(d.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), mode)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *double) getenv(name string) string { return d.vars[name] }

func (d *double) compose() Compose { return Compose{Checkout: d.dir, Getenv: d.getenv, Out: &d.out} }

func (d *double) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(d.dir, name))
	return string(data)
}

// asked is true when a call began so.
func (d *double) asked(call string) bool { return strings.Contains("\n"+d.read("asked"), "\n"+call) }

const machineOf2 = "echo 2 25276514304"

func TestComposeIsToldWhatItsMachineHas(t *testing.T) {
	d := newDouble(t, map[string]string{
		"docker info": machineOf2, "docker compose --project-directory": `case "$*" in *"cat /kafkalab/.lab/kubeconfig") echo admin;; *agent.kubeconfig) echo agent;; esac`,
	})
	d.vars["TUNER_MODE"] = "observe"
	if err := d.compose().Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	env := strings.Split(d.read("env"), "\n")
	for _, want := range []string{"SANDBOX_CPUS=2", "SANDBOX_MEMORY=4096m", "KAFKA_CPUS=1500m", "KAFKA_MEMORY=3Gi", "SLO_P99=200ms", "TUNER_FILE=" + d.dir + "/.lab/compose/tuner.yaml"} {
		if !slices.Contains(env, want) {
			t.Errorf("compose is not told %s", want)
		}
	}
	if file := d.read(".lab/compose/tuner.yaml"); !strings.Contains(file, "\nmode: observe\n") {
		t.Error("the tuner's file has not the mode that was asked for")
	}
	for _, said := range []string{"gets 2 CPUs and 4Gi of memory (asked for 4 and 4Gi; Docker's machine has 2 CPUs", "Kafka gets 1500m CPUs and 3Gi"} {
		if !strings.Contains(d.out.String(), said) {
			t.Errorf("%q was not said:\n%s", said, d.out.String())
		}
	}
	for file, want := range map[string]string{"kubeconfig": "admin\n", "agent.kubeconfig": "agent\n"} {
		info, err := os.Stat(filepath.Join(d.dir, ".lab", file))
		if err != nil || info.Mode() != 0o600 || d.read(".lab/"+file) != want {
			t.Errorf("%s: %v, %q", file, err, d.read(".lab/"+file))
		}
	}
	if err := d.compose().Down(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(d.read("asked"), "compose.yml down --volumes") {
		t.Error("down is not compose's, with volumes")
	}
	for _, file := range []string{"compose", "kubeconfig", "agent.kubeconfig"} {
		if _, err := os.Stat(filepath.Join(d.dir, ".lab", file)); err == nil {
			t.Errorf(".lab/%s is left", file)
		}
	}
}

func TestComposeNamesEverythingThatIsWrongBeforeItStarts(t *testing.T) {
	d := newDouble(t, map[string]string{"docker version": "echo 'is the docker daemon running?' >&2; exit 1"})
	for name, value := range map[string]string{"SANDBOX_MEMORY": "1Gi", "BROKERS": "3", "TUNER_MODE": "fast"} {
		d.vars[name] = value
	}
	err := d.compose().Up(context.Background())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"is the docker daemon running?", "SANDBOX_MEMORY: want at least 2Gi", `BROKERS: want 1 in Docker`, `TUNER_MODE: want observe`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if d.asked("docker compose --project-directory") {
		t.Error("started all the same")
	}
}

func TestPortsInDocker(t *testing.T) {
	for name, c := range map[string]struct {
		vars map[string]string
		want string
	}{
		// In the sandbox's network the tuner has its own port, whatever it is published as.
		"Kafka on the port of a program":    {map[string]string{"KAFKA_PORT": "9500", "TUNER_PORT": "61500"}, "port 9500 is"},
		"a port of Grafana's that is none":  {map[string]string{"GRAFANA_PORT": "0"}, `GRAFANA_PORT: want a port from 1 to 65535 (got "0")`},
		"all the same as another's default": {map[string]string{"TUNER_PORT": "9092", "KAFKA_PORT": "61092"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compose{Getenv: func(v string) string { return c.vars[v] }}.ports()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLogsAreFollowedWhereTheyAre(t *testing.T) {
	for of, want := range map[string]string{
		"tuner": "logs --follow --no-log-prefix --tail=100 tuner", "kafka": "exec -T k8s-sandbox /kafkalab/.lab/bin/k8s-sandbox logs kafka",
	} {
		d := newDouble(t, nil)
		if err := d.compose().Logs(context.Background(), of); err != nil || !strings.Contains(d.read("asked"), want) {
			t.Errorf("%s: got %v, asked %s", of, err, d.read("asked"))
		}
	}
}

// The kernel leads the ports of an embedded sandbox away from whoever has bound them: they are free to bind, and taken all the same.
func TestAPortThatIsLedElsewhereIsInUse(t *testing.T) {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	outside := os.Getenv("OUTSIDE")
	if outside == "" {
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "OUTSIDE="+here)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if here == outside {
		t.Fatal("not in a network of its own")
	}
	for _, argv := range [][]string{
		{"ip", "link", "set", "lo", "up"}, {"nft", "add table ip t; add chain ip t o { type nat hook output priority -110; }; add rule ip t o tcp dport 9400 dnat to 127.0.0.1:9500"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:9500")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ports := []layout.Port{{Name: "tuner", Env: "TUNER_PORT", Host: 9500}, {Name: "loadgen", Env: "LOADGEN_PORT", Host: 9400}, {Name: "exporter", Env: "EXPORTER_PORT", Host: 9308}}
	err = freePorts(ports, bindable, unreachable)
	for _, want := range []string{"port for tuner: 127.0.0.1:9500 is in use", "set LOADGEN_PORT to another"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "exporter") {
		t.Errorf("a free port is refused: %v", err)
	}
}

const k3dAdmin = `cat <<'END'
apiVersion: v1
kind: Config
current-context: k3d-kafkalab
clusters: [{name: k3d-kafkalab, cluster: {server: "https://127.0.0.1:61443", certificate-authority-data: Y2E=}}]
contexts: [{name: k3d-kafkalab, context: {cluster: k3d-kafkalab, user: admin}}]
users: [{name: admin, user: {token: x}}]
END
`

func k3dAnswers(have string) map[string]string {
	return map[string]string{
		"docker info": machineOf2, "docker exec": "echo docker.io/kafkalab/kafka:1", "k3d cluster list": "echo '" + have + "'",
		"k3d kubeconfig get": k3dAdmin,
		"kube kubectl --kubeconfig": `case "$*" in *"create token agent"*) echo secret ;; *"auth whoami") exit 1 ;; ` +
			`*"get deployments"*) echo '{"items":[{"metadata":{"name":"a"},"spec":{"replicas":0}}]}' ;; esac`,
	}
}

func (d *double) k3d() K3d {
	d.t.Helper()
	k, err := NewK3d(Config{Checkout: d.dir, Getenv: d.getenv, Out: &d.out})
	if err != nil {
		d.t.Fatal(err)
	}
	return k
}

func TestK3dMakesOneNodeWithLimitsAndGivesItTheLab(t *testing.T) {
	d := newDouble(t, k3dAnswers("[]"))
	if err := d.k3d().Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Kind    string
		Servers int
		KubeAPI struct {
			HostIP   string `yaml:"hostIP"`
			HostPort string `yaml:"hostPort"`
		} `yaml:"kubeAPI"`
		Ports   []struct{ Port string }
		Options struct {
			Runtime struct {
				ServersMemory string `yaml:"serversMemory"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(d.read(".lab/k3d/cluster.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if config.Kind != "Simple" || config.Servers != 1 || config.Options.Runtime.ServersMemory != "4096m" || config.KubeAPI.HostIP != "127.0.0.1" ||
		config.KubeAPI.HostPort != "61443" {
		t.Errorf("got %+v", config)
	}
	if len(config.Ports) != 5 || config.Ports[0].Port != "127.0.0.1:61092:30092" {
		t.Errorf("ports: %+v", config.Ports)
	}
	for _, want := range []string{
		"k3d cluster create --config " + d.dir, "docker update --cpus=2 k3d-kafkalab-server-0",
		"k3d image import --cluster kafkalab --mode direct " + d.dir + "/.lab/images/loadgen.tar",
		"kube kubectl --kubeconfig=" + d.dir + "/.lab/kubeconfig apply --server-side",
	} {
		if !d.asked(want) {
			t.Errorf("not asked: %s\n%s", want, d.read("asked"))
		}
	}
	if strings.Contains(d.read("asked"), "images/kafka.tar") {
		t.Error("an image that the node has is imported again")
	}
	settings := d.read(".lab/kustomize/settings.yaml")
	if !strings.Contains(settings, "cpus: 1500m") || !strings.Contains(settings, "memory: 3Gi") || !strings.Contains(settings, "127.0.0.1:61092") {
		t.Errorf("settings:\n%s", settings)
	}
	agent := d.read(".lab/agent.kubeconfig")
	if !strings.Contains(agent, "https://127.0.0.1:61443") || !strings.Contains(agent, "token: secret") || strings.Contains(agent, "token: x") {
		t.Errorf("agent's kubeconfig:\n%s", agent)
	}
}

func TestK3dIsMadeOnce(t *testing.T) {
	d := newDouble(t, k3dAnswers(`[{"name":"another"},{"name":"kafkalab"}]`))
	if err := d.k3d().Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d.asked("k3d cluster create") || !d.asked("k3d cluster start kafkalab") {
		t.Errorf("asked:\n%s", d.read("asked"))
	}
}

func TestK3dSaysWhatWentWrongAndStops(t *testing.T) {
	answers := k3dAnswers("[]")
	answers["k3d cluster create"] = "echo 'failed to pull image docker.io/rancher/k3s' >&2; exit 1"
	d := newDouble(t, answers)
	if err := d.k3d().Up(context.Background()); err == nil || !strings.Contains(err.Error(), "failed to pull image docker.io/rancher/k3s") {
		t.Errorf("got %v", err)
	}
	if d.asked("k3d image") || d.asked("docker update") {
		t.Error("it went on")
	}
}

func TestK3dDownDeletesTheClusterAndWhatK3dForgets(t *testing.T) {
	d := newDouble(t, map[string]string{"docker network ls": "echo 1a2b", "docker volume ls": ":"})
	for _, file := range []string{"k3d/cluster.yaml", "kustomize/settings.yaml", "kubeconfig", "agent.kubeconfig"} {
		d.write(".lab/"+file, "x", 0o600)
	}
	if err := d.k3d().Down(context.Background()); err != nil || !d.asked("k3d cluster delete kafkalab") {
		t.Errorf("got %v, asked %s", err, d.read("asked"))
	}
	if !d.asked("docker network rm k3d-kafkalab") || d.asked("docker volume rm") {
		t.Errorf("want removed what is there, and no more; asked:\n%s", d.read("asked"))
	}
	for _, file := range []string{"k3d", "kustomize", "kubeconfig", "agent.kubeconfig"} {
		if _, err := os.Stat(filepath.Join(d.dir, ".lab", file)); err == nil {
			t.Errorf(".lab/%s is left", file)
		}
	}
}
