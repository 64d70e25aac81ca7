// Package manifests_test checks the manifests as kubectl would build them: that they are valid and as safe as they say, that the overlay
// which the sandbox writes reaches every place it must, and that what is written down twice agrees. What needs a cluster is not here: the
// cases of policy_cases.yaml are run by the end-to-end tests.
package manifests_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	budgets "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

func TestSettingsReachEveryPlace(t *testing.T) {
	b := build(t, generated(t))
	kafka := get[*apps.StatefulSet](t, b, "StatefulSet/kafka/kafka").Spec.Template.Spec.Containers[0]
	tuner := get[*apps.StatefulSet](t, b, "StatefulSet/kafkalab/tuner").Spec.Template.Spec.Containers[0]
	loadgen := get[*apps.Deployment](t, b, "Deployment/kafkalab/loadgen").Spec.Template.Spec.Containers[0]
	limits := get[*core.ConfigMap](t, b, "ConfigMap/kafka/kafka-limits").Data
	volume := func(name string) string {
		return get[*core.PersistentVolume](t, b, "PersistentVolume//kafkalab-"+name).Spec.HostPath.Path
	}
	for place, c := range map[string]struct{ got, want string }{
		"Kafka's CPU request":          {kafka.Resources.Requests.Cpu().String(), "1234m"},
		"Kafka's CPU limit":            {kafka.Resources.Limits.Cpu().String(), "1234m"},
		"Kafka's memory request":       {kafka.Resources.Requests.Memory().String(), "2345Mi"},
		"Kafka's memory limit":         {kafka.Resources.Limits.Memory().String(), "2345Mi"},
		"the CPUs an agent reads":      {limits["cpus"], "1234m"},
		"the memory an agent reads":    {limits["memory"], "2345Mi"},
		"the CPUs the tuner is told":   {env(t, tuner, "SANDBOX_CPUS"), "1234m"},
		"the memory the tuner is told": {env(t, tuner, "SANDBOX_MEMORY"), "2345Mi"},
		"heap":                         {env(t, kafka, "KAFKA_HEAP_OPTS"), "-Xms301m -Xmx302m"},
		"network threads":              {env(t, kafka, "KAFKA_NUM_NETWORK_THREADS"), "5"},
		"I/O threads":                  {env(t, kafka, "KAFKA_NUM_IO_THREADS"), "7"},
		"the address for the machine":  {env(t, kafka, "EXTERNAL_ADDRESS"), "127.0.0.1:19092"},
		"the workload":                 {env(t, loadgen, "WORKLOAD"), "chatty"},
		"the objective":                {env(t, loadgen, "SLO_P99"), "77ms"},
		"Kafka's folder":               {volume("kafka"), "/home/me/a lab/state/kafka"},
		"Prometheus' folder":           {volume("prometheus"), "/home/me/a lab/state/prometheus"},
		"the tuner's folder":           {volume("tuner"), "/home/me/a lab/state/tuner"},
		"the status folder":            {volume("status"), "/tmp/elsewhere"},
		"the tuner's file":             {get[*core.ConfigMap](t, b, "ConfigMap/kafkalab/tuner-config").Data["tuner.yaml"], "mode: auto\n"},
		"the image":                    {kafka.Image, "localhost/kafkalab/kafka:abc"},
	} {
		if c.got != c.want {
			t.Errorf("%s: want %q (got %q)", place, c.want, c.got)
		}
	}
}

func TestEveryPodIsRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	needToken := []string{"StatefulSet/kafkalab/prometheus", "StatefulSet/kafkalab/tuner", "Deployment/kube-system/coredns"}
	for _, name := range []string{"local", "compose", "k3d", "existing", "watch", "look", "strimzi"} {
		b := build(t, overlay(name))
		for key, pod := range pods(b) {
			if r := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec)); !r.Allowed {
				t.Errorf("%s, %s: %s", name, key, r.ForbiddenDetail())
			}
			if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token != slices.Contains(needToken, key) {
				t.Errorf("%s, %s: want a token only where the API is used (got %v)", name, key, token)
			}
			if links := pod.Spec.EnableServiceLinks; links == nil || *links {
				t.Errorf("%s, %s: want no service links, which look like settings of Kafka", name, key)
			}
			for _, c := range pod.Spec.Containers {
				if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s, %s: want a read-only root file system", name, key)
				}
				if c.ReadinessProbe == nil || c.LivenessProbe == nil || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
					t.Errorf("%s, %s: want probes, a CPU request and a memory limit", name, key)
				}
			}
		}
		for _, ns := range []string{"kafka", "kafkalab"} {
			if !slices.Contains([]string{"local", "compose", "k3d", "existing"}, name) && ns == "kafka" {
				continue // not ours to restrict
			}
			if got := get[*core.Namespace](t, b, "Namespace//"+ns).Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
				t.Errorf("%s, namespace %s: want restricted pods enforced (got %q)", name, ns, got)
			}
		}
	}
}

