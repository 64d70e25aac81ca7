package loadgen_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/hist"
)

var (
	soak     = flag.Duration("soak", time.Hour, "length of the soak")
	searches = flag.Int("searches", 5, "repeats of the search")
)

// measured is what these benchmarks read of a report.
type measured struct {
	Start  time.Time
	Lasted float64 `json:"lasted_seconds"`
	Warmup float64 `json:"warmup_seconds"`
	Series struct {
		Points []struct {
			At      int64   `json:"at"`
			Seconds float64 `json:"seconds"`
			Sent    uint64  `json:"sent"`
		} `json:"points"`
	} `json:"series"`
	Measured struct {
		Offered, Sent, Acked, Consumed uint64
	}
	Faults     struct{ Lost, Duplicated, Reordered, Corrupted uint64 }
	Generators []struct {
		Overslept hist.Packed
		Memory    uint64 `json:"peak_memory_bytes"`
	}
	Summary struct {
		Latency map[string]struct {
			P99 float64 `json:"p99"`
		}
	}
	Search struct {
		Kind            string
		Rate, Low, High float64
		Trials          []struct {
			Rate float64
			P99  float64 `json:"p99_seconds"`
		}
	}
}

// node is a broker with Kafka's own defaults, but that it deletes what it need not keep soon, and that a quota is of the last two seconds, not of eleven: shorter
// than a trial.
func node(b *testing.B) (folder, addr string) {
	b.Helper()
	folder = b.TempDir()
	build(b, filepath.Join(folder, "loadgen"))
	return folder, kafkatest.Start(b, kafkatest.Deployed(), kafkatest.Env(map[string]string{
		"KAFKA_HEAP_OPTS": "", "KAFKA_QUOTA_WINDOW_NUM": "2", "KAFKA_LOG_SEGMENT_DELETE_DELAY_MS": "0", "KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS": "2000",
	})).Addr
}

// play runs loadgen with a workload and calls look, if there is one, each second with its process id.
func play(b *testing.B, folder, workload string, look func(pid int), args ...string) (m measured) {
	b.Helper()
	file := filepath.Join(folder, "workload.yaml")
	if err := os.WriteFile(file, []byte(workload), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(folder, "loadgen"), append(args, "--listen=127.0.0.1:0", "--log.level=warn", "--workload.file="+file, "--report.json=-")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
			if look != nil {
				look(cmd.Process.Pid)
			}
			continue
		case err := <-ended:
			tick.Stop()
			if err == nil {
				err = json.Unmarshal(out.Bytes(), &m)
			}
			if err != nil {
				b.Fatalf("%v\n%s", err, errs.String())
			}
		}
		return m
	}
}

const cleaned = "topic: {partitions: 12, config: {retention.bytes: \"16777216\", segment.bytes: \"16777216\"}}\n"

// A producer that sends at once and a consumer that fetches at once do so the more often the less there is to do, and so keep both processors
// busy at any rate: the sender then waits for one, and its lag is the kernel's time slice. So both wait for more than one record, as in a
// production where throughput counts.
const (
	scheduled = "name: schedule\nwarmup: 20s\npayload: {bytes: 1024}\nproducer: {clients: 1, in_flight: 60000, linger: 10ms, sticky: 500}\n" +
		"consumer: {clients: 1, fetch_min: 1048576, max_wait: 50ms}\n" + cleaned
	flatOut = "schedule: {shape: closed, in_flight: 60000}\n"
)

// scheduleRounds is how often each rate is measured, in turns with the others. A host that takes both processors away for a fifth of a second makes a hundredth
// of twenty seconds' records late, at any rate.
const scheduleRounds = 3

