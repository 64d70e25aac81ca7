package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
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

// brokersOf reads BROKERS.
func brokersOf(getenv func(string) string) (int, error) {
	switch v := getenv("BROKERS"); v {
	case "", "1":
		return 1, nil
	case "3":
		return 3, nil
	default:
		return 1, fmt.Errorf("BROKERS: want 1 or 3 (got %q)", v)
	}
}

// withBrokers is the tuner's file for as many brokers: the heap is read back from each one's JVM, and a rollout takes as much longer.
func withBrokers(file []byte, brokers int) ([]byte, error) {
	if brokers == 1 {
		return file, nil
	}
	lines := strings.SplitAfter(string(file), "\n")
	found := 0
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "  jvm_metrics: [") && strings.Contains(l, "kafka-0."):
			one := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(l), "jvm_metrics: ["), "]")
			all := make([]string, brokers)
			for n := range all {
				all[n] = strings.Replace(one, "kafka-0.", fmt.Sprintf("kafka-%d.", n), 1)
			}
			lines[i] = "  jvm_metrics: [" + strings.Join(all, ", ") + "]\n"
			found++
		case strings.HasPrefix(l, "  rollout: "):
			d, err := time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(l, "  rollout: ")))
			if err != nil {
				return nil, fmt.Errorf("the tuner's file: windows.rollout: %w", err)
			}
			lines[i] = fmt.Sprintf("  rollout: %s\n", d*time.Duration(brokers))
			found++
		}
	}
	if found != 2 {
		return nil, fmt.Errorf("the tuner's file: target.jvm_metrics and windows.rollout: want each on a line of its own, as in lab.yaml, with the address of kafka-0: BROKERS=%d makes the others of it", brokers)
	}
	return []byte(strings.Join(lines, "")), nil
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

// writeTokenKubeconfig writes the kubeconfig of a user with a token. The cluster is the administrator's.
func writeTokenKubeconfig(admin, file, user, token string) error {
	theirs, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		return fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	current := theirs.Contexts[theirs.CurrentContext]
	if current == nil || theirs.Clusters[current.Cluster] == nil {
		return fmt.Errorf("%s: names no cluster", admin)
	}
	conf := clientcmdapi.NewConfig()
	cluster, auth, context := theirs.Clusters[current.Cluster], clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
	auth.Token = token
	context.Cluster, context.AuthInfo, context.Namespace = "kafkalab", user, "kafka"
	conf.Clusters["kafkalab"], conf.AuthInfos[user], conf.Contexts[user] = cluster, auth, context
	conf.CurrentContext = user
	data, err := clientcmd.Write(*conf)
	if err != nil {
		return fmt.Errorf("encode kubeconfig of %s: %w", user, err)
	}
	return writeSecret(file, data)
}

// writeSecret replaces the file whole; only its owner may read it.
func writeSecret(file string, data []byte) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	return os.Rename(tmp, file)
}

// observing is the tuner's file for an agent at the wheel: two who turn it would only measure each other. What the agent does harm with is taken
// back, unless the file says otherwise.
func observing(file []byte) []byte {
	if strings.Contains("\n"+string(file), "\nrevert:") {
		return withMode(file, "observe")
	}
	return withMode(file, "observe\nrevert: true")
}
