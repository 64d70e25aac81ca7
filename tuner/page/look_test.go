package page_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kafkalab/kafkalab/internal/browsertest"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// TestInTheBrowser shows the page in a real Chromium: one browser, a tab for each of these.
func TestInTheBrowser(t *testing.T) {
	browser := browsertest.Start(t)
	t.Run("what there is", func(t *testing.T) {
		x := scene{}.serve(t)
		b := open(t, browser, x.url, 1280, 900)
		b.wait(`document.querySelectorAll("#rows tr").length === 9`)
		b.wait(`document.querySelectorAll("#latency canvas, #rate canvas, #converged canvas").length === 3`)
		b.wait(`document.querySelectorAll("#matters .bar").length === 3`)
		b.wait(`document.getElementById("why").textContent !== ""`) // asked for by itself
		for id, want := range map[string][]string{
			"lead": {"Trial 9, network_threads 4 → 6, is being measured, window 7 of 8", "1.93 ×",
				"Last change: network_threads 3 → 4, kept by kafkalab-tuner ", "+6.3 %"},
			"state":      {"trialing"},
			"p99-more":   {"SLO 200", "P50"},
			"rows":       {"#9", "taken back", "+23.9 %", "+19.6 % to +28.2 %", "p = 0.04", "not measured"},
			"changes":    {"by kubectl-patch (deploy-bot)", "by ann: a release of the billing service", "network_threads 1 → 3"},
			"knobs":      {"heap MiB", "network_threads"},
			"matters":    {"heap", "alone −13.6 % to +34.7 % in 3 trials"},
			"why":        {"Trial 8:", "goodput 2530/s → 2689/s", "heap is 1024: trial 2 changed it from"},
			"health":     {"Prometheus", "its newest sample is 1.2 s old", "every value was read back"},
			"now":        {"next step up of network_threads", "6 of 8 windows"},
			"foot":       {"build 1.4.0", "2 CPUs"},
			"rate-at":    {"now"},
			"latency-at": {"P99"},
		} {
			got := b.text(id)
			for _, part := range want {
				if !strings.Contains(got, part) {
					t.Errorf("%s: want %q (got %q)", id, part, got)
				}
			}
		}
		// Three when the page is made, which a busy machine then shows late.
		if got := b.text("lead"); !regexp.MustCompile(`kept by kafkalab-tuner [3-5] min`).MatchString(got) {
			t.Errorf("lead: want it to say how long ago that was (got %q)", got)
		}
		if links := eval[string](b, `[...document.querySelectorAll("nav a:not([hidden])")].map(a => a.getAttribute("href")).join(" ")`); links != "report http://127.0.0.1:3000/ http://127.0.0.1:9090/ api/v1/status metrics" {
			t.Errorf("want the links (got %s)", links)
		}
		if here := eval[string](b, `document.querySelector(".phases .here").textContent`); here != "measuring" {
			t.Errorf("want the phase marked (got %s)", here)
		}
		b.quiet()
		for name, color := range map[string]string{"kept": "good", "taken back": "bad", "changed by others": "other"} {
			if !eval[bool](b, fmt.Sprintf(marked, color)) {
				t.Errorf("want a flag above the curves for what was %s", name)
			}
		}
	})
	t.Run("a change shows itself", func(t *testing.T) {
		x := scene{}.serve(t)
		b := open(t, browser, x.url, 1280, 900)
		b.wait(`document.querySelectorAll("#rows tr").length === 9`)
		appended(t, x.path, ledger.Record{Kind: ledger.Outside, Author: "late-hour-fix",
			Point: space.Point{"heap": 512, "io_threads": 4, "network_threads": 4}, Changes: []ledger.Change{{Knob: "heap", OldText: "-Xmx1024m",
				NewText: "-Xmx512m"}}})
		t.Logf("a change is shown %s after it was made", b.wait(`document.getElementById("changes").textContent.includes("late-hour-fix") && document.getElementById("lead").textContent.includes("late-hour-fix")`).Round(10*time.Millisecond))
		newer := status.Snapshot{Time: time.Now().Add(time.Second), Live: status.Live{P99: status.Ptr(12345.0)}}
		x.page.Remember(newer)
		b.wait(`document.getElementById("latency-at").textContent.includes("12,345")`)
		b.do(chromedp.Reload())
		b.wait(`document.getElementById("latency-at").textContent.includes("12,345")`)
		b.quiet()
	})
	t.Run("strings of others are text", func(t *testing.T) {
		const evil = `<script>window.ran = 1</script><img src=x onerror="window.ran = 1">`
		x := scene{
			more: []ledger.Record{
				{Kind: ledger.Outside, Author: evil, Reason: evil, Point: space.Point{"heap": 1024, "io_threads": 4, "network_threads": 4},
					Changes: []ledger.Change{{Knob: evil, OldText: evil, NewText: evil}}},
				{Kind: ledger.Control, Author: evil, Command: evil, Reason: evil},
			},
			alter: func(s *status.Snapshot) {
				s.Reason, s.Live.Missing, s.Build = evil, map[string]string{"p99": evil, "acked": evil}, evil
				s.Live.P99, s.Live.Acked, s.Trial = nil, nil, nil
				s.Knobs[0].Name, s.Knobs[0].Text, s.Knobs[0].Env, s.Knobs[0].Unit = evil, evil, evil, evil
				s.Pause, s.Queue = &status.Order{By: evil, Reason: evil}, []status.Order{{By: evil, Reason: evil, Held: evil, Knobs: map[string]int64{evil: 1}}}
				s.Next = &status.Proposal{Trial: 10, Env: evil, Old: evil, New: evil, Reason: evil, Steps: []status.Step{{Knob: evil}}}
				s.Links = status.Links{Grafana: "javascript:alert(1)", Prometheus: evil}
			},
		}.serve(t)
		b := open(t, browser, x.url, 1280, 900)
		b.wait(`document.querySelectorAll("#rows tr").length === 9 && document.querySelectorAll("#changes li").length > 10`)
		for _, id := range []string{"changes", "lead", "knobs", "now", "p99-more", "health", "foot"} {
			if !strings.Contains(b.text(id), evil) {
				t.Errorf("%s: want it shown as it is (got %q)", id, b.text(id))
			}
		}
		if !strings.Contains(b.text("now"), "; it waits: "+evil) {
			t.Errorf("want it said why a proposal waits (got %q)", b.text("now"))
		}
		if eval[bool](b, `"ran" in window || document.querySelectorAll("main img, main script").length > 0`) {
			t.Error("somebody else's string became markup")
		}
		if links := eval[int](b, `document.querySelectorAll("#grafana:not([hidden]), #prometheus:not([hidden])").length`); links != 0 {
			t.Errorf("want no link to what is no address (got %d)", links)
		}
		b.quiet()
	})
	t.Run("orders", func(t *testing.T) { testOrders(t, browser) })
	t.Run("with the keyboard alone", func(t *testing.T) {
		x := scene{}.serve(t)
		b := open(t, browser, x.url, 1280, 900)
		b.wait(`document.getElementById("do-pause") && document.querySelectorAll("#rows button").length === 9`)
		reach := func(condition string) {
			t.Helper()
			for range 200 {
				if eval[bool](b, condition) {
					return
				}
				b.keys(kb.Tab)
			}
			t.Fatalf("the keyboard does not reach %s", condition)
		}
		reach(`document.activeElement.dataset?.span === "900"`)
		b.keys(kb.Enter)
		b.wait(`document.querySelector("[data-span='900']").getAttribute("aria-pressed") === "true"`)
		reach(`document.activeElement.id === "do-pause"`)
		if outline := eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`); outline != "solid" {
			t.Errorf("want the focus to be seen (got %s)", outline)
		}
		b.keys(kb.Enter)
		b.wait(`document.getElementById("ask").open && document.activeElement.id === "ask-by"`)
		b.keys("kim")
		b.keys(kb.Enter)
		b.wait(`!document.getElementById("ask").open`)
		if got := x.orders.orders(); len(got) != 1 || got[0].By != "kim" || got[0].Command != orders.Pause {
			t.Errorf("want a pause by kim (got %+v)", got)
		}
		reach(`document.activeElement.getAttribute("aria-label") === "#8, why"`)
		b.keys(kb.Enter)
		b.wait(`document.getElementById("tell").open && document.getElementById("tell-text").textContent.includes("Effect on goodput +6.3 %")`)
		b.keys(kb.Escape)
		b.wait(`!document.getElementById("tell").open && document.activeElement.getAttribute("aria-label") === "#8, why"`)
		b.quiet()
	})
	t.Run("narrow and wide, dark and light", func(t *testing.T) {
		x := scene{}.serve(t)
		b := open(t, browser, x.url, 1920, 1080)
		b.wait(`document.querySelectorAll("#rows tr").length === 9 && document.querySelectorAll("canvas").length === 3`)
		for _, width := range []int64{360, 600, 768, 1000, 1280, 1920} {
			b.do(chromedp.EmulateViewport(width, 900))
			b.wait(fmt.Sprintf(`innerWidth === %d`, width))
			b.wait(`[...document.querySelectorAll(".u-wrap")].every(u => u.clientWidth <= u.parentElement.parentElement.clientWidth)`)
			if over := eval[string](b, `document.documentElement.scrollWidth > innerWidth ? [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className + "#" + e.id).slice(0, 5).join(" ") : ""`); over != "" {
				t.Errorf("%d pixels: want nothing to the right of the page (got %s)", width, over)
			}
		}
		var papers [2]string
		for i, dark := range []bool{false, true} {
			b.dark(dark)
			b.wait(fmt.Sprintf(`matchMedia("(prefers-color-scheme: dark)").matches === %t`, dark))
			papers[i] = eval[string](b, `getComputedStyle(document.body).backgroundColor`)
		}
		if papers[0] == papers[1] {
			t.Errorf("want another paper in the dark (got %s)", papers[0])
		}
		b.wait(`document.querySelectorAll("canvas").length === 3`)
		b.quiet()
	})
	t.Run("accessible", func(t *testing.T) { testAccessible(t, browser) })
	t.Run("much", func(t *testing.T) {
		x := much(t)
		b := open(t, browser, x.url, 1280, 900)
		took := b.wait(`document.querySelectorAll("#rows tr").length === 500`)
		scrolled(b)
		t.Logf("500 trials and 10,000 samples: all shown %s after the first, tasks of 50 ms and more: %v", took.Round(10*time.Millisecond),
			eval[[]float64](b, `long`))
		b.quiet()
	})
}

// marked looks for a colour above the plot, where the flags are.
const marked = `(() => {
	const probe = document.createElement("canvas").getContext("2d");
	probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--%s").trim();
	probe.fillRect(0, 0, 1, 1);
	const want = probe.getImageData(0, 0, 1, 1).data, canvas = document.querySelector("#latency canvas");
	const got = canvas.getContext("2d").getImageData(0, 0, canvas.width, 17 * devicePixelRatio).data;
	for (let i = 0; i < got.length; i += 4) if (got[i + 3] > 250 && [0, 1, 2].every(c => Math.abs(got[i + c] - want[c]) < 3)) return true;
	return false;
})()`

func much(t testing.TB) *site {
	return scene{acts: many(500, 40*time.Second), until: before + 4*time.Minute + 500*40*time.Second, step: 2 * time.Second}.serve(t)
}

// scrolled has been through the page and its lists.
func scrolled(b *tab) {
	eval[bool](b, `(async () => {
		const frame = () => new Promise(done => requestAnimationFrame(done));
		for (const at of [document.scrollingElement, ...document.querySelectorAll(".scroll")]) {
			if (at !== document.scrollingElement) at.scrollIntoView();
			for (let i = 0; i < 40; i++) { at.scrollTop = at.scrollHeight * i / 40; await frame(); }
		}
		return true;
	})()`)
}

func testOrders(t *testing.T, browser context.Context) {
	waits := func(s *status.Snapshot) {
		s.State, s.Trial = status.Awaiting, nil
		s.Next = &status.Proposal{Trial: 9, Knob: "io_threads", Env: "KAFKA_NUM_IO_THREADS", Old: "4", New: "8", Reason: "next step up",
			Steps: []status.Step{{Knob: "io_threads", Old: 4, New: 8}}}
	}
	const secret = "a token that is long enough"
	type step struct {
		button string
		before string // what is done in the dialog
		want   orders.Order
	}
	order := func(c orders.Command, trial int) orders.Order {
		return orders.Order{Command: c, Trial: trial, By: "ann", Reason: "a release"}
	}
	for name, c := range map[string]struct {
		scene scene
		steps []step
	}{
		"in mode auto": {scene{}, []step{
			{"do-pause", "", order(orders.Pause, 0)},
			{"do-resume", "", order(orders.Resume, 0)},
			{"do-rollback", `document.getElementById("ask-trial").value = "2"`, order(orders.Rollback, 2)},
			{"do-abort", "", order(orders.Abort, 9)},
		}},
		"with a token": {scene{token: secret}, []step{
			{"do-rollback", `document.getElementById("ask-token").value = "` + secret + `"`, order(orders.Rollback, 0)},
			{"do-pause", "", order(orders.Pause, 0)}, // the token is remembered
		}},
		"approved": {scene{mode: config.Approve, alter: waits}, []step{{"do-approve", "", order(orders.Approve, 9)}}},
		"rejected": {scene{mode: config.Approve, alter: waits}, []step{{"do-reject", "", order(orders.Reject, 9)}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := c.scene.serve(t)
			b := open(t, browser, x.url, 1000, 800)
			b.wait(`document.querySelectorAll("#rows tr").length === 9`)
			for i, s := range c.steps {
				b.wait(fmt.Sprintf(`document.getElementById(%q)`, s.button))
				b.click("#" + s.button)
				b.wait(`document.getElementById("ask").open`)
				if got := x.orders.orders(); len(got) != i {
					t.Errorf("want nothing done before it is confirmed (got %+v)", got)
				}
				eval[bool](b, fmt.Sprintf(`document.getElementById("ask-by").value = "ann", document.getElementById("ask-reason").value = "a release", %s, true`,
					orElse(s.before, "0")))
				b.click("#ask-do")
				b.wait(`!document.getElementById("ask").open && document.getElementById("said").textContent.includes("accepted")`)
				if got := x.orders.orders(); len(got) != i+1 || fmt.Sprint(got[i]) != fmt.Sprint(s.want) {
					t.Errorf("want %+v (got %+v)", s.want, got)
				}
			}
			b.quiet()
		})
	}
	t.Run("refused", func(t *testing.T) {
		x := scene{token: secret}.serve(t)
		b := open(t, browser, x.url, 1000, 800)
		b.wait(`document.getElementById("do-pause")`)
		b.click("#do-pause")
		b.wait(`document.getElementById("ask").open`)
		eval[bool](b, `document.getElementById("ask-by").value = "ann", true`)
		b.click("#ask-do")
		if !eval[bool](b, `document.getElementById("ask").open && document.getElementById("ask-token").matches(":invalid")`) {
			t.Error("want the token asked for")
		}
		eval[bool](b, `document.getElementById("ask-token").value = "another token, long enough", true`)
		b.click("#ask-do")
		b.wait(`document.getElementById("ask-error").textContent.includes("Refused: header Authorization: want Bearer and the token")`)
		b.click("#ask-cancel")
		b.wait(`!document.getElementById("ask").open`)
		elsewhere := func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+secret)
			r.Header.Set("Origin", "http://evil.example")
		}
		if code := refused(t, x, elsewhere); code != http.StatusForbidden {
			t.Errorf("want another site's page refused though it has the token (got %d)", code)
		}
		if code := refused(t, x, func(*http.Request) {}); code != http.StatusUnauthorized {
			t.Errorf("want no order without the token (got %d)", code)
		}
		if got := x.orders.orders(); len(got) != 0 {
			t.Errorf("want nothing done (got %+v)", got)
		}
	})
	t.Run("another site's page", func(t *testing.T) {
		x := scene{}.serve(t) // no token: this machine's programs may order, and a page that its browser shows may not
		foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!doctype html><p id="lead">x</p><script>
				const tries = ["application/json", "text/plain"].map(type => fetch(%q, {method: "POST", headers: {"Content-Type": type}, body: '{"by":"evil"}'}).then(r => "answered " + r.type, () => "failed"));
				tries.push(fetch(%q, {method: "POST", mode: "no-cors", body: '{"by":"evil"}'}).then(() => "sent"));
				Promise.all(tries).then(all => document.title = "done: " + all);</script>`, x.url+"/api/v1/pause", x.url+"/api/v1/pause")
		}))
		defer foreign.Close()
		b := open(t, browser, strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1), 600, 400)
		b.wait(`document.title.startsWith("done")`)
		if got := x.orders.orders(); len(got) != 0 {
			t.Errorf("a page of another site gave an order: %+v (%s)", got, eval[string](b, `document.title`))
		}
	})
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// testAccessible has axe-core look for what keeps people out (testdata/axe, version 4.14.1 as npm has it, MPL-2.0; it is kept here so that the test needs no network).
func testAccessible(t *testing.T, browser context.Context) {
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	x := scene{}.serve(t)
	// The policy forbids what axe does to the page, as it should.
	without := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, cdppage.SetBypassCSP, cdppage.SetBypassCSPParams{Enabled: true})
		return err
	})
	b := open(t, browser, x.url, 1280, 900, without)
	b.wait(`document.querySelectorAll("#rows tr").length === 9 && document.querySelectorAll("#matters .bar").length === 3`)
	eval[*bool](b, string(axe)+"; true")
	check := func(name string) {
		t.Helper()
		found := eval[string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + n.failureSummary)}))))`)
		var violations []struct {
			ID, Impact, Help string
			Nodes            []string
		}
		if err := json.Unmarshal([]byte(found), &violations); err != nil {
			t.Fatal(err)
		}
		for _, v := range violations {
			if v.Impact == "serious" || v.Impact == "critical" {
				t.Errorf("%s: %s %s: %s\n%s", name, v.Impact, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
			} else {
				t.Logf("%s: %s %s: %s %s", name, v.Impact, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
			}
		}
	}
	check("light")
	b.dark(true)
	check("dark")
	b.click("#do-rollback")
	b.wait(`document.getElementById("ask").open`)
	check("a dialog")
	b.keys(kb.Escape)
	b.dark(false)
	b.do(chromedp.EmulateViewport(360, 800))
	check("narrow")
}

var pictures = flag.String("screenshots", "", "folder to write the pictures of README.md to")

func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	picture = small(t, picture)
	if len(picture) > 200<<10 {
		t.Errorf("%s: want a small picture (got %d KB)", name, len(picture)>>10)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// small keeps the most frequent of each kind of colour, 256 in all; each other one becomes the nearest of them.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	r := from.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	out := image.NewPaletted(r, nil)
	near := map[[3]uint8]bool{}
	for _, c := range frequent {
		if kind := [3]uint8{c.R >> 4, c.G >> 4, c.B >> 4}; !near[kind] && len(out.Palette) < 256 {
			near[kind] = true
			out.Palette = append(out.Palette, c)
		}
	}
	index := map[color.RGBA]uint8{}
	for _, c := range frequent {
		index[c] = uint8(out.Palette.Index(c))
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			out.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	var text bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&text, out); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// TestScreenshots makes the pictures of README.md when it is told where to: make screenshots.
func TestScreenshots(t *testing.T) {
	if *pictures == "" {
		t.Skip("make screenshots makes them")
	}
	browser := browsertest.Start(t)
	x := scene{}.serve(t)
	for _, p := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"page-light", 1360, 900, false}, {"page-dark", 1360, 900, true}, {"page-wide", 1920, 1440, false}, {"page-phone", 390, 844, false}} {
		b := open(t, browser, x.url, p.width, p.height)
		b.dark(p.dark)
		b.wait(`document.querySelectorAll("#rows tr").length === 9 && document.querySelectorAll("#matters .bar").length === 3 && document.querySelectorAll("canvas").length === 3`)
		eval[bool](b, `new Promise(done => setTimeout(() => done(true), 900))`) // bars and curves are where they belong
		shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		keep(t, p.name, shot)
	}
}

func BenchmarkInTheBrowser(b *testing.B) {
	browser := browsertest.Start(b)
	x := much(b)
	var loaded, whole, shown, loading, worst float64
	n := 0
	for b.Loop() {
		n++
		began := time.Now()
		tab := open(b, browser, x.url, 1280, 900)
		loaded += eval[float64](tab, `performance.getEntriesByType("navigation")[0].loadEventEnd`)
		tab.wait(`document.querySelectorAll("#rows tr").length >= 500 && document.querySelectorAll("canvas").length === 3`)
		whole += float64(time.Since(began).Milliseconds())
		loading = max(loading, eval[float64](tab, `Math.max(0, ...long.splice(0))`))
		scrolled(tab)
		worst = max(worst, eval[float64](tab, `Math.max(0, ...long)`))
		name := fmt.Sprintf("fix-%d", n)
		appended(b, x.path, ledger.Record{Kind: ledger.Outside, Author: name, Point: space.Point{"heap": 512}})
		shown += float64(tab.wait(fmt.Sprintf(`document.getElementById("changes").textContent.includes(%q)`, name)).Milliseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(loaded/float64(n), "load-ms")
	b.ReportMetric(whole/float64(n), "everything-ms")
	b.ReportMetric(shown/float64(n), "change-ms")
	b.ReportMetric(loading, "longest-task-loading-ms")
	b.ReportMetric(worst, "longest-task-scrolling-ms")
}

// BenchmarkAnswers: what the page asks for, with 500 trials and 10,000 samples.
func BenchmarkAnswers(b *testing.B) {
	x := much(b)
	client := &http.Client{}
	first := func(path string) func(*testing.B) {
		return func(b *testing.B) {
			size := 0
			for b.Loop() {
				resp, err := client.Get(x.url + path)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 {
					b.Fatal(resp.StatusCode, err)
				}
				size = int(n)
			}
			b.ReportMetric(float64(size)/1e3, "kB")
		}
	}
	b.Run("now, whole", first("/page/now"))
	b.Run("now, news", first("/page/now?after=99999999999999"))
	b.Run("study", first("/page/study"))
	b.Run("report", first("/report"))
}