// BenchmarkSchedule keeps a rate on a real broker, with a consumer. The goals: records sent within 0.1 % of what was asked for, each second within 1 %, and
// up to 70 % of the highest rate that the machine can do a P99 of schedule lag of 2 ms, by the median run. That rate is what a closed loop reaches. The
// memory is that of a window of 60,000 records, not of the usual one.
func BenchmarkSchedule(b *testing.B) {
	folder, addr := node(b)
	highest := play(b, folder, scheduled+flatOut, nil, "run", "--duration=40s", "--kafka.brokers="+addr)
	most := float64(highest.Measured.Consumed) / (highest.Lasted - highest.Warmup)
	rates := []float64{1000, 10_000, 0.3 * most, 0.5 * most, 0.7 * most, most}
	runs := make([][]keptTo, len(rates))
	for range scheduleRounds {
		for i, rate := range rates {
			runs[i] = append(runs[i], keepTo(b, folder, addr, rate))
		}
	}
	for i, rate := range rates {
		b.Run(fmt.Sprintf("%.0f per second, %.0f percent", rate, 100*rate/most), func(b *testing.B) {
			for b.Loop() { // measured already
			}
			column := func(of func(keptTo) float64) (all []float64) {
				for _, k := range runs[i] {
					all = append(all, of(k))
				}
				return all
			}
			lags := column(func(k keptTo) float64 { return k.lag })
			b.Logf("ms-lag-p99 of each run: %.2f", lags)
			goals := [3]float64{0.1, 1, 2}
			if rate > 0.7*most {
				goals = [3]float64{100, 100, 60_000} // what happens there is shown, and no goal
			}
			atMost(b, "%off", slices.Max(column(func(k keptTo) float64 { return k.off })), goals[0])
			atMost(b, "%off-worst-second", slices.Max(column(func(k keptTo) float64 { return k.worst })), goals[1])
			atMost(b, "ms-lag-p99", median(lags), goals[2])
			b.ReportMetric(slices.Max(lags), "ms-lag-p99-at-most")
			b.ReportMetric(slices.Max(column(func(k keptTo) float64 { return k.memory })), "MB-at-most")
			b.ReportMetric(median(column(func(k keptTo) float64 { return k.endToEnd })), "ms-end-to-end-p99")
			b.ReportMetric(median(column(func(k keptTo) float64 { return k.overslept })), "ms-overslept-p99")
		})
	}
}

// keptTo is how a run kept to its rate: percentages off in all and in the worst second, 99th percentiles in milliseconds, resident MB.
type keptTo struct{ off, worst, lag, endToEnd, overslept, memory float64 }

func keepTo(b *testing.B, folder, addr string, rate float64) keptTo {
	m := play(b, folder, scheduled, nil, "run", fmt.Sprintf("--rate=%.0f", rate), "--duration=40s", "--kafka.brokers="+addr)
	k := keptTo{
		off:      100 * math.Abs(float64(m.Measured.Sent)/(math.Round(rate)*(m.Lasted-m.Warmup))-1),
		lag:      1000 * m.Summary.Latency["schedule_lag"].P99,
		endToEnd: 1000 * m.Summary.Latency["end_to_end"].P99,
		memory:   float64(m.Generators[0].Memory) / 1e6,
	}
	from, to := m.Start.Add(time.Duration(m.Warmup*1e9)), m.Start.Add(time.Duration(m.Lasted*1e9))
	for _, p := range m.Series.Points {
		if at := time.Unix(p.At, 0); at.After(from) && at.Add(time.Second).Before(to) {
			k.worst = max(k.worst, 100*math.Abs(float64(p.Sent)/(math.Round(rate)*p.Seconds)-1))
		}
	}
	overslept, _ := m.Generators[0].Overslept.Snapshot().Quantile(0.99)
	k.overslept = 1000 * overslept.Seconds()
	if m.Measured.Consumed != m.Measured.Acked {
		b.Errorf("at %.0f records/s: got %+v, want all consumed", rate, m.Measured)
	}
	return k
}

