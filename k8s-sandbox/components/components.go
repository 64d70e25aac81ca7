// Package components is the wiring of the embedded Kubernetes: which upstream program runs with which configuration, and what tells that
// it is healthy.
//
// It promises that nothing listens outside the node's own network namespace and that every connection between components is
// authenticated by client certificates. Containerd is the distribution's; the rest is the kube binary.
package components

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
	"github.com/kafkalab/kafkalab/k8s-sandbox/pki"
	"github.com/kafkalab/kafkalab/k8s-sandbox/supervise"
)

//go:embed config
var configs embed.FS

// CNIBin is where Debian's containernetworking-plugins puts its programs.
const CNIBin = "/usr/lib/cni"

const frontProxy = "front-proxy-client"

const apiURL = "https://" + layout.NodeIP + ":6443"

// Prepare writes certificates, kubeconfigs and configuration files. It keeps what is there and valid.
func Prepare(l layout.Layout, apiPort int) error {
	for _, d := range []string{l.Config("cni"), l.Log("pods"), l.State("kubelet"), l.State("cni"), l.State("etcd")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
	}
	if err := pki.Ensure(l.PKI(), leaves()); err != nil {
		return err
	}
	// The aggregation layer trusts headers from whoever holds a certificate of this authority: it must not be the one that signs users.
	if err := pki.Ensure(l.PKI("front-proxy"), []pki.Leaf{{Name: "client", CommonName: frontProxy}}); err != nil {
		return err
	}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml"} {
		if err := render(l, name, l.Config(name)); err != nil {
			return err
		}
	}
	if err := render(l, "cni.conflist", l.Config("cni", "10-kafkalab.conflist")); err != nil {
		return err
	}
	if err := os.WriteFile(l.Config("resolv.conf"), nil, 0o644); err != nil {
		return fmt.Errorf("write resolv.conf: %w", err)
	}
	for _, c := range []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"} {
		if err := kubeconfig(l, c, apiURL, l.Config(c+".kubeconfig")); err != nil {
			return err
		}
	}
	return kubeconfig(l, "admin", fmt.Sprintf("https://127.0.0.1:%d", apiPort), l.Kubeconfig())
}