func TestAddressesAreThoseOfTheLayout(t *testing.T) {
	b := build(t, overlay("local"))
	node := map[int]string{}
	for key, object := range b {
		if s, ok := object.(*core.Service); ok {
			for _, p := range s.Spec.Ports {
				if p.NodePort != 0 {
					node[int(p.NodePort)] = fmt.Sprintf("%s:%d", key, p.Port)
				}
			}
		}
	}
	for _, p := range layout.DefaultPorts() {
		want := fmt.Sprintf("Service/kafkalab/%s:%d", p.Name, p.Host)
		switch p.Name {
		case "kubernetes":
			continue
		case "kafka":
			want = "Service/kafka/kafka-external:9094"
		}
		if node[p.Node] != want {
			t.Errorf("node port %d: want %s (got %q)", p.Node, want, node[p.Node])
		}
		delete(node, p.Node)
	}
	if len(node) > 0 {
		t.Errorf("want no node ports that the layout does not know (got %v)", node)
	}
	if got := get[*core.Service](t, b, "Service/kube-system/kube-dns").Spec.ClusterIP; got != layout.DNSService {
		t.Errorf("cluster DNS: want %s (got %s)", layout.DNSService, got)
	}
}

func TestServicesLeadToPods(t *testing.T) {
	b := build(t, overlay("local"))
	for key, object := range b {
		s, ok := object.(*core.Service)
		if !ok {
			continue
		}
		for _, p := range s.Spec.Ports {
			if !slices.ContainsFunc(slices.Collect(maps.Values(pods(b))), func(pod core.PodTemplateSpec) bool { return leads(s, p, pod) }) {
				t.Errorf("%s: want a pod with its labels and a port named %s (got none)", key, p.TargetPort.StrVal)
			}
		}
	}
	for key, pod := range pods(b) {
		if !strings.Contains(key, "/kube-system/") && !slices.ContainsFunc(pod.Spec.Containers[0].Ports,
			func(p core.ContainerPort) bool { return p.Name == "metrics" }) {
			t.Errorf("%s: want a port named metrics, which Prometheus looks for", key)
		}
	}
}

func leads(s *core.Service, p core.ServicePort, pod core.PodTemplateSpec) bool {
	for k, v := range s.Spec.Selector {
		if pod.Labels[k] != v {
			return false
		}
	}
	return slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(c core.ContainerPort) bool {
		return c.Name == p.TargetPort.StrVal && cmp.Or(c.Protocol, core.ProtocolTCP) == cmp.Or(p.Protocol, core.ProtocolTCP)
	})
}

func TestEveryVolumeHasItsClaim(t *testing.T) {
	b := build(t, overlay("local"))
	claims := map[string]core.PersistentVolumeClaimSpec{}
	for _, object := range b {
		if s, ok := object.(*apps.StatefulSet); ok {
			for _, c := range s.Spec.VolumeClaimTemplates {
				claims[fmt.Sprintf("%s/%s-%s-0", s.Namespace, c.Name, s.Name)] = c.Spec
			}
		}
	}
	for key, object := range b {
		v, ok := object.(*core.PersistentVolume)
		if !ok {
			continue
		}
		name := v.Spec.ClaimRef.Namespace + "/" + v.Spec.ClaimRef.Name
		claim, found := claims[name]
		delete(claims, name)
		if !found || claim.StorageClassName == nil || *claim.StorageClassName != "" || v.Spec.Capacity.Storage().Cmp(*claim.Resources.Requests.Storage()) < 0 {
			t.Errorf("%s: want a claim %s of no class and no more than its size (got %+v)", key, name, claim)
		}
	}
	if len(claims) > 0 {
		t.Errorf("want a volume for every claim (got none for %v)", claims)
	}
}

func TestExistingClusterIsLeftAsItIs(t *testing.T) {
	for key, object := range build(t, overlay("existing")) {
		switch o := object.(type) {
		case *core.PersistentVolume, *rbac.ClusterRole, *rbac.ClusterRoleBinding, *admission.ValidatingAdmissionPolicy:
			t.Errorf("%s: want nothing that belongs to the whole cluster", key)
		case *core.Service:
			if o.Spec.Type != "" && o.Spec.Type != core.ServiceTypeClusterIP {
				t.Errorf("%s: want it reachable inside only (got %s)", key, o.Spec.Type)
			}
		case *apps.StatefulSet:
			for _, c := range o.Spec.VolumeClaimTemplates {
				if c.Spec.StorageClassName != nil {
					t.Errorf("%s: want the cluster's own storage class (got %q)", key, *c.Spec.StorageClassName)
				}
			}
		case *core.ConfigMap:
			if text := o.Data["tuner.yaml"]; text != "" && !strings.Contains(text, "\nmode: observe\n") {
				t.Errorf("%s: want a tuner that only observes (got %s)", key, text)
			}
		}
		if strings.Contains(key, "/kube-system/") || strings.HasSuffix(key, "/agent") {
			t.Errorf("%s: want neither DNS nor an agent unless asked for", key)
		}
	}
}

