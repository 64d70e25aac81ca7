package loop

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed request.tmpl
var requestText string

// Knob is one variable that the agent may change. The ranges are those of the policy that guards them (manifests/base/agent).
type Knob struct {
	Name, Env, Form, Unit string
	Min, Max              int
	Now                   string
}

const mebibyte = 1 << 20

func knobs() []Knob {
	return []Knob{
		{Name: "heap", Env: "KAFKA_HEAP_OPTS", Form: "'-Xms<n>m -Xmx<n>m'", Unit: "MiB", Min: 256, Max: 3072},
		{Name: "io_threads", Env: "KAFKA_NUM_IO_THREADS", Form: "a whole number", Unit: "threads", Min: 1, Max: 32},
		{Name: "network_threads", Env: "KAFKA_NUM_NETWORK_THREADS", Form: "a whole number", Unit: "threads", Min: 1, Max: 16},
	}
}

// telemetry is what the loop itself reads of latency.json; the model gets the file as it is.
type telemetry struct {
	Timestamp time.Time        `json:"timestamp"`
	Mode      string           `json:"mode"`
	State     string           `json:"state"`
	Reason    string           `json:"reason"`
	Reference *struct{}        `json:"reference"` // what a change would be compared with
	SLO       float64          `json:"slo_ms"`
	P99       *float64         `json:"p99_ms"`
	Acked     *float64         `json:"acked_per_second"`
	Effective map[string]int64 `json:"knobs_effective"`
	Trial     *struct {
		Number int    `json:"number"`
		Phase  string `json:"phase"`
	} `json:"trial"` // that runs
	Limits struct {
		CPUs   string `json:"cpus"`
		Memory string `json:"memory"`
	} `json:"limits"`

	all string        // the whole, on one line
	age time.Duration // when it was read
}

// errStale says that the model is not asked now, because it would judge by what is no longer so.
var errStale = errors.New("telemetry is too old")

// read is latency.json as it is now, unless it is too old.
func read(file string, now time.Time, freshness time.Duration) (t telemetry, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, fmt.Errorf("%w: %s is not there yet", errStale, file)
	}
	if err != nil {
		return t, fmt.Errorf("read telemetry: %w", err)
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("read telemetry: %s: %w", file, err)
	}
	if t.age = now.Sub(t.Timestamp); t.age > freshness {
		return t, fmt.Errorf("%w: %s is of %v ago, at most %v is allowed", errStale, file, t.age.Round(time.Second), freshness)
	}
	if t.all, err = compacted(text); err != nil {
		return t, fmt.Errorf("read telemetry: %w", err)
	}
	return t, nil
}

// request is what the model is told in a turn. Instructions in vibectl's configuration do not reach its planner, so all is in here. overdue is what it is asked
// without, though it should not be.
func request(t telemetry, last []string, overdue string) (string, error) {
	all := knobs()
	for i, k := range all {
		all[i].Now = "not known"
		if v, ok := t.Effective[k.Name]; ok {
			all[i].Now = strconv.FormatInt(v, 10) + " " + k.Unit
		}
		if most := heapLimit(t.Limits.Memory); k.Name == "heap" && most > 0 {
			all[i].Max = min(k.Max, most)
		}
	}
	var out strings.Builder
	err := template.Must(template.New("request").Parse(requestText)).Execute(&out, map[string]any{
		"SLO": strconv.FormatFloat(t.SLO, 'f', -1, 64), "Knobs": all, "CPUs": t.Limits.CPUs, "Memory": t.Limits.Memory,
		"Age": t.age.Round(time.Second).String(), "Telemetry": t.all, "Last": last, "Overdue": overdue, "Example": []string{
			`To change one: patch statefulset kafka -n kafka --type=strategic -p {"spec":{"template":{"spec":{"containers":[{"name":"kafka","env":[{"name":"KAFKA_NUM_IO_THREADS","value":"4"}]}]}}}}`,
		},
	})
	return out.String(), err
}

// compacted is the file on one line, without what is empty.
func compacted(text []byte) (string, error) {
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return "", err
	}
	for k, v := range all {
		if v == nil {
			delete(all, k)
		}
	}
	out, err := json.Marshal(all)
	return string(out), err
}

// heapLimit is three quarters of a quantity of memory in MiB, or 0 when the quantity is none that we know.
func heapLimit(memory string) int {
	for suffix, unit := range map[string]int64{"Gi": 1 << 30, "Mi": 1 << 20, "Ki": 1 << 10} {
		if digits, ok := strings.CutSuffix(memory, suffix); ok {
			if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 {
				return int(n * unit / 4 * 3 / mebibyte)
			}
		}
	}
	if n, err := strconv.ParseInt(memory, 10, 64); err == nil && n > 0 {
		return int(n / 4 * 3 / mebibyte)
	}
	return 0
}
