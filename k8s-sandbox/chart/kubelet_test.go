package chart_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kafkalab/kafkalab/internal/child"
	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// kubelet runs the programs of pods as processes: with the pod's flags, variables and volumes as the API server has them, and a token of the pod's own
// account.
type kubelet struct {
	t      *testing.T
	kube   *kubetest.Server
	bin    map[string]string
	shared string // in place of volumes that several pods mount
}

// programs builds them as the build does, so that what that has compiled serves.
func programs(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/", "./exporter", "./loadgen", "./tuner")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	bin := map[string]string{}
	for _, name := range []string{"exporter", "loadgen", "tuner"} {
		bin[name] = filepath.Join(dir, name)
	}
	return bin
}

// run starts the container of a workload's only, or first, pod.
func (k *kubelet) run(workload, container string) *process { return k.runNth(workload, container, 0) }

func (k *kubelet) runNth(workload, container string, n int) *process {
	k.t.Helper()
	pods, err := k.kube.Client(k.t).CoreV1().Pods(namespace).List(k.t.Context(), meta.ListOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	var pod *core.Pod
	var names []string
	for i, p := range pods.Items {
		names = append(names, p.Name)
		if p.DeletionTimestamp == nil && (p.Name == fmt.Sprintf("%s-%d", workload, n) || len(p.OwnerReferences) > 0 && p.OwnerReferences[0].Kind == "ReplicaSet" &&
			strings.HasPrefix(p.Name, workload+"-")) {
			pod = &pods.Items[i]
		}
	}
	if pod == nil {
		k.t.Fatalf("want a pod of %s, got %v", workload, names)
	}
	c := pod.Spec.Containers[0]
	if c.Name != container || len(c.Command) != 1 || c.Command[0] != "/"+container {
		k.t.Fatalf("pod %s: want the program %s, got %v", pod.Name, container, c.Command)
	}
	var args []string
	paths := k.mount(pod)
	for _, a := range c.Args {
		for from, to := range paths {
			if flag, path, ok := strings.Cut(a, "="); ok && (path == from || strings.HasPrefix(path, from+"/")) {
				a = flag + "=" + to + strings.TrimPrefix(path, from)
			}
		}
		args = append(args, regexp.MustCompile(`^(--(?:web\.)?listen(?:-address)?)=:\d+$`).ReplaceAllString(a, "$1=127.0.0.1:0"))
	}
	env := []string{}
	if pod.Spec.AutomountServiceAccountToken != nil && *pod.Spec.AutomountServiceAccountToken {
		env = append(env, "KUBECONFIG="+k.kubeconfig(pod.Spec.ServiceAccountName))
	}
	p := start(k.t, k.bin[container], env, args...)
	p.pod = pod.Name
	return p
}

// mount makes the volumes and says where each mount is.
func (k *kubelet) mount(pod *core.Pod) map[string]string {
	k.t.Helper()
	client := k.kube.Client(k.t).CoreV1()
	dirs := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		dir := k.t.TempDir()
		dirs[v.Name] = dir
		switch {
		case v.ConfigMap != nil:
			m, err := client.ConfigMaps(pod.Namespace).Get(k.t.Context(), v.ConfigMap.Name, meta.GetOptions{})
			if apierrors.IsNotFound(err) && v.ConfigMap.Optional != nil && *v.ConfigMap.Optional {
				continue
			}
			if err != nil {
				k.t.Fatal(err)
			}
			for name, text := range m.Data {
				k.write(filepath.Join(dir, name), text)
			}
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				secret, err := client.Secrets(pod.Namespace).Get(k.t.Context(), s.Secret.Name, meta.GetOptions{})
				if err != nil {
					k.t.Fatal(err)
				}
				for _, item := range s.Secret.Items {
					k.write(filepath.Join(dir, item.Path), string(secret.Data[item.Key]))
				}
			}
		case v.Secret != nil && v.Secret.Optional != nil && *v.Secret.Optional:
		case v.EmptyDir != nil:
		case v.PersistentVolumeClaim != nil:
			dirs[v.Name] = filepath.Join(k.shared, v.PersistentVolumeClaim.ClaimName)
			if err := os.MkdirAll(dirs[v.Name], 0o700); err != nil {
				k.t.Fatal(err)
			}
		default:
			k.t.Fatalf("pod %s: want a volume of a kind that this knows, got %+v", pod.Name, v)
		}
	}
	paths := map[string]string{}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		dir, ok := dirs[m.Name]
		if !ok {
			k.t.Fatalf("pod %s: no volume %s", pod.Name, m.Name)
		}
		paths[m.MountPath] = dir
	}
	// The tuner's file names files by where they are in the pod.
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dirs[v.Name], "*"))
		if err != nil {
			k.t.Fatal(err)
		}
		for _, name := range found {
			text, err := os.ReadFile(name)
			if err != nil {
				k.t.Fatal(err)
			}
			for from, to := range paths {
				text = bytes.ReplaceAll(text, []byte(" "+from+"/"), []byte(" "+to+"/"))
			}
			k.write(name, string(text))
		}
	}
	return paths
}

