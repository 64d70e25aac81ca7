// A stand-in for Grafana, for the test of compose.yml on a machine that reaches no image registry: it is healthy as long as it can read what
// provisions Grafana and reach the Prometheus that its data source names, and it shows nothing.
//
// Called wget it is what the health check calls in Grafana's image.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	client := &http.Client{Timeout: 3 * time.Second}
	if filepath.Base(os.Args[0]) == "wget" {
		if err := get(client, os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	http.HandleFunc("GET /api/health", func(w http.ResponseWriter, _ *http.Request) {
		for _, file := range []string{"/etc/grafana/provisioning/datasources/prometheus.yml", os.Getenv("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")} {
			if _, err := os.ReadFile(file); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		if err := get(client, os.Getenv("PROMETHEUS_URL")+"/-/ready"); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, `{"database": "ok", "version": "a stand-in of kafkalab's tests"}`)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":3000", nil))
	os.Exit(1)
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
