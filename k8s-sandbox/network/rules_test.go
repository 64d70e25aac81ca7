package network

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

var kafka = []layout.Port{{Name: "kafka", Host: 19092, Node: 30092}}

// The kernel has the last word on what the rules are; it is asked in a network that goes with the question.
func TestTheKernelTakesTheRules(t *testing.T) {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	outside := os.Getenv("OUTSIDE")
	if outside == "" {
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "OUTSIDE="+here)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if here == outside {
		t.Fatal("not in a network of its own")
	}
	for name, published := range map[string]bool{"on a machine": false, "published": true} {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules(kafka, published))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestOnlyPublishedPortsAreForOthers(t *testing.T) {
	for name, published := range map[string]bool{"on a machine": false, "published": true} {
		got := rules(kafka, published)
		if !strings.Contains(got, "ip daddr 127.0.0.1 tcp dport 19092 dnat to "+layout.NodeIP+":30092") {
			t.Errorf("%s: the machine itself is not led in:\n%s", name, got)
		}
		if led, through := strings.Contains(got, "hook prerouting"), strings.Contains(got, "accept\n\t\tiifname"); led != published || through != published {
			t.Errorf("%s: others are led in %t and let through %t:\n%s", name, led, through, got)
		}
		if !strings.Contains(got, `oifname "kafkalab0" drop`) || !strings.Contains(got, `iifname "kafkalab0" drop`) {
			t.Errorf("%s: the rest is not dropped:\n%s", name, got)
		}
	}
}
