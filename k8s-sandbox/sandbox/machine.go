package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// packages are the Debian packages that the sandbox and the image build need, by a program of each.
func packages() []struct{ pkg, file string } {
	return []struct{ pkg, file string }{
		{"containerd", "containerd"}, {"runc", "runc"}, {"containernetworking-plugins", "/usr/lib/cni/ptp"},
		{"iptables", "iptables"}, {"nftables", "nft"}, {"conntrack", "conntrack"}, {"iproute2", "ip"}, {"util-linux", "nsenter"},
		{"mount", "mount"}, {"debootstrap", "debootstrap"}, {"buildah", "buildah"},
	}
}

// Missing names the Debian packages that are not there; an agent's image needs one more.
func Missing(agent bool) []string {
	var missing []string
	for _, p := range packages() {
		found := false
		if filepath.IsAbs(p.file) {
			_, err := os.Stat(p.file)
			found = err == nil
		} else {
			_, err := exec.LookPath(p.file)
			found = err == nil
		}
		if !found {
			missing = append(missing, p.pkg)
		}
	}
	if agent && exec.Command("python3", "-c", "import ensurepip, venv").Run() != nil {
		missing = append(missing, "python3-venv")
	}
	return missing
}

// Limits are what a broker may use: what was asked for, cut to what there is, and shared by all brokers.
type Limits struct {
	CPUs   string // a Kubernetes quantity, e.g. 1500m
	Memory string // e.g. 4Gi
	Said   string // one line for people: what and why
}

// Room is what there is to share between Kafka and others, and what those need of it.
type Room struct {
	CPUs, OthersCPUs     float64
	Memory, OthersMemory int64
	Where, Others        string // for people
}

// Machine is the room on this machine, where the whole stack runs.
func Machine() Room {
	return Room{CPUs: float64(runtime.NumCPU()), Memory: totalMemory(), OthersCPUs: 0.5, OthersMemory: 3 << 30,
		Where: "this machine", Others: "the rest of the stack"}
}

// Container is the room in a container of that size, where Kubernetes and Kafka run; the rest of the stack is in others.
func Container(cpus float64, memory int64) Room {
	return Room{CPUs: cpus, Memory: memory, OthersCPUs: 0.5, OthersMemory: 1 << 30, Where: "the container", Others: "Kubernetes"}
}

// thisContainer is the room in the container that this process runs in: the machine's, as far as the container's limits let it.
func thisContainer() Room {
	cpus, memory := float64(runtime.NumCPU()), totalMemory()
	c, m := cgroup.Bound(cgroup.Top)
	if c > 0 {
		cpus = min(cpus, c)
	}
	if m > 0 {
		memory = min(memory, m)
	}
	return Container(cpus, memory)
}

const (
	defaultCPUs   = 4.0
	defaultMemory = 4 << 30
	minMemory     = 768 << 20 // for one broker: 256 MB heap, the JVM's own needs, and page cache to speak of
)

// Asked reads SANDBOX_CPUS and SANDBOX_MEMORY.
func Asked(getenv func(string) string) (cpus float64, memory int64, err error) {
	cpus, err1 := parseCPUs(getenv("SANDBOX_CPUS"))
	memory, err2 := parseMemory(getenv("SANDBOX_MEMORY"))
	return cpus, memory, errors.Join(err1, err2)
}

// LimitsOf is what Kafka gets in all, and each broker of it.
func LimitsOf(getenv func(string) string, brokers int, room Room) (Limits, error) {
	cpus, memory, err := Asked(getenv)
	if err != nil {
		return Limits{}, err
	}
	asked := Limits{CPUs: quantityCPUs(cpus), Memory: quantityMemory(memory)}
	cpus = min(cpus, max(0.5, room.CPUs-room.OthersCPUs))
	memory = max(int64(brokers)*minMemory, min(memory, room.Memory-room.OthersMemory))
	got := Limits{CPUs: quantityCPUs(cpus), Memory: quantityMemory(memory)}
	got.Said = fmt.Sprintf("Kafka gets %s CPUs and %s of memory", got.CPUs, got.Memory)
	if got.CPUs != asked.CPUs || got.Memory != asked.Memory {
		got.Said += fmt.Sprintf(" (asked for %s and %s; %s has %g CPUs and %s, and %s needs its share)",
			asked.CPUs, asked.Memory, room.Where, room.CPUs, quantityMemory(room.Memory), room.Others)
	}
	if brokers > 1 {
		got.CPUs, got.Memory = quantityCPUs(cpus/float64(brokers)), quantityMemory(memory/int64(brokers)>>20<<20)
		got.Said += fmt.Sprintf("; each of %d brokers %s and %s", brokers, got.CPUs, got.Memory)
	}
	return got, nil
}