func TestWatchingChangesNothingOfTheKafkaThatIsWatched(t *testing.T) {
	for _, name := range []string{"watch", "look", "strimzi"} {
		t.Run(name, func(t *testing.T) { wantOnlyLooks(t, name) })
	}
}

func wantOnlyLooks(t *testing.T, name string) {
	b := build(t, overlay(name))
	for _, want := range []string{"Deployment/kafkalab/exporter", "StatefulSet/kafkalab/prometheus", "StatefulSet/kafkalab/tuner"} {
		if b[want] == nil && (name == "watch" || want != "StatefulSet/kafkalab/prometheus") {
			t.Errorf("want %s", want)
		}
	}
	for key, object := range b {
		role, isRole := object.(*rbac.Role)
		_, isBinding := object.(*rbac.RoleBinding)
		if key == "Namespace//kafka" || strings.HasSuffix(key, "/loadgen") || strings.Contains(key, "/kafka/") && !isRole && !isBinding {
			t.Errorf("%s: want nothing there but the rights to look", key)
		}
		if !isRole {
			continue
		}
		for _, r := range role.Rules {
			for _, verb := range r.Verbs {
				event := slices.Contains(r.Resources, "events") && (verb == "create" || verb == "patch")
				if !event && !slices.Contains([]string{"get", "list", "watch"}, verb) {
					t.Errorf("%s: want no right to %s %v", key, verb, r.Resources)
				}
			}
		}
	}
	if text := get[*core.ConfigMap](t, b, "ConfigMap/kafkalab/tuner-config").Data["tuner.yaml"]; !strings.Contains(text, "\nmode: observe\n") {
		t.Error("want a tuner that only observes")
	}
}

// The right to act is to patch one object and to hold one lease, and whoever names another Kafka gets it for that one.
func TestActingIsOneObjectAndOneLease(t *testing.T) {
	const target = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kafka-target, namespace: kafkalab}
