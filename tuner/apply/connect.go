package apply

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestLimit ends a request to an API server that takes connections and does not answer.
const requestLimit = 10 * time.Second

// Connect makes a client from a kubeconfig, or, when path is empty, from the pod's own account. It does not connect yet.
func Connect(path string) (kubernetes.Interface, error) {
	conf, err := rest.InClusterConfig()
	if path != "" {
		conf, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read kubernetes configuration: %w", err)
	}
	conf.UserAgent, conf.Timeout, conf.WarningHandler = Manager, requestLimit, rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("make kubernetes client: %w", err)
	}
	return client, nil
}

// ParseMemory reads a quantity like 4Gi as bytes; the empty text is 0, not known.
func ParseMemory(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() <= 0 {
		return 0, fmt.Errorf("want a quantity like 4Gi (got %q)", text)
	}
	return q.Value(), nil
}
