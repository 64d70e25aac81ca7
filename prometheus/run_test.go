package prometheus_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// machine is a checkout with run.sh and a PATH that holds small tools and what a case puts beside them.
type machine struct{ checkout, bin string }

func newMachine(t *testing.T, programs map[string]string) machine {
	t.Helper()
	m := machine{checkout: t.TempDir(), bin: t.TempDir()}
	script, err := os.ReadFile("../run.sh")
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(m.checkout, "run.sh"), string(script))
	write(filepath.Join(m.checkout, "go.mod"), "module x\n\ngo 1.26.3\n")
	for _, tool := range []string{"bash", "uname", "awk", "sed", "sort", "head", "tail", "find", "dirname", "timeout", "cat"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range programs {
		write(filepath.Join(m.bin, name), "#!"+filepath.Join(m.bin, "bash")+"\n"+body+"\n")
	}
	return m
}

// run gives the exit code and all that was said.
func (m machine) run(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(m.bin, "bash"), append([]string{filepath.Join(m.checkout, "run.sh")}, args...)...)
	cmd.Env = append([]string{"PATH=" + m.bin, "HOME=" + m.checkout}, env...)
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// Everything the script looks for, in the right version. Whoever runs the test, the fakes of make and sudo only say how they were called.
func complete() map[string]string {
	programs := map[string]string{
		"go":   `case $2 in GOVERSION) echo go1.26.3;; GOTOOLCHAIN) echo auto;; esac`,
		"java": `echo 'openjdk version "21.0.4" 2024-07-16' >&2`,
		"make": `echo "called make $*"`,
		"sudo": `echo "called sudo $*"`,
		"df":   `echo Filesystem; echo 'x 1 1 50000000 1% /'`,
	}
	for _, p := range []string{"mvn", "apt-get", "containerd", "runc", "iptables", "nft", "conntrack", "ip", "nsenter", "mount",
		"debootstrap", "buildah"} {
		programs[p] = ":"
	}
	return programs
}