data: {namespace: streaming, name: my-events, bootstrap: "events.streaming.svc:9093"}
`
	dir := t.TempDir()
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("resources: [%[1]s/overlays/act, target.yaml]\ncomponents: [%[1]s/components/target]\n", root)
	for name, text := range map[string]string{"kustomization.yaml": own, "target.yaml": target} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ folder, namespace, name, broker string }{
		{overlay("act"), "kafka", "kafka", "kafka.kafka.svc.cluster.local:9092"}, {dir, "streaming", "my-events", "events.streaming.svc:9093"},
	} {
		b := build(t, c.folder)
		if rules := get[*rbac.Role](t, b, "Role/"+c.namespace+"/tuner").Rules; len(rules) != 3 {
			t.Errorf("%s: want the rights to look there, got %v", c.folder, rules)
		}
		got := get[*rbac.Role](t, b, "Role/"+c.namespace+"/tuner-act").Rules
		want := []rbac.PolicyRule{
			{APIGroups: []string{"apps"}, Resources: []string{"statefulsets"}, ResourceNames: []string{c.name}, Verbs: []string{"patch"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"kafkalab-tuner-" + c.name}, Verbs: []string{"get", "update"}},
			{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: want %v, got %v", c.folder, want, got)
		}
		for _, name := range []string{"tuner", "tuner-act"} {
			binding := get[*rbac.RoleBinding](t, b, "RoleBinding/"+c.namespace+"/"+name)
			if binding.RoleRef.Name != name || len(binding.Subjects) != 1 || binding.Subjects[0].Name != "tuner" || binding.Subjects[0].Namespace != "kafkalab" {
				t.Errorf("%s: want %s for the tuner alone, got %+v", c.folder, name, binding)
			}
		}
		if args := get[*apps.Deployment](t, b, "Deployment/kafkalab/exporter").Spec.Template.Spec.Containers[0].Args; args[1] != "--kafka.brokers="+c.broker {
			t.Errorf("%s: want the exporter to ask %s, got %v", c.folder, c.broker, args)
		}
		for _, name := range []string{"exporter", "tuner"} {
			to := get[*networking.NetworkPolicy](t, b, "NetworkPolicy/kafkalab/"+name).Spec.Egress[1].To[0].NamespaceSelector.MatchLabels
			if to["kubernetes.io/metadata.name"] != c.namespace || len(to) != 1 {
				t.Errorf("%s: want %s let to the namespace %s, got %v", c.folder, name, c.namespace, to)
			}
		}
	}
}

// A budget that lets no pod go would hold up the drain of a node for ever.
func TestBudgetsLetADrainThrough(t *testing.T) {
	b := build(t, overlay("look"))
	for _, name := range []string{"exporter", "tuner"} {
		budget := get[*budgets.PodDisruptionBudget](t, b, "PodDisruptionBudget/kafkalab/"+name).Spec
		if budget.MaxUnavailable == nil || budget.MaxUnavailable.IntValue() != 1 || budget.MinAvailable != nil || budget.Selector.MatchLabels["app.kubernetes.io/name"] != name {
			t.Errorf("%s: want one pod at a time, got %+v", name, budget)
		}
	}
}

func TestEveryRuleFileIsShipped(t *testing.T) {
	shipped := get[*core.ConfigMap](t, build(t, overlay("local")), "ConfigMap/kafkalab/prometheus-rules").Data
	files, err := filepath.Glob("../../prometheus/rules/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("want rule files (got %v, %v)", files, err)
	}
	for _, f := range files {
		if _, ok := shipped[filepath.Base(f)]; !ok {
			t.Errorf("%s: want it in prometheus/kustomization.yaml", f)
		}
	}
}

func TestTunerFileIsLabFileObserving(t *testing.T) {
	read := func(path string) map[string]any {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]any{}
		if err := yaml.UnmarshalStrict(text, &fields); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return fields
	}
	lab, observing := read("../../lab.yaml"), read("base/tuner/tuner.yaml")
	lab["mode"] = "observe"
	delete(lab, "revert") // it needs a right that the base does not give
	delete(lab, "links")  // addresses of this machine
	for field := range lab {
		if !reflect.DeepEqual(lab[field], observing[field]) {
			t.Errorf("base/tuner/tuner.yaml, %s: want it as in lab.yaml, %v (got %v)", field, lab[field], observing[field])
		}
	}
	if len(lab) != len(observing) {
		t.Errorf("base/tuner/tuner.yaml: want the fields of lab.yaml and no others")
	}
}

func TestRangesAgree(t *testing.T) {
	b := build(t, overlay("local"))
	limits := get[*core.ConfigMap](t, b, "ConfigMap/kafka/kafka-limits").Data
	var file struct {
		Knobs []struct {
			Env      string
			Min, Max int
		}
	}
	if err := yaml.Unmarshal([]byte(get[*core.ConfigMap](t, b, "ConfigMap/kafkalab/tuner-config").Data["tuner.yaml"]), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Knobs) != 3 {
		t.Fatalf("tuner.yaml: want three knobs (got %d)", len(file.Knobs))
	}
	fence := get[*admission.ValidatingAdmissionPolicy](t, b, "ValidatingAdmissionPolicy//kafkalab-agent")
	said := ""
	for _, v := range fence.Spec.Validations {
		said += v.MessageExpression + "\n"
	}
	for _, k := range file.Knobs {
		shown, refused := fmt.Sprintf("%d..%d", k.Min, k.Max), fmt.Sprintf("%s: must be a whole number from %d to %d", k.Env, k.Min, k.Max)
		if k.Env == "KAFKA_HEAP_OPTS" {
			shown, refused = fmt.Sprintf("from %d to %d", k.Min, k.Max), fmt.Sprintf("%s: -Xmx must be from %dm to ", k.Env, k.Min)
		}
		if !strings.Contains(limits[k.Env], shown) {
			t.Errorf("kafka-limits, %s: want %q (got %q)", k.Env, shown, limits[k.Env])
		}
		if !strings.Contains(said, refused) {
			t.Errorf("policy, %s: want the message %q", k.Env, refused)
		}
	}
}

func TestPolicyCasesAreWhole(t *testing.T) {
	text, err := os.ReadFile("policy_cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Patch   any      `json:"patch"`
		Kubectl []string `json:"kubectl"`
		Allowed bool     `json:"allowed"`
		Message string   `json:"message"`
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range cases {
		patch := c.Patch != nil && slices.Contains([]string{"strategic", "merge", "json"}, c.Type)
		if names[c.Name] || patch == (c.Kubectl != nil) || c.Allowed == (c.Message != "") {
			t.Errorf("%s: want a name of its own, either patch and type or kubectl, and a message exactly if it is refused", c.Name)
		}
		names[c.Name] = true
	}
}
