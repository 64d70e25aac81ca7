// Kube is every Kubernetes component of the embedded sandbox in one static binary.
//
// The parts are the upstream commands, unchanged, built from their Go modules: this file only chooses among them by
// name, as busybox does, because nine separate binaries would repeat the same 100 MB of code nine times. It holds no
// wiring: flags, certificates and addresses come from the supervisor (package cluster).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // JSON log format, as the upstream mains have it
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // build info metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

)

var commands = map[string]func(name string) int{
	"etcd":                    etcd,
	"kube-apiserver":          func(string) int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func(string) int { return cli.Run(controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func(string) int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func(string) int { return cli.Run(kubelet.NewKubeletCommand()) },
	"kube-proxy":              func(string) int { return cli.Run(proxy.NewProxyCommand()) },
	"kubectl":                 runKubectl,
}

func main() { os.Exit(run()) }

// run looks at the name the binary was called by first (a link named kubectl is kubectl), then at the first argument.
func run() int {
	if cmd, ok := commands[filepath.Base(os.Args[0])]; ok {
		return cmd(filepath.Base(os.Args[0]))
	}
	if len(os.Args) > 1 {
		if cmd, ok := commands[os.Args[1]]; ok {
			name := os.Args[1]
			os.Args = append([]string{name}, os.Args[2:]...)
			return cmd(name)
		}
	}
	names := make([]string, 0, len(commands))
	for n := range commands {
		names = append(names, n)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: kube COMMAND [flags]\ncommands: %s\n", strings.Join(names, " "))
	return 2
}

func etcd(string) int {
	etcdmain.Main(os.Args)
	return 0
}

func runKubectl(string) int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}