func TestRunSaysWhatAMachineLacksAndHowToGetIt(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port

	for name, c := range map[string]struct {
		without []string          // programs that are missing
		with    map[string]string // programs that are different
		env     []string
		want    []string // lines, or parts of them, that have to be said
	}{
		"three packages, each with its command and all at once": {
			without: []string{"make", "java", "mvn"},
			want: []string{"NEEDED   make", "apt-get install -y make", "NEEDED   Java 17", "apt-get install -y default-jre-headless",
				"NEEDED   Maven", "apt-get install -y maven", "apt-get install -y make default-jre-headless maven", "3 things are missing"},
		},
		"a Java of the last decade":       {with: map[string]string{"java": `echo 'java version "1.8.0_402"' >&2`}, want: []string{"NEEDED   Java 17 or newer"}},
		"a Java that does not start":      {with: map[string]string{"java": `echo 'no libjvm' >&2; exit 1`}, want: []string{"NEEDED   a Java that says its version"}},
		"no Go":                           {without: []string{"go"}, want: []string{"NEEDED   Go 1.26.3", "/usr/local -xz"}},
		"a Go too old to fetch a newer":   {with: map[string]string{"go": `echo go1.19.8`}, want: []string{"NEEDED   Go 1.26.3 or newer (this is 1.19.8)"}},
		"an older Go that may not fetch":  {with: map[string]string{"go": `case $2 in GOVERSION) echo go1.24.1;; *) echo local;; esac`}, want: []string{"NEEDED   Go 1.26.3 or newer (this is 1.24.1)"}},
		"a port that somebody listens on": {env: []string{fmt.Sprintf("KAFKA_PORT=%d", port)}, want: []string{fmt.Sprintf("NEEDED   port %d for Kafka: it is in use", port), "export KAFKA_PORT="}},
		// How much is needed depends on whether a lab is up on this machine.
		"a full disk":                        {with: map[string]string{"df": `echo Filesystem; echo 'x 1 1 3072 99% /'`}, want: []string{"NEEDED   disk: 3 MiB free", "GiB are needed"}},
		"a port that is no port":             {env: []string{"TUNER_PORT=70000"}, want: []string{`TUNER_PORT: a port from 1 to 65535 (got "70000")`}},
		"Docker asked for that is not there": {env: []string{"SANDBOX=compose"}, want: []string{"NEEDED   Docker\n", "unset SANDBOX"}},
		"a Docker without a daemon":          {env: []string{"SANDBOX=k3d"}, with: map[string]string{"docker": `exit 1`}, want: []string{"NEEDED   a Docker daemon that answers"}},
		"a Docker without Compose": {env: []string{"SANDBOX=compose"}, with: map[string]string{"docker": `[[ $1 == version ]] && echo 28.5.1`},
			want: []string{"ok       Docker 28.5.1", "NEEDED   Compose", "apt-get install -y docker-compose-plugin"}},
		"a model that nobody has a key for": {env: []string{"AGENT=vibectl"}, want: []string{"NEEDED   a key for the agent's model", "export ANTHROPIC_API_KEY=", "AGENT=scripted"}},
		"a cluster without its kubeconfig":  {env: []string{"SANDBOX=existing", "KUBECONFIG=/nowhere/config"}, want: []string{"/nowhere/config cannot be read", "export KUBECONFIG="}},
	} {
		t.Run(name, func(t *testing.T) {
			programs := complete()
			for _, p := range c.without {
				delete(programs, p)
			}
			for p, body := range c.with {
				programs[p] = body
			}
			code, out := newMachine(t, programs).run(t, append(highPorts(), c.env...))
			if code != 1 {
				t.Errorf("exit code is %d, want 1", code)
			}
			if strings.Contains(out, "called ") {
				t.Error("it was started all the same")
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q was not said", want)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// highPorts keeps the test away from whatever runs on the usual ones; a lab may be up on this machine.
func highPorts() []string {
	var env []string
	for i, name := range []string{"API", "KAFKA", "PROMETHEUS", "EXPORTER", "LOADGEN", "TUNER"} {
		env = append(env, fmt.Sprintf("%s_PORT=%d", name, 2+i))
	}
	return env
}

func TestRunStartsWhatIsComplete(t *testing.T) {
	for name, c := range map[string]struct {
		golang string
		want   string
	}{
		"with a Go that is new enough":       {`case $2 in GOVERSION) echo go1.27.0;; *) echo auto;; esac`, "Go 1.27.0"},
		"with a Go that fetches a newer one": {`case $2 in GOVERSION) echo go1.24.1;; *) echo auto;; esac`, "it fetches 1.26.3 by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			programs := complete()
			programs["go"] = c.golang
			m := newMachine(t, programs)
			code, out := m.run(t, append(highPorts(), "SANDBOX_CPUS=2"))
			// As root it is make itself, otherwise make through sudo, told what it has to know.
			started := strings.Contains(out, "called make up") ||
				strings.Contains(out, "called sudo --preserve-env=") && strings.Contains(out, "SANDBOX_CPUS=2 ") && strings.HasSuffix(out, "make up\n")
			if code != 0 || !started || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, started %t; want 0, true and %q:\n%s", code, started, c.want, out)
			}
			if code, out := m.run(t, highPorts(), "--check"); code != 0 || strings.Contains(out, "called ") {
				t.Errorf("--check: exit code %d; want 0 and nothing started:\n%s", code, out)
			}
		})
	}
}

// Sudo forgets the environment: a setting that is not handed on has no effect, and nothing says so.
func TestRunHandsEverySettingOnToSudo(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "\n## Settings\n")
	table, _, _ = strings.Cut(table, "\n## ")
	name := regexp.MustCompile("`([A-Z][A-Z0-9_]+)`")
	var settings []string
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "|") {
			for _, m := range name.FindAllStringSubmatch(line, -1) {
				settings = append(settings, m[1])
			}
		}
	}
	if len(settings) < 12 {
		t.Fatalf("README.md, Settings: only %v", settings)
	}
	script, err := os.ReadFile("../run.sh")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "for variable in ")
	list, _, found := strings.Cut(list, "; do")
	if !found {
		t.Fatal("run.sh: no list of variables")
	}
	for _, s := range settings {
		listed := slices.Contains(strings.Fields(list), s)
		if !strings.HasSuffix(s, "_KEY") && !listed {
			t.Errorf("run.sh does not hand %s on to sudo", s)
		}
		// What is listed becomes an argument, and those can be read by everybody.
		if kept := regexp.MustCompile(`sudo --preserve-env=(\S+,)?` + s + `[, ]`).Match(script); strings.HasSuffix(s, "_KEY") && (listed || !kept) {
			t.Errorf("run.sh does not hand the key %s on to sudo by --preserve-env alone", s)
		}
	}
}