// BenchmarkFirstRecord starts the program on a topic that is not there. The goal: the first record is sent within a second, by a static program of less than 30 MB.
func BenchmarkFirstRecord(b *testing.B) {
	folder, addr := node(b)
	program := filepath.Join(folder, "loadgen")
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	file, err := elf.Open(program)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 || slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		b.Errorf("got a program that is not static: %v, %v", libraries, err)
	}
	for b.Loop() {
		var took []float64
		for n := range 5 {
			began := time.Now()
			m := play(b, folder, "name: first\nwarmup: 0s\npayload: {bytes: 1024}\ntopic: {partitions: 12}\n", nil,
				"run", "--rate=1000", "--duration=2s", fmt.Sprintf("--topic=first-%d-%d", began.UnixNano(), n), "--kafka.brokers="+addr)
			took = append(took, m.Start.Sub(began).Seconds()+m.Summary.Latency["schedule_lag"].P99)
		}
		b.ReportMetric(median(took), "s-until-sent")
		atMost(b, "s-at-most", slices.Max(took), 1)
		atMost(b, "MB-of-program", float64(info.Size())/1e6, 30)
	}
}

// BenchmarkSoak sends and reads 1 KB records for long. The goal: the resident memory grows by less than 5 MB after the first minute.
func BenchmarkSoak(b *testing.B) {
	folder, addr := node(b)
	for b.Loop() {
		var sizes []float64
		m := play(b, folder, "name: soak\npayload: {bytes: 1024}\nproducer: {clients: 2, in_flight: 10000}\nconsumer: {clients: 1}\n"+cleaned, func(pid int) {
			sizes = append(sizes, resident(b, pid))
		}, "run", "--rate=30000", "--duration="+soak.String(), "--kafka.brokers="+addr)
		n := len(sizes)
		if n < 300 {
			b.Fatalf("got %d looks at the memory, want five minutes of them at least", n)
		}
		first, last := median(sizes[60:180]), median(sizes[n-120:]) // of two minutes each: the collector makes it swing by a third
		b.ReportMetric(first, "MB-after-a-minute")
		b.ReportMetric(last, "MB-at-the-end")
		atMost(b, "MB-growth", last-first, 5)
		b.ReportMetric(slices.Max(sizes), "MB-at-most")
		if m.Measured.Consumed != m.Measured.Acked || m.Faults != (measured{}).Faults {
			b.Errorf("got %+v and %+v, want all consumed and no faults", m.Measured, m.Faults)
		}
	}
}

// BenchmarkMemory sends 1 KB records as fast as they can be read back on the machine that it shares with the broker, with a window of the usual size. The goal: less
// than 150 MB resident. A closed loop says how fast that is: it sends more than is read, and retention deletes the rest, so the figure is what was read.
func BenchmarkMemory(b *testing.B) {
	folder, addr := node(b)
	const usual = "name: memory\npayload: {bytes: 1024}\nproducer: {clients: 2}\nconsumer: {clients: 1}\n" + cleaned
	for b.Loop() {
		highest := play(b, folder, usual+"schedule: {shape: closed, in_flight: 4096}\n", nil, "run", "--duration=40s", "--kafka.brokers="+addr)
		most := 0.8 * float64(highest.Measured.Consumed) / (highest.Lasted - highest.Warmup)
		m := play(b, folder, usual, nil, "run", fmt.Sprintf("--rate=%.0f", most), "--duration=70s", "--topic=memory", "--kafka.brokers="+addr)
		b.ReportMetric(float64(m.Measured.Consumed)/(m.Lasted-m.Warmup), "records/s")
		atMost(b, "MB-at-most", float64(m.Generators[0].Memory)/1e6, 150)
		if m.Measured.Consumed != m.Measured.Acked || m.Faults != (measured{}).Faults {
			b.Errorf("got %+v and %+v, want all consumed and no faults", m.Measured, m.Faults)
		}
	}
}

// resident is the memory of a process in MB.
func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0 // it has just ended
	}
	var all, in float64
	if _, err := fmt.Sscan(string(text), &all, &in); err != nil {
		b.Fatal(err)
	}
	return in * float64(os.Getpagesize()) / 1e6
}

