// Dns is CoreDNS with the six plugins that a cluster's DNS needs and no others.
//
// The upstream main carries some fifty plugins, among them clients of several clouds; this one answers for the cluster's
// own names and forwards nothing, because no address outside the sandbox can be reached from a pod.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	dnsserver.Directives = []string{"errors", "health", "ready", "prometheus", "cache", "kubernetes"}
	coremain.Run()
}
