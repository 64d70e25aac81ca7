package report_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kafkalab/kafkalab/internal/browsertest"
	"github.com/kafkalab/kafkalab/loadgen/report"
)

// What the charts show is in the page's data, which other tests compare; here a browser draws them.
func TestABrowserDrawsTheCharts(t *testing.T) {
	browser := browsertest.Start(t)
	short, _ := made{seconds: 5}.make(t)
	nothing := &report.Report{Mode: report.ModeRun}
	for name, c := range map[string]struct {
		r     *report.Report
		drawn int
	}{"a run": {full(t), 4}, "one that ended within its warm-up": {short, 4}, "nothing measured": {nothing, 0}} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			if err := os.WriteFile(file, []byte(page(t, c.r)), 0o600); err != nil {
				t.Fatal(err)
			}
			tab, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
			defer end()
			limited, cancel := context.WithTimeout(tab, 2*time.Minute)
			defer cancel()
			if err := chromedp.Do(limited, chromedp.EmulateViewport(1200, 900), chromedp.Navigate("file://"+file)); err != nil {
				t.Fatal(err)
			}
			for {
				there, err := chromedp.Run(limited, chromedp.Evaluate[bool](`location.protocol === "file:" && document.readyState === "complete"`))
				if err != nil {
					t.Fatalf("wait for the page: %v", err)
				}
				if there {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			// A canvas on which something has been painted, or a sentence that there is nothing to paint: what a script does that fails half-way is neither.
			const look = `[...document.querySelectorAll("figure")].map(f => {
				const c = f.querySelector("canvas");
				return c ? (c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v) ? "drawn" : "blank") : f.textContent;
			})`
			got, err := chromedp.Run(limited, chromedp.Evaluate[[]string](look))
			if err != nil {
				t.Fatal(err)
			}
			drawn, said := 0, 0
			for _, g := range got {
				switch g {
				case "drawn":
					drawn++
				case "Nothing was measured.":
					said++
				}
			}
			if len(got) != 4 || drawn != c.drawn || said != 4-c.drawn {
				t.Errorf("got %q, want %d of four charts drawn, and words in place of the others", got, c.drawn)
			}
		})
	}
}
