package workload_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

func TestPresetsAreSound(t *testing.T) {
	want := []string{"bulk", "chatty", "durable", "keyed", "recompress", "steady", "tiny", "transactional"}
	if got := workload.Names(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if !slices.Contains(want, workload.Default) {
		t.Errorf("the default %q is no preset", workload.Default)
	}
	for _, name := range want {
		w, err := workload.Preset(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if w.Name != name || w.About == "" {
			t.Errorf("%s: got name %q, about %q", name, w.Name, w.About)
		}
		if got := w.Warnings(1); len(got) > 0 {
			t.Errorf("%s spoils its own measurement: %q", name, got)
		}
		for _, key := range []string{"retention.ms", "retention.bytes", "segment.bytes"} {
			if w.Topic.Config[key] == "" {
				t.Errorf("%s: %s is not set, so the disk fills", name, key)
			}
		}
	}
	for name, key := range map[string]string{"durable": "flush.messages", "recompress": "compression.type", "bulk": "flush.messages"} {
		if w, err := workload.Preset(name); err != nil || w.Topic.Config[key] == "" {
			t.Errorf("%s does not set %s: %v", name, key, err)
		}
	}
	if _, err := workload.Preset("nosuch"); err == nil || !strings.Contains(err.Error(), `"nosuch"`) || !strings.Contains(err.Error(), "durable") {
		t.Errorf("an unknown name: got %v, want it and what is allowed", err)
	}
}

func TestAFileNeedsOnlyAName(t *testing.T) {
	w, err := workload.Parse([]byte("name: mine\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Producer.Acks != "all" || w.Producer.GiveUp != 30*time.Second || w.Consumer.Group != "lab" || w.Topic.Partitions != 6 {
		t.Errorf("defaults missing: %+v", w)
	}
	name := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(name, []byte("name: mine\nwarmup: 3s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := workload.File(name); err != nil || w.Warmup != 3*time.Second {
		t.Errorf("got warm-up %v, %v", w.Warmup, err)
	}
	if _, err := workload.File(name + ".none"); err == nil || !strings.Contains(err.Error(), ".none") {
		t.Errorf("a file that is not there: got %v", err)
	}
}

func TestAScheduleWithoutAShapeIsConstant(t *testing.T) {
	w, err := workload.Parse([]byte("name: mine\nschedule: {rate: 250}\n"))
	if err != nil || w.Schedule.Shape != schedule.Constant || w.Schedule.Rate != 250 {
		t.Errorf("got %+v, %v", w.Schedule, err)
	}
	if w, err := workload.Parse([]byte("name: mine\n")); err != nil || w.Schedule.Shape != "" {
		t.Errorf("without a schedule: got %+v, %v", w.Schedule, err)
	}
}

func TestNumbersCanBeWrittenInEveryWayThatIsOne(t *testing.T) {
	w, err := workload.Parse([]byte("name: mine\nproducer: {in_flight: 1e4, give_up: 1m30s}\nkeys: {distribution: uniform, count: 1_000_000}\nslo: {max: 2e5}\nwarmup: 0\ntopic: {config: {retention.ms: 600000}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Producer.InFlight != 10000 || w.Producer.GiveUp != 90*time.Second || w.Keys.Count != 1000000 || w.SLO.Max != 200000 || w.Warmup != 0 || w.Topic.Config["retention.ms"] != "600000" {
		t.Errorf("got %+v", w)
	}
}

func TestSizesComeFromAFileBesideTheWorkload(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"w.yaml":    "name: mine\npayload: {distribution: file, file: sizes.txt}\nsecurity: {tls: {enabled: true, ca_file: ca.pem, cert_file: /etc/me.pem, key_file: me.key}}\n",
		"sizes.txt": "100\n300 # the larger\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := workload.File(filepath.Join(folder, "w.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Payload.MaxBytes() != 300 || w.Payload.MeanBytes() != 200 {
		t.Errorf("got sizes up to %d, on average %d", w.Payload.MaxBytes(), w.Payload.MeanBytes())
	}
	if got, want := w.Security.TLS.CAFile, filepath.Join(folder, "ca.pem"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := w.Security.TLS.CertFile; got != "/etc/me.pem" {
		t.Errorf("an absolute name became %q", got)
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := workload.Parse([]byte("name: X\ntopic: {partitions: 0}\nproducer: {acks: some, codec: rar}\npayload: {bytes: 1, compressibility: 2}\nslo: {p99: -1s}\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"name:", "topic.partitions:", "producer.acks:", "producer.codec:", "payload.bytes:", "payload.compressibility:", "slo.p99:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("got %q, want it to name %s too", err, field)
		}
	}
}
