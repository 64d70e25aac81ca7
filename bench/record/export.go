package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// Export makes of the measurements, for each workload, the surface and the space for tuner replay (kafka-WORKLOAD.csv and .yaml), and the windows that
// bench/judge decides on (windows-WORKLOAD.csv).
func Export(dir string, all []Measurement) error {
	for _, l := range loads {
		of := slices.DeleteFunc(slices.Clone(all), func(m Measurement) bool { return m.Workload != l.Workload })
		if len(of) == 0 {
			continue
		}
		w, err := workload.Preset(l.Workload)
		if err != nil {
			return err
		}
		for name, text := range map[string][]byte{
			"kafka-" + l.Workload + ".csv":   surface(of),
			"kafka-" + l.Workload + ".yaml":  spaceOf(w),
			"windows-" + l.Workload + ".csv": windows(of),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
	}
	return nil
}

// configuration is a row of the surface.
type configuration struct{ heap, network, io int }

func (m Measurement) configuration() configuration { return configuration{m.Heap, m.Network, m.IO} }

func (c configuration) cells() []string {
	return []string{strconv.Itoa(c.heap), strconv.Itoa(c.network), strconv.Itoa(c.io)}
}

// surface has the means over the repeats. A configuration that failed each time has none: it cannot run.
func surface(all []Measurement) []byte {
	rows := map[configuration][]Measurement{}
	for _, m := range all {
		rows[m.configuration()] = append(rows[m.configuration()], m)
	}
	var out [][]string
	for _, heap := range heaps {
		for _, network := range networks {
			for _, io := range ios {
				c := configuration{heap, network, io}
				if repeats, measured := rows[c]; measured {
					out = append(out, append(c.cells(), means(repeats)...))
				}
			}
		}
	}
	return table([]string{"heap_mib", "network_threads", "io_threads", "throughput", "latency", "repeats"}, out)
}

func means(repeats []Measurement) []string {
	rate, p99, n := 0.0, 0.0, 0
	for _, m := range repeats {
		if m.Failed == "" {
			rate, p99, n = rate+m.Rate, p99+m.P99, n+1
		}
	}
	if n == 0 {
		return []string{"", "", "0"}
	}
	return []string{decimal(rate / float64(n)), decimal(p99 / float64(n)), strconv.Itoa(n)}
}

// windows are the seconds of each measurement; P99 in seconds, as bench/judge reads them.
func windows(all []Measurement) []byte {
	var out [][]string
	for _, m := range all {
		c := m.configuration()
		for _, s := range m.Series {
			out = append(out, []string{
				fmt.Sprintf("%d:%d:%d", c.heap, c.network, c.io), strconv.Itoa(m.Pass), strconv.FormatUint(s.Acked, 10), decimal(s.P99 / 1000),
			})
		}
	}
	return table([]string{"config", "deployment", "goodput", "p99"}, out)
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

func table(header []string, rows [][]string) []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.WriteAll(append([][]string{header}, rows...)) // a buffer takes everything
	return out.Bytes()
}

// spaceOf says what is sought: the most records at a P99 within the workload's SLO, from the start of the demo.
func spaceOf(w workload.Workload) []byte {
	return fmt.Appendf(nil, `# recorded by bench/record
maximize: throughput
constraints: latency <= %d
knobs:
  - name: heap_mib
    scale: log
    default: "256"
  - name: network_threads
    scale: log
    default: "1"
  - name: io_threads
    scale: log
    default: "2"
`, w.SLO.P99.Milliseconds())
}
