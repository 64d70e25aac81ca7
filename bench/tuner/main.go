// Command tuner replays searches on the surfaces of bench/surfaces and prints how they did; bench/TUNER.md has the results.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kafkalab/kafkalab/bench/surfaces"
	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/tuner/replay"
)

func main() {
	ctx, stop := cli.Context(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tuner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tuner", flag.ContinueOnError)
	flags.SetOutput(stderr)
	seeds := flags.Int("seeds", 50, "studies on each surface")
	trials := flags.Int("trials", 40, "of each study")
	algorithms := flags.String("algorithms", "gp,one-knob,random,grid", "which to run")
	families := flags.Int("families", 0, "that many surfaces of each kind, instead of the named ones")
	first := flags.Uint64("first", 1, "seed of the first of them")
	only := flags.String("only", "", "surfaces or kinds whose name holds this")
	dir := flags.String("dir", "", "keep the surfaces' files in this folder")
	write := flags.Bool("write", false, "write the surfaces into the folder and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var all []*surfaces.Surface
	if *families == 0 {
		all = surfaces.Named()
	}
	for i := range *families {
		for _, kind := range surfaces.Kinds() {
			if strings.Contains(kind, *only) {
				all = append(all, surfaces.Family(kind, *first+uint64(i)))
			}
		}
	}
	if *dir == "" {
		temporary, err := os.MkdirTemp("", "surfaces")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		*dir = temporary
	}
	recorded, err := readPeers(traces)
	if err != nil {
		return err
	}
	t := newTally()
	for _, s := range all {
		if !strings.Contains(s.Name, *only) {
			continue
		}
		surface, space, err := s.Write(*dir)
		if err != nil {
			return err
		}
		if *write {
			continue
		}
		loaded, err := replay.Load(surface, space)
		if err != nil {
			return err
		}
		for _, a := range strings.Split(*algorithms, ",") {
			result, err := replay.Do(ctx, replay.Config{Surface: loaded, Algorithm: a, Trials: *trials, Seeds: *seeds, Noise: s.Noise, Outliers: s.Outliers})
			if err != nil {
				return err
			}
			t.add(stdout, s.Name, a, result.Runs)
		}
		of := recorded[digest(s.CSV())]
		for _, peer := range slices.Sorted(maps.Keys(of)) {
			t.add(stdout, s.Name, peer, of[peer])
		}
	}
	t.print(stdout)
	return nil
}
