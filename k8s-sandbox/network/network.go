// Package network makes the node's network: a namespace of its own, one link to the machine, and the rules that lead loopback ports into it.
//
// Kubernetes writes its iptables rules, routes and interfaces inside that namespace, so they cannot meet the machine's own and vanish
// with it. The namespace has no default route: nothing in the sandbox can reach, or be reached from, outside this machine. On the
// machine's side there is one interface, one route (it goes with the interface) and one nftables table.
// It needs root, iproute2, nftables and util-linux.
package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// Up makes what is missing. Called twice it changes nothing but the port table, which it replaces in one transaction. With published, the
// "machine" is a container: the ports are also for what Docker sends to its address, which is what its published ports are.
func Up(ctx context.Context, l layout.Layout, ports []layout.Port, published bool) error {
	if err := ensureNamespace(ctx, l.Netns()); err != nil {
		return err
	}
	if !linked(ctx, l) {
		// Half a link (a start that was interrupted) is removed first.
		_ = run(ctx, "ip", "link", "del", layout.HostLink)
		if err := link(ctx, l); err != nil {
			return err
		}
	}
	if published {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return fmt.Errorf("turn forwarding on: %w", err)
		}
	}
	return input(ctx, rules(ports, published), "nft", "-f", "-")
}

// Down removes what Up made. What is not there is not an error.
func Down(ctx context.Context, l layout.Layout) error {
	// Made and deleted in one transaction, so that nobody has to find out first whether it is there.
	errs := []error{input(ctx, noTable(), "nft", "-f", "-")}
	if _, err := os.Stat("/sys/class/net/" + layout.HostLink); err == nil {
		errs = append(errs, run(ctx, "ip", "link", "del", layout.HostLink))
	}
	errs = append(errs, removeNamespace(l.Netns()))
	return errors.Join(errs...)
}

// Exists is true when Down would find something on the machine's side. It is asked for even by somebody who is being interrupted.
func Exists(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, err := os.Stat("/sys/class/net/" + layout.HostLink)
	return err == nil || run(ctx, "nft", "list", "table", "ip", layout.NFTable) == nil
}

// Enter is the command line that runs argv inside the namespace.
func Enter(l layout.Layout, argv ...string) []string {
	return append([]string{"nsenter", "--net=" + l.Netns(), "--"}, argv...)
}

func ensureNamespace(ctx context.Context, file string) error {
	if isNamespace(file) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(file), err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", file, err)
	}
	// Not "ip netns add": that would turn /run/netns into a mount that stays behind.
	return run(ctx, "unshare", "--net="+file, "true")
}

func removeNamespace(file string) error {
	for isNamespace(file) { // a start interrupted twice can have stacked two
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", file, err)
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", file, err)
	}
	return nil
}

func isNamespace(file string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(file, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

func linked(ctx context.Context, l layout.Layout) bool {
	host, err1 := output(ctx, "ip", "-4", "-o", "addr", "show", "dev", layout.HostLink, "up")
	node, err2 := output(ctx, Enter(l, "ip", "-4", "-o", "addr", "show", "dev", layout.NodeLink, "up")...)
	routes, err3 := output(ctx, "ip", "-4", "route", "show", layout.Range)
	svc, err4 := output(ctx, Enter(l, "ip", "-4", "route", "show", layout.ServiceCIDR)...)
	return errors.Join(err1, err2, err3, err4) == nil && strings.Contains(host, layout.HostIP) &&
		strings.Contains(node, layout.NodeIP) && strings.Contains(routes, layout.HostLink) && strings.Contains(svc, "dev lo")
}

func link(ctx context.Context, l layout.Layout) error {
	inside := func(args ...string) []string { return Enter(l, append([]string{"ip"}, args...)...) }
	steps := [][]string{
		{"ip", "link", "add", layout.HostLink, "type", "veth", "peer", "name", layout.NodeLink, "netns", l.Netns()},
		{"ip", "addr", "add", layout.HostIP + layout.LinkPrefix, "dev", layout.HostLink},
		{"ip", "link", "set", layout.HostLink, "up"},
		inside("link", "set", "lo", "up"),
		inside("addr", "add", layout.NodeIP+layout.LinkPrefix, "dev", layout.NodeLink),
		inside("link", "set", layout.NodeLink, "up"),
		// The service addresses are nobody's: a process of the node needs a route to them for its packet to reach the rules that
		// rewrite it, and one to a service that does not exist ends on the loopback instead of leaving.
		inside("route", "replace", layout.ServiceCIDR, "dev", "lo", "src", layout.NodeIP),
		{"ip", "route", "add", layout.Range, "via", layout.NodeIP, "dev", layout.HostLink},
	}
	for _, s := range steps {
		if err := run(ctx, s...); err != nil {
			return err
		}
	}
	// Without it the kernel drops what comes from 127.0.0.1 and leaves by a real interface. It belongs to our interface and goes with it.
	sysctl := "/proc/sys/net/ipv4/conf/" + layout.HostLink + "/route_localnet"
	if err := os.WriteFile(sysctl, []byte("1"), 0); err != nil {
		return fmt.Errorf("set route_localnet on %s: %w", layout.HostLink, err)
	}
	forward := `echo 1 > /proc/sys/net/ipv4/ip_forward`
	return run(ctx, Enter(l, "sh", "-c", forward)...)
}

// rules is the machine's one table. Only what this machine itself sends to its loopback is led into the namespace; what another
// machine sends, or what the machine forwards for others (Docker turns forwarding on), never is, unless the ports are published.
func rules(ports []layout.Port, published bool) string {
	var b strings.Builder
	link := layout.HostLink
	lead := func(chain, hook, which string) {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype nat hook %s priority -110; policy accept;\n", chain, hook)
		for _, p := range ports {
			fmt.Fprintf(&b, "\t\t%s tcp dport %d dnat to %s:%d\n", which, p.Host, layout.NodeIP, p.Node)
		}
		b.WriteString("\t}\n")
	}
	fmt.Fprintf(&b, "%stable ip %s {\n", noTable(), layout.NFTable)
	lead("output", "output", "ip daddr 127.0.0.1")
	if published {
		lead("prerouting", "prerouting", fmt.Sprintf(`iifname != { "lo", %q }`, link))
	}
	fmt.Fprintf(&b, "\tchain postrouting {\n\t\ttype nat hook postrouting priority 90; policy accept;\n"+
		"\t\toifname %q snat to %s\n\t}\n", link, layout.HostIP)
	b.WriteString("\tchain forward {\n\t\ttype filter hook forward priority -10; policy accept;\n")
	if published { // exactly the connections that were led in above, there and back
		fmt.Fprintf(&b, "\t\toifname %[1]q ct status dnat accept\n\t\tiifname %[1]q ct status dnat accept\n", link)
	}
	fmt.Fprintf(&b, "\t\toifname %[1]q drop\n\t\tiifname %[1]q drop\n\t}\n}\n", link)
	return b.String()
}

// noTable removes the table, there or not: to delete one that is not there would be an error.
func noTable() string { return fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\n", layout.NFTable) }

func run(ctx context.Context, argv ...string) error { return input(ctx, "", argv...) }

func input(ctx context.Context, stdin string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func output(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	return string(out), err
}
