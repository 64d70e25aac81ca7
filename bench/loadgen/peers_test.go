package loadgen_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

// The peers. Kafka's tool makes each record's bytes while it sends, one random letter after the other, which takes longer than sending them;
// given a file it takes its records from there. Both are shown.
const (
	ours = "loadgen"
	bare = "sarama"
	java = "kafka-producer-perf-test"
	file = "kafka-producer-perf-test, records from a file"
)

// job is what a peer has to do. The bare loop gets it as JSON in a variable.
type job struct {
	Broker  string
	Topic   string
	Bytes   int
	Clients int
	Seconds float64
	Records int    // Kafka's tool ends after a number of records, not after a time
	Folder  string // for files
	Profile string // file for a processor profile of the bare loop, "": none
}

const jobVariable = "LOADGEN_BENCH_JOB"

// outcome is what a peer did.
type outcome struct {
	Acked   uint64
	Seconds float64 // in which they were acknowledged
	All     uint64  // records, those of a warm-up included
	CPU     float64 // seconds of the whole process, start and end included
	RSS     int64   // bytes at most
}

func (o outcome) rate() float64 { return float64(o.Acked) / o.Seconds }

// peers says how each is started and where it says what it did.
func peers() map[string]struct {
	command func(job) (*exec.Cmd, error)
	read    func([]byte) (outcome, error)
} {
	return map[string]struct {
		command func(job) (*exec.Cmd, error)
		read    func([]byte) (outcome, error)
	}{
		ours: {job.loadgen, reported},
		bare: {job.self, func(out []byte) (o outcome, err error) { return o, json.Unmarshal(out, &o) }},
		java: {func(j job) (*exec.Cmd, error) { return j.java("--record-size", strconv.Itoa(j.Bytes)), nil }, spoken},
		file: {job.javaFile, spoken},
	}
}

// run does the job in a process of its own.
func (j job) run(b *testing.B, peer string) outcome {
	b.Helper()
	p := peers()[peer]
	cmd, err := p.command(j)
	if err != nil {
		b.Fatalf("%s: %v", peer, err)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s%s", peer, err, out.String(), errs.String())
	}
	o, err := p.read(out.Bytes())
	if err != nil || o.Acked == 0 {
		b.Fatalf("%s: no result (%v) in\n%s%s", peer, err, out.String(), errs.String())
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	o.CPU = float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	o.RSS = usage.Maxrss * 1024
	switch peer {
	case bare:
		o.All = o.Acked
	case java, file:
		o.All = uint64(j.Records + j.Records/4)
	}
	return o
}

// workload is a closed loop, which sends as much as is taken. The peers consume nothing, so neither does it.
func (j job) workload() []byte {
	return fmt.Appendf(nil, `
name: bench
warmup: 1s
schedule: {shape: closed, in_flight: 10000}
topic: {partitions: %d}
payload: {bytes: %d}
producer: {clients: %d, acks: leader, in_flight: 10000}
consumer: {clients: 0}
`, partitions, j.Bytes, j.Clients)
}

// loadgen is the program itself, as it is built for a release.
func (j job) loadgen() (*exec.Cmd, error) {
	name := filepath.Join(j.Folder, "workload.yaml")
	if err := os.WriteFile(name, j.workload(), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(filepath.Join(j.Folder, "loadgen"), "run", "--listen=127.0.0.1:0", "--log.level=warn", "--workload.file="+name,
		"--kafka.brokers="+j.Broker, "--topic="+j.Topic, fmt.Sprintf("--duration=%gs", j.Seconds), "--report.json=-"), nil
}

// reported reads loadgen's report.
func reported(out []byte) (outcome, error) {
	type phase struct {
		Acked  uint64 `json:"acked"`
		Failed uint64 `json:"failed"`
	}
	var r struct {
		Lasted   float64 `json:"lasted_seconds"`
		Warmup   float64 `json:"warmup_seconds"`
		WarmUp   phase   `json:"warm_up"`
		Measured phase   `json:"measured"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return outcome{}, err
	}
	if failed := r.WarmUp.Failed + r.Measured.Failed; failed > 0 {
		return outcome{}, fmt.Errorf("%d records failed", failed)
	}
	// Of the records meant for the measured time some are answered after it, as many as were under way when it began.
	return outcome{Acked: r.Measured.Acked, Seconds: r.Lasted - r.Warmup, All: r.WarmUp.Acked + r.Measured.Acked}, nil
}

// self is this test's own binary as the bare loop.
func (j job) self() (*exec.Cmd, error) {
	text, err := json.Marshal(j)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	return cmd, err
}

// java starts Kafka's tool as its script would, with the defaults of tool and client but for acks. The warm-up keeps the time in which the
// JVM compiles out of its figures.
func (j job) java(records ...string) *exec.Cmd {
	warm := j.Records / 4
	return exec.Command("java", append([]string{
		"-Xmx512M", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
		"-Djava.awt.headless=true", "-cp", "../../.lab/kafka/libs/*", "org.apache.kafka.tools.ProducerPerformance",
		"--bootstrap-server", j.Broker, "--topic", j.Topic, "--throughput", "-1",
		"--num-records", strconv.Itoa(j.Records + warm), "--warmup-records", strconv.Itoa(warm), "--command-property", "acks=1",
	}, records...)...)
}

func (j job) javaFile() (*exec.Cmd, error) {
	const records = 1000
	name := filepath.Join(j.Folder, fmt.Sprintf("payload-%d", j.Bytes))
	text := make([]byte, 0, records*(j.Bytes+1))
	for range records {
		for range j.Bytes {
			text = append(text, byte('A'+rand.IntN(26)))
		}
		text = append(text, '\n')
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return nil, err
	}
	return j.java("--payload-file", name), nil
}

var said = regexp.MustCompile(`(\d+) records sent, ([\d.]+) records/sec`)

// spoken reads the last summary of Kafka's tool: that of the records after the warm-up.
func spoken(out []byte) (outcome, error) {
	all := said.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return outcome{}, fmt.Errorf("no summary")
	}
	last := all[len(all)-1]
	n, err := strconv.ParseUint(string(last[1]), 10, 64)
	if err != nil {
		return outcome{}, err
	}
	rate, err := strconv.ParseFloat(string(last[2]), 64)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Acked: n, Seconds: float64(n) / rate}, nil
}
