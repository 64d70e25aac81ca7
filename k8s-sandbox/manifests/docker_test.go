package manifests_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
)

// In compose.yml the programs are containers: of them the cluster has the rights, and nothing that would start them a second time.
func TestTheContainerOfComposeRunsKafkaAndDNS(t *testing.T) {
	b := build(t, generatedFor(t, "compose"))
	if got := slices.Sorted(maps.Keys(pods(b))); !slices.Equal(got, []string{"Deployment/kube-system/coredns", "StatefulSet/kafka/kafka"}) {
		t.Errorf("pods: %v", got)
	}
	kafka := get[*apps.StatefulSet](t, b, "StatefulSet/kafka/kafka").Spec.Template.Spec.Containers[0]
	if kafka.Resources.Limits.Cpu().String() != "1234m" || env(t, kafka, "EXTERNAL_ADDRESS") != "127.0.0.1:19092" {
		t.Errorf("settings do not reach Kafka: %v, %s", kafka.Resources.Limits, env(t, kafka, "EXTERNAL_ADDRESS"))
	}
	for key := range b {
		if strings.HasPrefix(key, "PersistentVolume/") && key != "PersistentVolume//kafkalab-kafka" {
			t.Errorf("%s has nobody to use it", key)
		}
	}
	for _, account := range []string{"agent", "prometheus", "tuner"} {
		get[*core.ServiceAccount](t, b, "ServiceAccount/kafkalab/"+account)
		get[*rbac.Role](t, b, "Role/kafka/"+account)
	}
}

// K3s has DNS, and a class that makes volumes; the loopback ports lead to the same node ports as on the embedded sandbox.
func TestK3dGetsTheLabWithNodePortsAndNoVolumesByHand(t *testing.T) {
	b, local := build(t, generatedFor(t, "k3d")), build(t, generated(t))
	for key, object := range b {
		if strings.HasPrefix(key, "PersistentVolume/") || strings.Contains(key, "coredns") || strings.HasPrefix(key, "NetworkPolicy/") {
			t.Errorf("%s is K3s' own, or would keep the machine out", key)
		}
		if set, ok := object.(*apps.StatefulSet); ok {
			for _, claim := range set.Spec.VolumeClaimTemplates {
				if claim.Spec.StorageClassName != nil {
					t.Errorf("%s: a claim of class %q", key, *claim.Spec.StorageClassName)
				}
			}
		}
	}
	for _, name := range []string{"kafka/kafka-external", "kafkalab/exporter", "kafkalab/loadgen", "kafkalab/prometheus", "kafkalab/tuner"} {
		got, want := get[*core.Service](t, b, "Service/"+name).Spec.Ports[0].NodePort, get[*core.Service](t, local, "Service/"+name).Spec.Ports[0].NodePort
		if got == 0 || got != want {
			t.Errorf("%s: node port %d, want %d", name, got, want)
		}
	}
	if cpus := get[*core.ConfigMap](t, b, "ConfigMap/kafka/kafka-limits").Data["cpus"]; cpus != "1234m" {
		t.Errorf("the agent is told of %s CPUs", cpus)
	}
}