func (k *kubelet) write(name, text string) {
	k.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// config is that of a client with a token of the account, as the kubelet would have asked for.
func (k *kubelet) config(account string) *rest.Config {
	k.t.Helper()
	token, err := k.kube.Client(k.t).CoreV1().ServiceAccounts(namespace).CreateToken(k.t.Context(), account, &authentication.TokenRequest{}, meta.CreateOptions{})
	if err != nil {
		k.t.Fatalf("token of %s: %v", account, err)
	}
	c := k.kube.Config(k.t)
	return &rest.Config{Host: c.Host, BearerToken: token.Status.Token, TLSClientConfig: c.TLSClientConfig, WarningHandler: rest.NoWarnings{}}
}

func (k *kubelet) client(account string) kubernetes.Interface {
	k.t.Helper()
	c, err := kubernetes.NewForConfig(k.config(account))
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

func (k *kubelet) kubeconfig(account string) string {
	k.t.Helper()
	from, c := k.config(account), clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: from.Host, CertificateAuthorityData: from.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: from.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	name := filepath.Join(k.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, name); err != nil {
		k.t.Fatal(err)
	}
	return name
}

// process is one of our programs.
type process struct {
	pod, program string
	proc         *child.Process
	log          string
}

func start(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{pod: filepath.Base(program), program: program, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	if p.proc, err = child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.proc.Kill()
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", p.pod, p.tail())
		}
	})
	return p
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

var listens = regexp.MustCompile(`msg=listening .*addr=(\S+)`)

// addr waits until the program says where it listens.
func (p *process) addr(t *testing.T) string {
	t.Helper()
	found := ""
	within(t, p.pod+" listens", func() error {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		select {
		case <-p.proc.Done():
			t.Fatalf("%s ended: %v\n%s", p.pod, p.proc.Err(), text)
		default:
		}
		m := listens.FindSubmatch(text)
		if m == nil {
			return errors.New("it does not say so")
		}
		found = string(m[1])
		return nil
	})
	return found
}

func (p *process) status(t *testing.T) (s status.Snapshot, err error) {
	t.Helper()
	text, err := get("http://" + p.addr(t) + "/api/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

// says is what the program's own commands print of it.
func (p *process) says(t *testing.T, command ...string) string {
	t.Helper()
	if len(command) == 0 {
		command = []string{"status"}
	}
	out, err := exec.Command(p.program, append(command, "--address=http://"+p.addr(t))...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// holds is nil when the tuner holds the lease, or stands by, as wanted.
func (p *process) holds(t *testing.T, want bool) error {
	s, err := p.status(t)
	if err == nil && ((s.State == status.Baseline || s.Term > 0) != want || (s.State == status.Standby) == want) {
		err = fmt.Errorf("got %s (%s), term %d", s.State, s.Reason, s.Term)
	}
	return err
}

// stop ends the program as Kubernetes would.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.proc.Stop(20 * time.Second); err != nil {
		t.Fatalf("stop %s: %v\n%s", p.pod, err, p.tail())
	}
}

func get(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, r.Status, text)
	}
	return string(text), err
}
