package manifests_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// serviceMonitor is what the manifests use of the Prometheus operator's kind, by its documented names: its module would bring the whole
// operator's dependencies for six fields.
type serviceMonitor struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector        meta.LabelSelector `json:"selector"`
		JobLabel        string             `json:"jobLabel"`
		Endpoints       []endpoint         `json:"endpoints"`
		ScrapeProtocols []string           `json:"scrapeProtocols"`
	} `json:"spec"`
}

// podMonitor likewise.
type podMonitor struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Selector        meta.LabelSelector `json:"selector"`
		JobLabel        string             `json:"jobLabel"`
		Endpoints       []endpoint         `json:"podMetricsEndpoints"`
		ScrapeProtocols []string           `json:"scrapeProtocols"`
	} `json:"spec"`
}

type endpoint struct {
	Port          string `json:"port"`
	Path          string `json:"path"`
	Interval      string `json:"interval"`
	ScrapeTimeout string `json:"scrapeTimeout"`
}

// with builds an overlay with a component, as a user's own overlay would.
func with(t *testing.T, overlay, component string) built {
	t.Helper()
	return build(t, written(t, map[string]string{
		"kustomization.yaml": fmt.Sprintf("resources: [ROOT/overlays/%s]\ncomponents: [ROOT/components/%s]\n", overlay, component),
	}))
}

func TestTheExporterHasNoMoreRightsThanItNeeds(t *testing.T) {
	for _, name := range []string{"local", "existing", "watch"} {
		b := build(t, overlay(name))
		pod := get[*apps.Deployment](t, b, "Deployment/kafkalab/exporter").Spec.Template.Spec
		c := pod.Containers[0]
		if pod.ServiceAccountName != "" || len(pod.Volumes) > 0 || pod.HostNetwork || len(pod.Containers) != 1 {
			t.Errorf("%s: want a pod without an account, volumes and the host's network (got %+v)", name, pod)
		}
		if user := pod.SecurityContext.RunAsUser; user == nil || *user == 0 || !*pod.SecurityContext.RunAsNonRoot {
			t.Errorf("%s: want a user that is not root", name)
		}
		for path, probe := range map[string]*core.Probe{"/-/ready": c.ReadinessProbe, "/-/healthy": c.LivenessProbe} {
			if probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "metrics" {
				t.Errorf("%s: want a probe of %s at the metrics' port (got %+v)", name, path, probe.HTTPGet)
			}
		}
		for key := range b {
			if kind, _, _ := strings.Cut(key, "/"); strings.HasSuffix(key, "/exporter") && !slices.Contains([]string{"Deployment", "Service", "NetworkPolicy"}, kind) {
				t.Errorf("%s, %s: want neither rights nor an account for the exporter, which does not use the API", name, key)
			}
		}
	}
}

func TestTheOperatorsMonitorFindsTheExporter(t *testing.T) {
	b := with(t, "existing", "service-monitor")
	monitor := get[*serviceMonitor](t, b, "ServiceMonitor/kafkalab/exporter")
	service := get[*core.Service](t, b, "Service/kafkalab/exporter")
	selector, err := meta.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(service.Labels)) || monitor.Namespace != service.Namespace {
		t.Errorf("want a monitor that selects the Service, labels %v (got %v, %v)", service.Labels, monitor.Spec.Selector, err)
	}
	for key, object := range b {
		if s, ok := object.(*core.Service); ok && s.Name != "exporter" && s.Namespace == monitor.Namespace && selector.Matches(labels.Set(s.Labels)) {
			t.Errorf("%s: want only the exporter selected", key)
		}
	}
	if service.Labels[monitor.Spec.JobLabel] != "exporter" {
		t.Errorf("want the job called exporter, as our own Prometheus does (got label %q of %v)", monitor.Spec.JobLabel, service.Labels)
	}
	for _, e := range monitor.Spec.Endpoints {
		if !slices.ContainsFunc(service.Spec.Ports, func(p core.ServicePort) bool { return p.Name == e.Port }) {
			t.Errorf("want a port of the Service, %v (got %q)", service.Spec.Ports, e.Port)
		}
		interval, err1 := time.ParseDuration(e.Interval)
		timeout, err2 := time.ParseDuration(e.ScrapeTimeout)
		if err1 != nil || err2 != nil || timeout > interval {
			t.Errorf("want a timeout of at most the interval, or Prometheus refuses the whole configuration (got %q and %q)", e.ScrapeTimeout, e.Interval)
		}
	}
	if len(monitor.Spec.Endpoints) != 1 || len(monitor.Spec.ScrapeProtocols) == 0 || monitor.Spec.ScrapeProtocols[0] != "PrometheusProto" {
		t.Errorf("want one endpoint, asked for protobuf first, which carries native histograms (got %+v)", monitor.Spec)
	}
	for _, name := range []string{"local", "existing", "watch"} {
		for key := range build(t, overlay(name)) {
			if strings.HasPrefix(key, "ServiceMonitor/") {
				t.Errorf("%s, %s: want it only where it is asked for: a cluster without the operator refuses it", name, key)
			}
		}
	}
}