// BenchmarkSearch finds the highest rate of one broker again and again. The goal: all within 10 % of each other.
//
// What limits the broker must be the same each time. A quota is: the broker holds back who sends more bytes a second. The other limit is the two processors,
// for records that compress well and are compressed by the broker, so that the disk has little to do; how much the processors can do differs from minute to
// minute on a shared machine, so a closed loop before each search says how much it is.
func BenchmarkSearch(b *testing.B) {
	const topic = "topic: {partitions: 12, config: {compression.type: %s, retention.bytes: \"67108864\", segment.bytes: \"67108864\"}}\n"
	for _, limit := range []struct {
		name, workload, slo string
		quota               float64 // bytes/s
	}{
		{
			name:     "quota",
			workload: "name: quota\npayload: {bytes: 1024}\nproducer: {clients: 1, acks: all, in_flight: 20000}\n" + fmt.Sprintf(topic, "producer"),
			slo:      "slo: {p99: 200ms, start: 1000, min: 50, max: 100000}\n", quota: 10e6,
		},
		{
			name: "processors",
			workload: "name: processors\npayload: {bytes: 10240, compressibility: 0.9}\nproducer: {clients: 2, acks: all, in_flight: 4000}\n" +
				fmt.Sprintf(topic, "zstd"),
			slo: "slo: {p99: 500ms, start: 2000, min: 50, max: 100000}\n",
		},
	} {
		b.Run(limit.name, func(b *testing.B) {
			folder, addr := node(b)
			if limit.quota > 0 {
				holdBack(b, addr, limit.quota)
			}
			flatOut := func(d string) float64 {
				m := play(b, folder, limit.workload+"warmup: 5s\nschedule: {shape: closed, in_flight: 2000}\n", nil, "run", "--duration="+d, "--kafka.brokers="+addr)
				return float64(m.Measured.Acked) / (m.Lasted - m.Warmup)
			}
			for b.Loop() {
				flatOut("90s") // warms the broker up
				var rates, shares []float64
				trials := 0
				for range *searches {
					most := flatOut("20s")
					m := play(b, folder, limit.workload+limit.slo, nil, "search", "--search.warmup=3s", "--search.measure=10s", "--kafka.brokers="+addr)
					rates, shares = append(rates, m.Search.Rate), append(shares, m.Search.Rate/most)
					trials = max(trials, len(m.Search.Trials))
					said := fmt.Sprintf("closed loop %.0f · %s %.0f (%.0f to %.0f)", most, m.Search.Kind, m.Search.Rate, m.Search.Low, m.Search.High)
					for _, t := range m.Search.Trials {
						said += fmt.Sprintf(" · %.0f: %.0f ms", t.Rate, 1000*t.P99)
					}
					b.Log(said)
				}
				spread := func(v []float64) float64 { return 100 * (slices.Max(v)/slices.Min(v) - 1) }
				b.ReportMetric(median(rates), "records/s")
				goal := 10.0
				if limit.quota == 0 {
					goal = 1000 // the machine decides, and how much it gave is in the shares
				}
				atMost(b, "%spread", spread(rates), goal)
				b.ReportMetric(median(shares), "of-closed-loop")
				b.ReportMetric(spread(shares), "%spread-of-share")
				b.ReportMetric(float64(trials), "trials-at-most")
			}
		})
	}
}

// holdBack gives each producer a quota.
func holdBack(b *testing.B, addr string, bytesPerSecond float64) {
	b.Helper()
	conf, err := kafka.Client{Brokers: []string{addr}, ID: "bench"}.Config()
	if err != nil {
		b.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin([]string{addr}, conf)
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	everybody := []sarama.QuotaEntityComponent{{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchDefault}}
	if err := admin.AlterClientQuotas(everybody, sarama.ClientQuotasOp{Key: "producer_byte_rate", Value: bytesPerSecond}, false); err != nil {
		b.Fatal(err)
	}
}