func TestTheSandboxIsChosenByWhatIsThere(t *testing.T) {
	whole := `case $1 in version) echo 28.5.1;; compose) :;; esac`
	for name, c := range map[string]struct {
		docker string // nothing: there is none
		env    string
		up     string // the folder in .lab that says so
		want   string
		why    string
	}{
		"no Docker":                               {want: "embedded", why: "there is no Docker"},
		"a daemon that does not answer":           {docker: "exit 1", want: "embedded", why: "no Docker daemon answers"},
		"a daemon that says nothing":              {docker: ":", want: "embedded", why: "no Docker daemon answers"},
		"a Docker without Compose":                {docker: `[[ $1 == version ]] && echo 20.10.5`, want: "embedded", why: "Docker has no Compose"},
		"Docker with Compose":                     {docker: whole, want: "compose", why: "Docker 28.5.1 answers"},
		"what is up stays where it is":            {docker: whole, up: "state", want: "embedded", why: "it is up"},
		"what Compose has up is taken down by it": {up: "compose", want: "compose", why: "it is up"},
		"and what K3d has, by K3d":                {docker: whole, up: "k3d", want: "k3d", why: "it is up"},
		"what is asked for goes before Docker":    {docker: whole, env: "SANDBOX=embedded", want: "embedded", why: "as asked for"},
		"and before what is up":                   {docker: whole, env: "SANDBOX=k3d", up: "state", want: "k3d", why: "as asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			programs := complete()
			if c.docker != "" {
				programs["docker"] = c.docker
			}
			m := newMachine(t, programs)
			if err := os.MkdirAll(filepath.Join(m.checkout, ".lab", c.up), 0o755); err != nil {
				t.Fatal(err)
			}
			code, out := m.run(t, []string{c.env}, "--choose")
			if code != 0 || !strings.HasPrefix(out, "SANDBOX="+c.want+" ("+c.why) || !strings.HasSuffix(out, "\n"+c.want+"\n") {
				t.Errorf("exit code %d; want %s, because %s:\n%s", code, c.want, c.why, out)
			}
			if code, out := m.run(t, []string{c.env}, "--chosen"); code != 0 || out != c.want+"\n" {
				t.Errorf("--chosen: exit code %d; want %s and no more:\n%s", code, c.want, out)
			}
		})
	}
}

func TestRunRefusesASandboxThatDoesNotExist(t *testing.T) {
	for _, arg := range []string{"--check", "--choose"} {
		if code, out := newMachine(t, complete()).run(t, []string{"SANDBOX=minikube"}, arg); code != 2 || !strings.Contains(out, `SANDBOX: embedded, compose, k3d or existing (got "minikube")`) {
			t.Errorf("%s: exit code %d, want 2 and the value named:\n%s", arg, code, out)
		}
	}
}

func TestRunRefusesWhatItDoesNotKnow(t *testing.T) {
	if code, out := newMachine(t, complete()).run(t, nil, "--chekc"); code != 2 || !strings.Contains(out, `"--chekc"`) {
		t.Errorf("exit code %d, want 2 and the argument named:\n%s", code, out)
	}
}