func parseCPUs(v string) (float64, error) {
	if v == "" {
		return defaultCPUs, nil
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n >= 0.5 && n <= 256) {
		return 0, fmt.Errorf("SANDBOX_CPUS: want a number of CPUs from 0.5 to 256 (got %q)", v)
	}
	return n, nil
}

func parseMemory(v string) (int64, error) {
	if v == "" {
		return defaultMemory, nil
	}
	lower := strings.ToLower(v)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"gi", 1 << 30}, {"mi", 1 << 20}, {"g", 1 << 30}, {"m", 1 << 20}} {
		if num, ok := strings.CutSuffix(lower, u.suffix); ok {
			n, err := strconv.ParseFloat(num, 64)
			if err == nil && n > 0 && n < 1<<20 && int64(n*float64(u.bytes)) >= minMemory {
				return int64(n * float64(u.bytes)), nil
			}
			break
		}
	}
	return 0, fmt.Errorf("SANDBOX_MEMORY: want an amount such as 4Gi or 2048Mi, at least %s (got %q)", quantityMemory(minMemory), v)
}

func quantityCPUs(n float64) string {
	if n == float64(int(n)) {
		return strconv.Itoa(int(n))
	}
	return strconv.Itoa(int(n*1000)) + "m"
}

func quantityMemory(n int64) string {
	if n%(1<<30) == 0 {
		return strconv.FormatInt(n>>30, 10) + "Gi"
	}
	return strconv.FormatInt(n>>20, 10) + "Mi"
}

func totalMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(s.Text(), "MemTotal: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

const (
	needDisk   = 8 << 30 // images 1 GB, containerd's copy of them, Kafka's log, Prometheus' data
	needMemory = 4 << 30
)

// Check finds everything that would make a build, or with start a build and a start, fail, before anything is made. Debian packages are
// left out: as root the build installs them.
func (s *Sandbox) Check(start bool) error {
	if err := s.checkSystem(); err != nil {
		return err
	}
	errs := []error{checkTools()}
	if start {
		errs = append(errs, s.agent.findKey(s.conf.Getenv), s.checkAddresses())
	}
	return errors.Join(append(errs, s.checkRoom())...)
}

// checkTools looks for what a build needs besides the packages of images.
func checkTools() error {
	var errs []error
	for _, tool := range []struct{ program, pkg, why string }{
		{"java", "openjdk-17-jre-headless", "fetching Kafka's distribution"},
		{"mvn", "maven", "fetching Kafka's distribution"},
		{"go", "golang-go (or a newer one from go.dev)", "building"},
	} {
		if _, err := exec.LookPath(tool.program); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing, which %s needs: install %s", tool.program, tool.why, tool.pkg))
		}
	}
	return errors.Join(errs...)
}

func (s *Sandbox) checkSystem() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the embedded sandbox needs Linux (this is %s): use SANDBOX=existing with a kubeconfig", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return errors.New("the embedded sandbox needs root, for containers and a network namespace of their own: run it with sudo, " +
			"or use SANDBOX=existing with a kubeconfig")
	}
	return nil
}

// preflight is what Up looks at.
func (s *Sandbox) preflight() error {
	if err := s.checkSystem(); err != nil {
		return err
	}
	errs := []error{s.agent.findKey(s.conf.Getenv)}
	hideKeys()
	if missing := Missing(s.agent.kind != ""); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("missing Debian packages: apt-get install -y --no-install-recommends %s", strings.Join(missing, " ")))
	}
	return errors.Join(append(errs, s.checkAddresses(), s.checkRoom(), checkTunerFile(s.l, s.tunerFile()))...)
}

