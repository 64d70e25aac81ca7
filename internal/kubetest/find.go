package kubetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// find looks for .lab/bin/kube from the test's folder upwards.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find kubernetes: %w", err)
	}
	for {
		binary := filepath.Join(dir, ".lab", "bin", "kube")
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if _, err := exec.LookPath(binary); err == nil {
				return binary, nil
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New(`find kubernetes: .lab/bin/kube is not in the checkout: run "make build"`)
		}
		dir = up
	}
}

// Ports are taken below the range that Linux gives to outgoing connections and below Kubernetes' node ports, so that between two starts of the
// server nobody can sit down on its port by chance.
const portsFrom, portsTo = 15000, 29999

func freePort() (string, error) {
	var last error
	for range 100 {
		port := strconv.Itoa(portsFrom + rand.IntN(portsTo-portsFrom))
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find a free port: %w", last)
}
