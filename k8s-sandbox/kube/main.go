// Kube is every Kubernetes component of the embedded sandbox in one static binary.
//
// The parts are the upstream commands, unchanged, built from their Go modules: this file only chooses among them by
// name, as busybox does, because separate binaries would repeat the same 100 MB of code seven times. It holds no
// wiring: flags, certificates and addresses come from the supervisor (package cluster).
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the JSON log format of the upstream mains
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the build info metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// command is an upstream main: it reads os.Args and gives the exit code.
type command struct {
	name string
	run  func() int
}

func commands() []command {
	return []command{
		{"etcd", runEtcd},
		{"kube-apiserver", func() int { return runCobra(apiserver.NewAPIServerCommand()) }},
		{"kube-controller-manager", func() int { return runCobra(controllermanager.NewControllerManagerCommand()) }},
		{"kube-proxy", func() int { return runCobra(proxy.NewProxyCommand()) }},
		{"kube-scheduler", func() int { return runCobra(scheduler.NewSchedulerCommand()) }},
		{"kubectl", runKubectl},
		{"kubelet", func() int { return runCobra(kubelet.NewKubeletCommand(context.Background())) }},
	}
}

func main() { os.Exit(run(commands())) }

// run looks at the name the binary was called by first (a link named kubectl is kubectl), then at the first argument.
func run(all []command) int {
	args := os.Args
	if !slices.ContainsFunc(all, named(filepath.Base(args[0]))) && len(args) > 1 {
		args = args[1:]
	}
	if i := slices.IndexFunc(all, named(filepath.Base(args[0]))); i >= 0 {
		os.Args = args
		return all[i].run()
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	fmt.Fprintf(os.Stderr, "usage: kube COMMAND [flags]\ncommands: %s\n", strings.Join(names, " "))
	return 2
}

func named(name string) func(command) bool {
	return func(c command) bool { return c.name == name }
}

func runCobra(cmd *cobra.Command) int { return cli.Run(cmd) }

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
	return 0
}