func leaves() []pki.Leaf {
	node := []string{"127.0.0.1", "localhost", layout.NodeIP, layout.NodeName}
	api := append([]string{layout.APIService, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local"}, node...)
	return []pki.Leaf{
		{Name: "etcd", CommonName: "etcd", Hosts: node},
		{Name: "etcd-client", CommonName: "kube-apiserver"},
		{Name: "apiserver", CommonName: "kube-apiserver", Hosts: api},
		{Name: "apiserver-kubelet", CommonName: "kube-apiserver-kubelet-client", Organization: "system:masters"},
		{Name: "kubelet", CommonName: "system:node:" + layout.NodeName, Organization: "system:nodes", Hosts: node},
		{Name: "kube-controller-manager", CommonName: "system:kube-controller-manager"},
		{Name: "kube-scheduler", CommonName: "system:kube-scheduler"},
		{Name: "kube-proxy", CommonName: "system:kube-proxy"},
		{Name: "admin", CommonName: "kafkalab-admin", Organization: "system:masters"},
	}
}

// render fills in a configuration file and replaces it whole.
func render(l layout.Layout, name, file string) error {
	t, err := template.ParseFS(configs, "config/"+name)
	if err != nil {
		return fmt.Errorf("read template %s: %w", name, err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"State": l.State(), "Run": l.Run, "PKI": l.PKI(), "Log": l.Log(), "CNIBin": CNIBin,
		"NodeIP": layout.NodeIP, "NodeName": layout.NodeName, "PodCIDR": layout.PodCIDR, "NodePodCIDR": layout.NodePodCIDR,
		"DNSService": layout.DNSService, "CgroupRoot": layout.CgroupRoot,
	})
	if err != nil {
		return fmt.Errorf("fill in %s: %w", name, err)
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	return os.Rename(tmp, file)
}

// kubeconfig holds its certificates inline, so that one file can be handed on.
func kubeconfig(l layout.Layout, user, server, file string) error {
	conf := clientcmdapi.NewConfig()
	cluster, auth := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	cluster.Server = server
	for dst, name := range map[*[]byte]string{
		&cluster.CertificateAuthorityData: "ca.crt", &auth.ClientCertificateData: user + ".crt", &auth.ClientKeyData: user + ".key",
	} {
		data, err := os.ReadFile(l.PKI(name))
		if err != nil {
			return fmt.Errorf("read certificate for kubeconfig: %w", err)
		}
		*dst = data
	}
	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo = "kafkalab", user
	conf.Clusters["kafkalab"], conf.AuthInfos[user], conf.Contexts["kafkalab"] = cluster, auth, context
	conf.CurrentContext = "kafkalab"
	if err := clientcmd.WriteToFile(*conf, file); err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	return os.Chmod(file, 0o600)
}

// All are the components in the order in which they start.
func All(l layout.Layout) []supervise.Component {
	kube := func(args ...string) []string { return append([]string{l.Bin("kube")}, args...) }
	p := newProber(l)
	return []supervise.Component{
		{Name: "etcd", Args: kube(etcd(l)...), Grace: 10 * time.Second, Probe: p.get("https://127.0.0.1:2379/health", "etcd-client")},
		{Name: "containerd", Args: []string{"containerd", "--config", l.Config("containerd.toml")}, Grace: 10 * time.Second, Probe: p.containerd},
		// It would wait a minute for the watches that pods hold; what it has answered is in etcd.
		{Name: "kube-apiserver", Args: kube(apiserver(l)...), After: []string{"etcd"}, Grace: 2 * time.Second,
			Probe: p.get(apiURL+"/readyz", "admin")},
		{Name: "kube-controller-manager", Args: kube(controllerManager(l)...), After: []string{"kube-apiserver"},
			Grace: 5 * time.Second, Probe: p.get("https://127.0.0.1:10257/healthz", "")},
		{Name: "kube-scheduler", Args: kube(scheduler(l)...), After: []string{"kube-apiserver"},
			Grace: 5 * time.Second, Probe: p.get("https://127.0.0.1:10259/healthz", "")},
		{Name: "kubelet", Args: kube(kubelet(l)...), After: []string{"kube-apiserver", "containerd"},
			Grace: 10 * time.Second, Probe: p.get("http://127.0.0.1:10248/healthz", "")},
		{Name: "kube-proxy", Args: kube(kubeProxy(l)...), After: []string{"kube-apiserver"},
			Grace: 5 * time.Second, Probe: p.get("http://127.0.0.1:10256/healthz", "")},
	}
}

func etcd(l layout.Layout) []string {
	return []string{"etcd", "--name=" + layout.NodeName, "--data-dir=" + l.State("etcd"), "--log-level=warn",
		"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
		"--listen-peer-urls=https://127.0.0.1:2380", "--initial-advertise-peer-urls=https://127.0.0.1:2380",
		"--initial-cluster=" + layout.NodeName + "=https://127.0.0.1:2380",
		"--cert-file=" + l.PKI("etcd.crt"), "--key-file=" + l.PKI("etcd.key"), "--trusted-ca-file=" + l.PKI("ca.crt"), "--client-cert-auth",
		"--peer-cert-file=" + l.PKI("etcd.crt"), "--peer-key-file=" + l.PKI("etcd.key"),
		"--peer-trusted-ca-file=" + l.PKI("ca.crt"), "--peer-client-cert-auth",
		"--auto-compaction-retention=1h", "--quota-backend-bytes=1073741824"}
}

func apiserver(l layout.Layout) []string {
	return []string{"kube-apiserver", "--bind-address=" + layout.NodeIP, "--advertise-address=" + layout.NodeIP, "--secure-port=6443",
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + l.PKI("ca.crt"),
		"--etcd-certfile=" + l.PKI("etcd-client.crt"), "--etcd-keyfile=" + l.PKI("etcd-client.key"),
		"--client-ca-file=" + l.PKI("ca.crt"), "--tls-cert-file=" + l.PKI("apiserver.crt"), "--tls-private-key-file=" + l.PKI("apiserver.key"),
		"--kubelet-certificate-authority=" + l.PKI("ca.crt"),
		"--kubelet-client-certificate=" + l.PKI("apiserver-kubelet.crt"), "--kubelet-client-key=" + l.PKI("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + layout.ServiceCIDR, "--authorization-mode=Node,RBAC", "--anonymous-auth=false",
		"--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + l.PKI("sa.pub"), "--service-account-signing-key-file=" + l.PKI("sa.key"),
		"--requestheader-client-ca-file=" + l.PKI("front-proxy", "ca.crt"), "--requestheader-allowed-names=" + frontProxy,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + l.PKI("front-proxy", "client.crt"), "--proxy-client-key-file=" + l.PKI("front-proxy", "client.key"),
		"--event-ttl=24h", "--shutdown-delay-duration=0s"}
}

func controllerManager(l layout.Layout) []string {
	conf := l.Config("kube-controller-manager.kubeconfig")
	return []string{"kube-controller-manager", "--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true", "--profiling=false",
		"--root-ca-file=" + l.PKI("ca.crt"), "--service-account-private-key-file=" + l.PKI("sa.key"),
		"--cluster-signing-cert-file=" + l.PKI("ca.crt"), "--cluster-signing-key-file=" + l.PKI("ca.key"),
		"--allocate-node-cidrs=true", "--cluster-cidr=" + layout.PodCIDR, "--service-cluster-ip-range=" + layout.ServiceCIDR,
		// One node: a pod on a node that is gone cannot go elsewhere, so eviction after five minutes would only lose it.
		"--node-monitor-grace-period=40s"}
}

func scheduler(l layout.Layout) []string {
	conf := l.Config("kube-scheduler.kubeconfig")
	return []string{"kube-scheduler", "--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false"}
}

func kubelet(l layout.Layout) []string {
	return []string{"kubelet", "--config=" + l.Config("kubelet.yaml"), "--kubeconfig=" + l.Config("kubelet.kubeconfig"),
		"--root-dir=" + l.State("kubelet"), "--cert-dir=" + l.PKI(), "--hostname-override=" + layout.NodeName, "--node-ip=" + layout.NodeIP}
}

func kubeProxy(l layout.Layout) []string {
	return []string{"kube-proxy", "--config=" + l.Config("kube-proxy.yaml")}
}
