// Package layout says where everything of the embedded sandbox lives: files, addresses and ports.
//
// It holds facts and no behaviour. Every other package takes its paths and addresses from here, so that "what did make up
// make" has one answer, which down, status and the tests share.
package layout

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
)

// Addresses inside the sandbox's own network namespace. 198.18.0.0/15 is set aside for benchmarking (RFC 2544): it is never
// an office's or the internet's, so a packet that strays can reach nobody.
const (
	Range       = "198.18.0.0/15"
	PodCIDR     = "198.18.0.0/16"
	NodePodCIDR = "198.18.0.0/24"
	ServiceCIDR = "198.19.0.0/20"
	APIService  = "198.19.0.1" // the first of ServiceCIDR is always the Service "kubernetes"
	DNSService  = "198.19.0.10"
	HostIP      = "198.19.255.1" // the machine's end of the link
	NodeIP      = "198.19.255.2" // the node's end
	LinkPrefix  = "/30"

	NodeName   = "kafkalab"
	HostLink   = "kafkalab0"
	NodeLink   = "node0"
	NFTable    = "kafkalab"
	CgroupRoot = "/kafkalab"

	APIPort   = 6443
	RelayPort = 18098 // on HostIP, while an agent is at work whose model is outside
)

// Port is an address that the sandbox offers on the machine's loopback, and the node port it leads to.
type Port struct {
	Name string // what is there
	Env  string // the variable that changes it
	Host int    // on 127.0.0.1
	Node int    // on the node
}

// DefaultPorts are the addresses of the contract (design §4), API first.
func DefaultPorts() []Port {
	return []Port{
		{"kubernetes", "API_PORT", APIPort, APIPort},
		{"kafka", "KAFKA_PORT", 9092, 30092},
		{"prometheus", "PROMETHEUS_PORT", 9090, 30090},
		{"exporter", "EXPORTER_PORT", 9308, 30308},
		{"loadgen", "LOADGEN_PORT", 9400, 30400},
		{"tuner", "TUNER_PORT", 9500, 30500},
	}
}

// Ports are the default ports as changed by the environment; each further broker has the next one, on the machine as on the node. The error names each
// bad variable.
func Ports(getenv func(string) string, brokers int) ([]Port, error) {
	ports := DefaultPorts()
	seen := map[int]string{}
	for i := range ports {
		p := &ports[i]
		if v := getenv(p.Env); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > 65535 {
				return nil, fmt.Errorf("%s: want a port from 1 to 65535 (got %q)", p.Env, v)
			}
			p.Host = n
		}
	}
	first := ports[slices.IndexFunc(ports, func(p Port) bool { return p.Name == "kafka" })]
	for n := 1; n < brokers; n++ {
		ports = append(ports, Port{fmt.Sprintf("kafka-%d", n), first.Env, first.Host + n, first.Node + n})
	}
	for _, p := range ports {
		if other, taken := seen[p.Host]; taken {
			return nil, fmt.Errorf("%s: port %d is %s's already", p.Env, p.Host, other)
		}
		seen[p.Host] = p.Name
	}
	return ports, nil
}

// Layout holds the two places that the sandbox writes to.
type Layout struct {
	Checkout string // the clone
	Lab      string // state and logs: .lab in the clone
	Run      string // sockets, pid files, mounts: short, because a socket's path may hold 107 bytes at most
	Status   string // latency.txt and latency.json
}

// New is the layout of a checkout. Where .lab leads elsewhere, to a larger disk, it is named as the kernel names what is mounted in it.
func New(checkout string) Layout {
	lab := filepath.Join(checkout, ".lab")
	if real, err := filepath.EvalSymlinks(lab); err == nil {
		lab = real
	}
	return Layout{Checkout: checkout, Lab: lab, Run: "/run/kafkalab", Status: "/tmp/status"}
}

func (l Layout) in(parts ...string) string {
	return filepath.Join(append([]string{l.Lab}, parts...)...)
}

// Bin is where the build puts a program.
func (l Layout) Bin(name string) string { return l.in("bin", name) }

// Images holds the archives that the image build leaves.
func (l Layout) Images() string { return l.in("images") }

// State is everything that up makes below .lab and down removes. What the build made (bin, images, …) is not in it.
func (l Layout) State(parts ...string) string { return l.in(append([]string{"state"}, parts...)...) }

// PKI, Config, Log, Data and Kustomize are the parts of State.
func (l Layout) PKI(parts ...string) string { return l.State(append([]string{"pki"}, parts...)...) }
func (l Layout) Config(parts ...string) string {
	return l.State(append([]string{"config"}, parts...)...)
}
func (l Layout) Data(parts ...string) string { return l.State(append([]string{"data"}, parts...)...) }

// Log is where component logs are. They outlive a crash, not a down.
func (l Layout) Log(parts ...string) string { return l.in(append([]string{"log"}, parts...)...) }

// Kustomize is the generated top overlay: relative paths in it lead from here to the checkout's manifests.
func (l Layout) Kustomize() string { return l.in("kustomize") }

// Kubeconfig is the administrator's, AgentKubeconfig what an agent gets. Both are readable by their owner only.
func (l Layout) Kubeconfig() string      { return l.in("kubeconfig") }
func (l Layout) AgentKubeconfig() string { return l.in("agent.kubeconfig") }

// Netns, Containerd, Supervisor, Lock, Relay, Ready and Pids are below Run.
func (l Layout) Netns() string           { return filepath.Join(l.Run, "netns") }
func (l Layout) Containerd() string      { return filepath.Join(l.Run, "containerd.sock") }
func (l Layout) ContainerdState() string { return filepath.Join(l.Run, "containerd") }
func (l Layout) Supervisor() string      { return filepath.Join(l.Run, "supervisor.sock") }
func (l Layout) Lock() string            { return filepath.Join(l.Run, "lock") }
func (l Layout) Relay() string           { return filepath.Join(l.Run, "relay") }
func (l Layout) Owner() string           { return filepath.Join(l.Run, "checkout") }
func (l Layout) Ready() string           { return filepath.Join(l.Run, "ready") }
func (l Layout) Pids(name string) string { return filepath.Join(l.Run, "pids", name) }
