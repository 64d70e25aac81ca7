// Command tuner watches a Kafka by PromQL, changes one setting at a time, measures what came of it, and keeps the change or takes it back.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/tuner/config"
)

const about = `Watches a Kafka by PromQL, changes one setting at a time, measures what came of it, and keeps the change or takes it back.

Every step is in the ledger before it is done, so the tuner can be killed at any moment and goes on where it was. The configuration file says what may be changed, what is measured, and how far the tuner may go (mode observe, recommend, approve or auto).`

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

type settings struct {
	file       string
	check      bool
	listen     string
	statusDir  string
	ledger     string
	kubeconfig string
	cpus       string
	memory     string
	address    string
	jsonOut    bool
	fresh      bool
	form       string
	out        string
	dryRun     bool
	stopFile   string
	tokenFile  string
	webFile    string
	order      order
}

func (s *settings) flags(app *cli.App) {
	work := app.Command("run", "Run the loop (what happens without a command).").Default()
	work.Flag("config.file", "Configuration file.").Default("lab.yaml").StringVar(&s.file)
	work.Flag("config.check", "Check the configuration file and end.").BoolVar(&s.check)
	work.Flag("listen", "Address of page, API and metrics.").Default("127.0.0.1:9500").StringVar(&s.listen)
	work.Flag("status-dir", "Folder for latency.txt and latency.json.").Default("/tmp/status").StringVar(&s.statusDir)
	work.Flag("ledger", "The ledger's file; its folder must exist.").Default("ledger.jsonl").StringVar(&s.ledger)
	work.Flag("kubeconfig", "Kubeconfig of the target's cluster; without one the pod's own account.").Envar("KUBECONFIG").StringVar(&s.kubeconfig)
	work.Flag("dry-run", "Say what would be done and change nothing, whatever mode the file names.").BoolVar(&s.dryRun)
	work.Flag("stop-file", "The switch: while this file is there, the tuner takes back what it tries and changes nothing more.").StringVar(&s.stopFile)
	work.Flag("api.token-file", "File with the token that orders must carry; without one they are taken on loopback only.").StringVar(&s.tokenFile)
	work.Flag("web.config.file", "TLS and passwords of everything that is served, as for the Prometheus exporters.").StringVar(&s.webFile)
	work.Flag("sandbox.cpus", "CPU limit of the target, shown in latency.json.").Envar("SANDBOX_CPUS").StringVar(&s.cpus)
	work.Flag("sandbox.memory", "Memory limit of the target, for example 4Gi; the workload's own limit is taken where it has one.").
		Envar("SANDBOX_MEMORY").StringVar(&s.memory)

	book := app.Command("ledger", "Read a ledger.")
	show := book.Command("show", "Print the trials and changes.")
	show.Flag("json", "Print the records instead, one per line.").BoolVar(&s.jsonOut)
	show.Arg("file", "The ledger's file.").Required().StringVar(&s.ledger)
	verify := book.Command("verify", "Check every line and the order of the phases: 0 if all is right, 1 if not, 2 if it cannot be read.")
	verify.Arg("file", "The ledger's file.").Required().StringVar(&s.ledger)

	tell := app.Command("report", "Tell what a study came to, from its ledger alone.")
	tell.Flag("format", "One of markdown, json, html.").Default(asMarkdown).EnumVar(&s.form, asMarkdown, asJSON, asHTML)
	tell.Flag("out", "The file to write, instead of the terminal.").StringVar(&s.out)
	tell.Arg("file", "The ledger's file.").Required().StringVar(&s.ledger)

	glance := app.Command("status", "Print what a running tuner is doing.")
	glance.Flag("address", "The tuner's address.").Default("http://127.0.0.1:9500").StringVar(&s.address)
	glance.Flag("json", "Print everything as JSON.").BoolVar(&s.jsonOut)
	glance.Flag("check", "Print nothing; end with 1, and say why, while there is no P99 fresh enough to judge by.").BoolVar(&s.fresh)
	s.clientFlags(app)
}

func run(parent context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	var r replaying
	var a agents
	var w watching
	app := cli.New("tuner", about, stdout, stderr)
	s.flags(app)
	r.flags(app)
	a.flags(app)
	w.flags(app)
	command, log, code, done := app.Parse(args)
	if done {
		return code
	}
	ctx, cancel := cli.Context(parent)
	defer cancel()
	var err error
	switch command {
	case "ledger show":
		err = showLedger(stdout, s.ledger, s.jsonOut)
	case "ledger verify":
		err = verifyLedger(stdout, s.ledger)
	case "replay":
		err = r.run(ctx, stdout, stderr)
	case "mcp":
		err = a.run(ctx, stdout, log)
	case "report":
		err = showReport(stdout, s.ledger, s.form, s.out)
	case "status":
		err = showStatus(ctx, stdout, s)
	case "watch":
		err = w.run(ctx, stdout)
	case "run":
		var file config.File
		if file, err = config.Load(s.file); err != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
		if s.check {
			fmt.Fprintf(stdout, "%s: good\n", s.file)
			return 0
		}
		err = serve(ctx, s, file, log)
	default:
		err = s.ask(ctx, command, stdout)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(stderr, "tuner: %v\n", err)
		return exitCode(err)
	}
	return 0
}
