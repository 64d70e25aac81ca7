package apply

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestLimit ends a request to an API server that takes connections and does not answer.
const requestLimit = 10 * time.Second

// A rollout is looked at every second, in several requests. With the client's own limit of five a second each look would wait for the one before.
const (
	requestRate  = 50
	requestBurst = 100
)

// Clients of an API server: for Kubernetes' own resources, and for others'.
type Clients struct {
	Kube      kubernetes.Interface
	Resources dynamic.Interface
}

// Connect makes clients from a kubeconfig, or, when path is empty, from the pod's own account. It does not connect yet.
func Connect(path string) (Clients, error) {
	conf, err := rest.InClusterConfig()
	if path != "" {
		conf, err = clientcmd.BuildConfigFromFlags("", path)
	}
	if err != nil {
		return Clients{}, fmt.Errorf("read kubernetes configuration: %w", err)
	}
	conf.UserAgent, conf.Timeout, conf.WarningHandler = Manager, requestLimit, rest.NoWarnings{}
	conf.QPS, conf.Burst = requestRate, requestBurst
	var c Clients
	if c.Kube, err = kubernetes.NewForConfig(conf); err == nil {
		c.Resources, err = dynamic.NewForConfig(conf)
	}
	if err != nil {
		return Clients{}, fmt.Errorf("make kubernetes client: %w", err)
	}
	return c, nil
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
