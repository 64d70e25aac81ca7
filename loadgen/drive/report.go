package drive

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

// Report prints what the run has measured, from the same buckets that Prometheus reads.
func (e *Engine) Report(out io.Writer) error {
	t := e.Totals()
	e.verify.Sweep(true)
	faults := e.verify.Counts()
	over := max(e.Lasted().Seconds(), 1e-3)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "workload %s, topic %s, %.1f s\n\n", e.c.Workload.Name, e.c.Topic, over)
	fmt.Fprintln(w, "records\ttotal\tper second\tMB/s")
	for _, row := range []struct {
		name  string
		n     uint64
		bytes uint64
	}{
		{"offered", t.Offered, 0}, {"acknowledged", t.Acked, t.AckedBytes}, {"failed", t.Failed, 0}, {"retried", t.Retried, 0}, {"consumed", t.Consumed, t.ConsumedBytes},
		{"lost", faults.Lost, 0}, {"duplicated", faults.Duplicated, 0}, {"reordered", faults.Reordered, 0}, {"corrupted", faults.Corrupted, 0},
	} {
		mb := ""
		if row.bytes > 0 {
			mb = fmt.Sprintf("%.2f", float64(row.bytes)/over/1e6)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%s\n", row.name, row.n, float64(row.n)/over, mb)
	}
	fmt.Fprintln(w, "\nlatency\tP50\tP99\tP99.9")
	for _, row := range []struct {
		name string
		s    *hist.Snapshot
	}{{"response", &t.Response}, {"service", &t.Service}, {"schedule lag", &t.Lag}, {"end to end", &t.EndToEnd}} {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.name, quantile(row.s, 0.5), quantile(row.s, 0.99), quantile(row.s, 0.999))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

func quantile(s *hist.Snapshot, q float64) string {
	d, ok := s.Quantile(q)
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
}
