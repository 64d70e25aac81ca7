package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports are taken below the range that Linux gives to outgoing connections and below Kubernetes' node ports, so that between two starts of
// a broker no client and no Service can sit down on its port.
const portsFrom, portsTo = 15000, 29999

func choosePorts(nodes []*Broker) error {
	var addrs []*string
	for _, b := range nodes {
		if b.env["METRICS_LISTEN"] != "off" {
			addrs = append(addrs, &b.MetricsAddr)
		}
		for _, l := range b.listeners() {
			if strings.Contains(b.roles, l.role) {
				addrs = append(addrs, l.addr)
			}
		}
	}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for _, addr := range addrs {
		l, err := freePort()
		if err != nil {
			return err
		}
		held = append(held, l) // until all are chosen, so that they differ
		*addr = l.Addr().String()
	}
	return nil
}

func freePort() (net.Listener, error) {
	var last error
	for range 100 {
		port := portsFrom + rand.IntN(portsTo-portsFrom)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("find a free port: %w", last)
}
