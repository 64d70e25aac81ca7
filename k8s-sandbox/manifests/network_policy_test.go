package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	networking "k8s.io/api/networking/v1"
)

// The patch for a Kafka elsewhere stands in the component's comment. What stands there must work.
func TestTheNetworkPolicyCanBePatchedAsItsCommentSays(t *testing.T) {
	const component = "components/network-policy"
	text, err := os.ReadFile(filepath.Join(component, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`(?m)^#   patches:\n(#     .*\n)+`).FindString(string(text))
	if said == "" {
		t.Fatal("want a patch in the comment, got none")
	}
	patch := regexp.MustCompile(`(?m)^#   `).ReplaceAllString(said, "")
	overlay := "resources: [ROOT/overlays/watch]\ncomponents: [ROOT/" + component + "]\n" + patch
	policy := get[*networking.NetworkPolicy](t, build(t, written(t, map[string]string{"kustomization.yaml": overlay})), "NetworkPolicy/kafkalab/exporter").Spec
	if len(policy.Egress) != 2 || len(policy.Egress[1].To) != 2 || len(policy.Egress[1].Ports) != 2 {
		t.Fatalf("want DNS and Kafka as egress, got %+v", policy.Egress)
	}
	if dns := policy.Egress[0].Ports[0].Port; dns == nil || dns.IntValue() != 53 {
		t.Errorf("want DNS left as it is, got port %v", dns)
	}
	kafka := policy.Egress[1]
	if ns := kafka.To[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]; ns != "streaming" || kafka.To[1].IPBlock == nil || kafka.Ports[0].Port.IntValue() != 9093 {
		t.Errorf("want the Kafka of the patch and none besides, got %+v", kafka)
	}
	if name := policy.Ingress[0].From[0].PodSelector.MatchLabels["app.kubernetes.io/name"]; name != "prometheus-server" {
		t.Errorf("want the Prometheus of the patch, got %q", name)
	}
}
