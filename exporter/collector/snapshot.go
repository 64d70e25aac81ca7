package collector

import "time"

// snapshot is what one collection learned. It is never changed after it is made, so any number of scrapes can read it at once.
type snapshot struct {
	taken     time.Time
	clusterID string
	// controller is the broker that holds the controller's role, known only where the cluster tells the truth about it:
	// under KRaft the brokers answer with any live broker's id.
	controller optional
	brokers    []broker
	topics     []topic
	groups     []group
	configs    map[string]map[string]string // of each topic, by key; nil while they are unknown
	dirs       []logDir
	sizes      map[string]int64 // bytes of each topic over all replicas; nil while a broker's part is unknown
	features   []feature
	rights     []grant        // of the exporter
	dropped    map[string]int // series that are not shown because there are too many, by family
}

type broker struct {
	id         int32
	addr, rack string
	leaders    int  // partitions led, of all topics: a filter must not make a broker look idle
	counted    bool // all of its partitions are among those of the metadata
	reached    bool // every request to it in this collection was answered
}

type topic struct {
	name       string
	partitions []partition
}

type partition struct {
	id          int32
	leader      optional // absent: no live leader
	leaderEpoch optional
	replicas    []int32
	inSync      int
	start, end  optional
	endAt       time.Time // when the end was asked for
	reassigning optional  // 1: its replicas are being moved to other brokers
}

type group struct {
	id, kind, protocolType, protocol string
	state                            string // empty: unknown
	coordinator                      int32
	members, idle                    optional   // idle: those without a partition
	assigned                         []assigned // by topic; nil while unknown
	commits                          []commit   // by topic and partition
	drains                           []drain    // by topic; only where the lag will be gone some time
}

// assigned is what the members of a group have of a topic.
type assigned struct {
	topic               string
	members, partitions int
}

type drain struct {
	topic string
	left  time.Duration
}

type commit struct {
	topic     string
	partition int32
	offset    optional
	lag       optional
	lost      optional // records that were deleted before the group read them
	behind    time.Duration
	retained  float64 // the lag as a part of what the partition holds

	behindKnown, retainedKnown bool
}

// outcome is how one part of the collection went.
type outcome struct {
	part    string
	took    time.Duration
	problem error
	at      time.Time // when it ended; zero: it was not begun yet
	success time.Time // when it last went well; zero: never
}

func ended(part string, began time.Time, problem error) outcome {
	o := outcome{part: part, took: time.Since(began), problem: problem, at: time.Now()}
	if problem == nil {
		o.success = o.at
	}
	return o
}

func (o outcome) ok() bool { return o.problem == nil }

// optional is a number that may not be known. The unknown is left out of the metrics: a sentinel would be added up and averaged.
type optional struct {
	value int64
	known bool
}

func some(v int64) optional { return optional{value: v, known: true} }

// The parts of a collection, as the label "collector" has them.
const (
	partMetadata = "metadata"
	partGroups   = "groups"
	partOffsets  = "offsets"
	partConfigs  = "configs"
	partLogDirs  = "log_dirs"
	partTimes    = "times"
	partMoves    = "reassignments"
)
