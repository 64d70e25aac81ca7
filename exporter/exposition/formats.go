package exposition

import (
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
)

// encoder is one of the formats.
type encoder interface {
	head(Family) (head []byte, sample string) // what precedes the samples, and the name that they have
	block(to []byte, r *row, values []string) []byte
	sample(to []byte, name string, block []byte, v float64) []byte
	family(to io.Writer, r *row) (int64, error)
}

func encoderOf(format expfmt.Format) encoder {
	switch format.FormatType() {
	case expfmt.TypeTextPlain:
		return text{}
	case expfmt.TypeOpenMetrics:
		return text{open: true}
	case expfmt.TypeProtoDelim:
		return proto{}
	}
	return other{format: format}
}

// valid is a label's value as the formats allow it: UTF-8.
func valid(value string) string { return strings.ToValidUTF8(value, "\uFFFD") }

// text is the text format 0.0.4 or OpenMetrics 1.0.
type text struct{ open bool }

func (t text) head(f Family) (head []byte, sample string) {
	name, kind, quote := f.Name, f.Kind, strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	if t.open {
		quote = quoted
		if kind == "counter" { // which has to be called so
			var total bool
			if name, total = strings.CutSuffix(f.Name, "_total"); !total {
				kind = "unknown"
			}
		}
	}
	return []byte("# HELP " + name + " " + quote.Replace(f.Help) + "\n# TYPE " + name + " " + kind + "\n"), f.Name
}

var quoted = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (text) block(to []byte, r *row, values []string) []byte {
	next := byte('{')
	for _, i := range r.order {
		to = append(to, next)
		to = append(to, r.names[i]...)
		to = append(to, '=', '"')
		to = append(to, quoted.Replace(valid(values[i]))...)
		to = append(to, '"')
		next = ','
	}
	if len(r.order) > 0 {
		to = append(to, '}')
	}
	return to
}

func (t text) sample(to []byte, name string, block []byte, v float64) []byte {
	to = append(to, name...)
	to = append(to, block...)
	to = append(to, ' ')
	to = t.number(to, v)
	return append(to, '\n')
}

func (t text) number(to []byte, v float64) []byte {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < 1e6:
		to = strconv.AppendInt(to, int64(v), 10)
	case math.IsNaN(v):
		return append(to, "NaN"...)
	case math.IsInf(v, 0):
		return strconv.AppendFloat(to, v, 'g', -1, 64) // +Inf, -Inf
	default:
		before := len(to)
		to = strconv.AppendFloat(to, v, 'g', -1, 64)
		if bytes.ContainsAny(to[before:], "e.") {
			return to
		}
	}
	if t.open {
		to = append(to, ".0"...)
	}
	return to
}

func (text) family(to io.Writer, r *row) (int64, error) { return write(to, r.head, r.body) }

func write(to io.Writer, parts ...[]byte) (int64, error) {
	var written int64
	for _, part := range parts {
		n, err := to.Write(part)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// proto is the delimited protobuf format: messages of io.prometheus.client.MetricFamily, each after its length.
type proto struct{}

// The numbers of the fields, from the messages' definition.
const (
	familyName, familyHelp, familyType, familyMetric = 1, 2, 3, 4

	metricLabel, metricGauge, metricCounter = 1, 2, 3

	labelName, labelValue = 1, 2

	value = 1 // of a gauge and of a counter
)

const valueSize = 1 + 8 // a tag, a double

func (proto) head(f Family) (head []byte, sample string) {
	kind, field := dto.MetricType_GAUGE, protowire.Number(metricGauge)
	if f.Kind == "counter" {
		kind, field = dto.MetricType_COUNTER, metricCounter
	}
	head = protowire.AppendString(protowire.AppendTag(head, familyName, protowire.BytesType), f.Name)
	head = protowire.AppendString(protowire.AppendTag(head, familyHelp, protowire.BytesType), f.Help)
	head = protowire.AppendVarint(protowire.AppendTag(head, familyType, protowire.VarintType), uint64(kind))
	// All samples have this between their labels and their value.
	before := protowire.AppendTag(nil, field, protowire.BytesType)
	before = protowire.AppendVarint(before, valueSize)
	return head, string(protowire.AppendTag(before, value, protowire.Fixed64Type))
}

func (proto) block(to []byte, r *row, values []string) []byte {
	for _, i := range r.order {
		name, value := r.names[i], valid(values[i])
		to = protowire.AppendTag(to, metricLabel, protowire.BytesType)
		to = protowire.AppendVarint(to, uint64(2+protowire.SizeBytes(len(name))+protowire.SizeBytes(len(value))))
		to = protowire.AppendString(protowire.AppendTag(to, labelName, protowire.BytesType), name)
		to = protowire.AppendString(protowire.AppendTag(to, labelValue, protowire.BytesType), value)
	}
	return to
}

func (proto) sample(to []byte, before string, block []byte, v float64) []byte {
	to = protowire.AppendTag(to, familyMetric, protowire.BytesType)
	to = protowire.AppendVarint(to, uint64(len(block)+len(before)+8))
	to = append(to, block...)
	to = append(to, before...)
	return protowire.AppendFixed64(to, math.Float64bits(v))
}

func (proto) family(to io.Writer, r *row) (int64, error) {
	return write(to, protowire.AppendVarint(nil, uint64(len(r.head)+len(r.body))), r.head, r.body)
}

// other is a format that only people ask for: it takes the long way, through expfmt.
type other struct {
	proto
	format expfmt.Format
}

func (o other) family(to io.Writer, r *row) (int64, error) {
	var message bytes.Buffer
	if _, err := o.proto.family(&message, r); err != nil {
		return 0, err
	}
	var f dto.MetricFamily
	limits := protodelim.UnmarshalOptions{MaxSize: -1}
	if err := limits.UnmarshalFrom(&message, &f); err != nil {
		return 0, err
	}
	count := &counter{to: to}
	err := expfmt.NewEncoder(count, o.format).Encode(&f)
	return count.n, err
}

type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