func TestTheNetworkPolicyLetsThroughWhatIsNeededAndNothingElse(t *testing.T) {
	for name, b := range map[string]built{
		"local": build(t, overlay("local")), "existing": with(t, "existing", "network-policy"), "watch": with(t, "watch", "network-policy"),
	} {
		policy := get[*networking.NetworkPolicy](t, b, "NetworkPolicy/kafkalab/exporter").Spec
		exporter := get[*apps.Deployment](t, b, "Deployment/kafkalab/exporter").Spec.Template
		selected, err := meta.LabelSelectorAsSelector(&policy.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		for key, pod := range pods(b) {
			if got, want := selected.Matches(labels.Set(pod.Labels)), strings.HasSuffix(key, "/exporter"); got != want && strings.Contains(key, "/kafkalab/") {
				t.Errorf("%s, %s: want the policy for the exporter alone", name, key)
			}
		}
		if !slices.Contains(policy.PolicyTypes, networking.PolicyTypeIngress) || !slices.Contains(policy.PolicyTypes, networking.PolicyTypeEgress) {
			t.Errorf("%s: want both directions held (got %v)", name, policy.PolicyTypes)
		}
		for key, pod := range pods(b) {
			namespace := strings.Split(key, "/")[1]
			in := false
			for _, rule := range policy.Ingress {
				in = in || admits(t, rule.From, namespace, pod) && opens(rule.Ports, exporter.Spec.Containers[0].Ports[0])
			}
			if want := strings.HasSuffix(key, "/prometheus"); in != want {
				t.Errorf("%s: a scrape from %s: want %v, got %v", name, key, want, in)
			}
			for _, port := range pod.Spec.Containers[0].Ports {
				out := false
				for _, rule := range policy.Egress {
					out = out || admits(t, rule.To, namespace, pod) && opens(rule.Ports, port)
				}
				// Clients in the cluster find the broker at its listener for inside.
				if want := port.Name == "internal" && namespace == "kafka" || strings.HasPrefix(port.Name, "dns"); out != want {
					t.Errorf("%s: a connection to %s, port %s: want %v, got %v", name, key, port.Name, want, out)
				}
			}
		}
	}
}

// admits says whether one of the peers is the pod; namespaces have the label that Kubernetes itself gives them.
func admits(t *testing.T, peers []networking.NetworkPolicyPeer, namespace string, pod core.PodTemplateSpec) bool {
	t.Helper()
	matches := func(s *meta.LabelSelector, with labels.Set) bool {
		if s == nil {
			return true
		}
		selector, err := meta.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return selector.Matches(with)
	}
	return slices.ContainsFunc(peers, func(p networking.NetworkPolicyPeer) bool {
		inside := namespace == "kafkalab" || p.NamespaceSelector != nil // without one, only the policy's own namespace is meant
		return p.IPBlock == nil && inside && matches(p.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": namespace}) && matches(p.PodSelector, pod.Labels)
	})
}

func opens(ports []networking.NetworkPolicyPort, to core.ContainerPort) bool {
	return slices.ContainsFunc(ports, func(p networking.NetworkPolicyPort) bool {
		want, got := core.ProtocolTCP, core.ProtocolTCP
		if p.Protocol != nil {
			want = *p.Protocol
		}
		if to.Protocol != "" {
			got = to.Protocol
		}
		return want == got && p.Port != nil && (*p.Port == intstr.FromInt32(to.ContainerPort) || *p.Port == intstr.FromString(to.Name))
	})
}
