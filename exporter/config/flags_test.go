package config_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/exporter/config"
	"github.com/kafkalab/kafkalab/internal/cli"
)

func parse(t *testing.T, args ...string) ([]config.Cluster, error) {
	t.Helper()
	var out bytes.Buffer
	app := cli.New("exporter", "", &out, &out)
	flags := config.NewFlags(app.Application)
	if _, _, code, done := app.Parse(args); done {
		t.Fatalf("%v: exit code %d: %s", args, code, out.String())
	}
	return flags.Clusters()
}

func TestFlagsWithoutAnythingAreTheDefault(t *testing.T) {
	got, err := parse(t)
	if want := []config.Cluster{config.Default()}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// One name for each setting, in a file and on the command line: whoever knows one knows the other.
func TestEverySettingOfAFileHasItsFlag(t *testing.T) {
	var out bytes.Buffer
	app := cli.New("exporter", "", &out, &out)
	config.NewFlags(app.Application)
	var flags []string
	for _, f := range app.Model().Flags {
		flags = append(flags, f.Name)
	}
	var walk func(t reflect.Type, part string)
	walk = func(of reflect.Type, part string) {
		for i := range of.NumField() {
			name := part + strings.ReplaceAll(of.Field(i).Tag.Get("yaml"), "_", "-")
			if sub := of.Field(i).Type; sub.Kind() == reflect.Struct {
				walk(sub, name+".")
			} else if name != "name" && !slices.Contains(flags, name) { // the one cluster of the command line has no name
				t.Errorf("no flag --%s", name)
			}
		}
	}
	walk(reflect.TypeFor[config.Cluster](), "")
}

func TestFlagsThatContradict(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"a file and a flag of a cluster": {[]string{"--config.file=testdata/good/two.yaml", "--kafka.brokers=a:1", "--topic.exclude="},
			[]string{"--config.file: ", "--kafka.brokers, --topic.exclude", "two.yaml"}},
		"a file that is not there":   {[]string{"--config.file=testdata/none.yaml"}, []string{"testdata/none.yaml", "no such file"}},
		"names as on a command line": {[]string{"--sasl.password-file=p", "--tls.key-file=k"}, []string{"--sasl.password-file: needs --sasl.mechanism", "--tls.cert-file: must be set with --tls.key-file"}},
		"several at once":            {[]string{"--kafka.brokers=a:1,b", "--lag.questions=-1", "--topic.filter=("}, []string{`--kafka.brokers: must be host:port`, `(got "b")`, "--lag.questions: ", "--topic.filter: "}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, tt.args...)
			for _, w := range tt.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
		})
	}
}

func TestListsMayBeSplitByCommasAndRepeated(t *testing.T) {
	got, err := parse(t, "--kafka.brokers=a:1, b:2", "--kafka.brokers=c:3", "--topic.config=")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a:1", "b:2", "c:3"}; !slices.Equal(got[0].Kafka.Brokers, want) {
		t.Errorf("brokers: got %q, want %q", got[0].Kafka.Brokers, want)
	}
	if len(got[0].Topic.Config) != 0 {
		t.Errorf("topic configs that were taken away: got %q", got[0].Topic.Config)
	}
}
