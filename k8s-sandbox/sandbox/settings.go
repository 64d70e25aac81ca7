package sandbox

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// demo is what lab.yaml says of the load: the load generator holds the SLO that the tuner judges by, so it stands in one file.
type demo struct{ workload, slo string }

func demoOf(file []byte) (demo, error) {
	var lab struct {
		Workload string `yaml:"workload"`
		SLO      struct {
			P99 string `yaml:"p99"`
		} `yaml:"slo"`
	}
	if err := yaml.Unmarshal(file, &lab); err != nil {
		return demo{}, fmt.Errorf("read lab.yaml: %w", err)
	}
	if lab.Workload == "" || lab.SLO.P99 == "" {
		return demo{}, fmt.Errorf("lab.yaml: workload and slo.p99 are required (got %q and %q)", lab.Workload, lab.SLO.P99)
	}
	return demo{lab.Workload, lab.SLO.P99}, nil
}

// writeTokenKubeconfig replaces the file whole; only its owner may read it.
func writeTokenKubeconfig(file, server string, ca []byte, token string) error {
	conf := clientcmdapi.NewConfig()
	cluster, auth, context := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
	cluster.Server, cluster.CertificateAuthorityData = server, ca
	auth.Token = token
	context.Cluster, context.AuthInfo, context.Namespace = "kafkalab", "agent", "kafka"
	conf.Clusters["kafkalab"], conf.AuthInfos["agent"], conf.Contexts["agent"] = cluster, auth, context
	conf.CurrentContext = "agent"
	data, err := clientcmd.Write(*conf)
	if err != nil {
		return fmt.Errorf("encode agent's kubeconfig: %w", err)
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write agent's kubeconfig: %w", err)
	}
	return os.Rename(tmp, file)
}