// checkTunerFile asks the tuner itself: in its pod a bad file would only be seen as a container that ends again and again.
func checkTunerFile(l layout.Layout, file string) error {
	out, err := exec.Command(l.Bin("tuner"), "run", "--config.check", "--config.file="+file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the tuner does not take %s: %w:\n%s", file, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *Sandbox) tunerFile() string {
	return s.setting("LAB_FILE", filepath.Join(s.l.Checkout, "lab.yaml"))
}

func (s *Sandbox) checkAddresses() error {
	return errors.Join(s.checkOwner(), s.checkPorts(), checkRange())
}

// checkRoom looks at disk and memory.
func (s *Sandbox) checkRoom() error {
	var errs []error
	if err := os.MkdirAll(s.l.Lab, 0o755); err != nil {
		errs = append(errs, fmt.Errorf("make state directory: %w", err))
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.l.Lab, &fs); err == nil && !s.running() {
		if free := int64(fs.Bavail) * fs.Bsize; free < needDisk {
			errs = append(errs, fmt.Errorf("disk: %s has %s free, the sandbox needs %s", s.l.Lab, quantityMemory(free>>20<<20), quantityMemory(needDisk)))
		}
	}
	if m := totalMemory(); m < needMemory {
		errs = append(errs, fmt.Errorf("memory: this machine has %s, the sandbox needs %s", quantityMemory(m), quantityMemory(needMemory)))
	}
	return errors.Join(errs...)
}

// checkOwner refuses a second checkout: addresses and control groups are one set for a machine.
func (s *Sandbox) checkOwner() error {
	data, err := os.ReadFile(s.l.Owner())
	owner := strings.TrimSpace(string(data))
	if err != nil || owner == s.l.Checkout {
		return nil
	}
	if real, err := filepath.EvalSymlinks(owner); err == nil && real == s.l.Checkout {
		return nil
	}
	return fmt.Errorf("another checkout's sandbox is on this machine: %s (run make down there first)", owner)
}

// checkPorts leaves those of a sandbox that is up alone. One whose supervisor was killed still leads its ports to itself: they can be bound, and reached.
func (s *Sandbox) checkPorts() error {
	if s.running() {
		return nil
	}
	if _, err := os.Lstat(s.l.Owner()); err == nil {
		return freePorts(s.ports, bindable)
	}
	return freePorts(s.ports, bindable, unreachable)
}

// freePorts names each port that somebody has, as one of the tests says.
func freePorts(ports []layout.Port, tests ...func(addr string) bool) error {
	var errs []error
	for _, p := range ports {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Host))
		if slices.ContainsFunc(tests, func(free func(string) bool) bool { return !free(addr) }) {
			errs = append(errs, fmt.Errorf("port for %s: %s is in use%s: end what listens there or set %s to another port", p.Name, addr, listener(p.Host), p.Env))
		}
	}
	return errors.Join(errs...)
}

func bindable(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// unreachable is false for a port of an embedded sandbox too, which the kernel leads into it without anybody listening.
func unreachable(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return true
	}
	c.Close()
	return false
}

// listener says who listens on a port, as far as ss can tell.
func listener(port int) string {
	out, err := exec.Command("ss", "-H", "-ltnp", "sport", "=", ":"+strconv.Itoa(port)).Output()
	if err != nil {
		return ""
	}
	if _, users, ok := strings.Cut(string(out), "users:(("); ok {
		if name, _, ok := strings.Cut(users, ","); ok {
			return " by " + strings.Trim(name, `"`)
		}
	}
	return ""
}

// checkRange refuses a machine that uses the sandbox's addresses for something else.
func checkRange() error {
	_, ours, err := net.ParseCIDR(layout.Range)
	if err != nil {
		return err
	}
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range links {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if ip, _, err := net.ParseCIDR(a.String()); err == nil && ours.Contains(ip) && i.Name != layout.HostLink {
				return fmt.Errorf("addresses: interface %s has %s, and the sandbox uses %s", i.Name, a, layout.Range)
			}
		}
	}
	return nil
}
