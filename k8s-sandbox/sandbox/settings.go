package sandbox

import (
	"fmt"
	"os"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// defaultWorkload is the one whose de-tuned start costs the most that tuning can win back (bench/ has the figures).
const defaultWorkload = "bulk"

// sloOf reads the P99 limit out of the tuner's file: the load generator holds what the tuner judges by, so it stands in one place.
func sloOf(file []byte) (string, error) {
	var lab struct {
		Objective struct {
			SLO string `yaml:"slo"`
		} `yaml:"objective"`
	}
	if err := yaml.Unmarshal(file, &lab); err != nil {
		return "", fmt.Errorf("read the tuner's file: %w", err)
	}
	if d, err := time.ParseDuration(lab.Objective.SLO); err != nil || d <= 0 {
		return "", fmt.Errorf("the tuner's file: objective.slo: want a duration such as 250ms (got %q)", lab.Objective.SLO)
	}
	return lab.Objective.SLO, nil
}

// withMode is the tuner's file with another mode, and otherwise to the letter: comments and order are for its reader.
func withMode(file []byte, mode string) []byte {
	if mode == "" {
		return file
	}
	lines := strings.SplitAfter(string(file), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "mode:") {
			lines[i] = "mode: " + mode + "\n"
			return []byte(strings.Join(lines, ""))
		}
	}
	return append([]byte("mode: "+mode+"\n"), file...)
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
